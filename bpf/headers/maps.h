// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The maps. Every object declares them all; the loader makes each once. */
#pragma once

#include "kernel.h"
#include "record.h"

/* Reasons and hooks that are counted, per CPU. counters.go has the names. */
enum counter {
	LOST_RING,	 /* the ring buffer was full */
	LOST_STORAGE,	 /* no memory for a socket's state */
	LOST_FLOWS,	 /* no room for an unconnected flow */
	LOST_HEADER,	 /* headers that could not be read */
	DROPPED_PACE,	 /* listener payload and SYN beyond the pace */
	SEEN_PACKETS,	 /* copied */
	SEEN_RECORDS,	 /* flow records */
	SEEN_PROCESSES,	 /* process records */
	HOOK_EGRESS,	 /* flows that began with it */
	HOOK_INGRESS,
	HOOK_CONNECT4,
	HOOK_CONNECT6,
	HOOK_SENDMSG4,
	HOOK_SENDMSG6,
	HOOK_RELEASE,
	HOOK_STATE,
	HOOK_DESTROY,
	HOOK_ERROR,
	HOOK_EXEC,
	HOOK_FORK,
	HOOK_EXIT,
	HOOK_DEVICE,
	HOOK_FILES,
	COUNTERS,
};

/* How many bytes a direction of a flow is copied. */
enum class {
	CLASS_PLAIN,
	CLASS_CANDIDATE,
	CLASS_HANDSHAKE,
	CLASS_ATTRIBUTED,
	CLASS_DNS, /* all messages */
	CLASSES,
};

struct counts {
	__u64 bytes_out, packets_out, bytes_in, packets_in;
};

/* In a short connection every line of the cache that a packet needs is cold. So
 * what a packet of a settled flow needs comes first (in socket storage the first 56
 * bytes share a line with the kernel's own header), and what another packet needs
 * comes last, beside what it needs of the socket. */
struct flow {
	struct counts own; /* of UDP: by the two below, who need no atomic addition */
	__u64 sender;	   /* the thread that sent first */
	__u32 receiver;	   /* 1 + the CPU that received first */
	__u32 generation;  /* of the prefixes, when last looked up */
	__u32 due;	   /* control.seconds when the next record is */
	/* Bytes, each written from one place only: no bit field, since both
	 * directions run at once. */
	__u8 settled_out, settled_in; /* nothing more to learn: only count */
	__u8 proto, unconnected;
	__u64 cookie;
	struct tuple socket, wire;
	struct endpoint asked;
	__u32 slot; /* of udp_flows */
	struct counts shared; /* of UDP: by all other threads and CPUs */
	__u64 first;
	__u32 copied_out, copied_in;
	__u8 opened, attributed, class, direction;
	__u8 seen_out, seen_in; /* a packet */
	__u8 data_out, data_in; /* payload */
	__u8 established, refused;
	__u8 asking; /* connect was called, nothing has left yet */
	__u8 pad1[5];
};

/* unconnected.go reads it by offset. */
_Static_assert(offsetof(struct flow, cookie) == 56 && offsetof(struct flow, socket) == 64 &&
		       offsetof(struct flow, shared) == 168 && offsetof(struct flow, first) == 200 &&
		       offsetof(struct flow, opened) == 216 && sizeof(struct flow) == 232,
	       "flow");

struct socket_state {
	struct flow flow;
	__u32 netns;
	__u16 listener;
	__u16 many; /* has unconnected flows */
	struct owner owner;
	__u64 asking;	       /* the thread in a sendmsg, 0: none */
	struct endpoint asked; /* by that sendmsg */
	__u64 cookie;	       /* where it has unconnected flows: what they are found by */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct socket_state);
} sockets SEC(".maps");

/* The flows of unconnected sockets, one for each remote, in sets that the mark of
 * a flow names. A hash map of the kernel's costs a call for each packet, and some
 * 650 ns for each new flow where it gives up the oldest. The index of a set is in
 * one place, so that to look through it does not touch the flows. */
#define SET_SLOTS 8

struct udp_set {
	__u32 tag[SET_SLOTS]; /* of the flow's mark; 0: none */
	__u32 due[SET_SLOTS]; /* control.seconds when the next record of it is */
	struct bpf_spin_lock lock;
	__u32 pad;
};

/* Set before load to the number of sets. */
volatile const __u32 udp_sets = 2048;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2048);
	__type(key, __u32);
	__type(value, struct udp_set);
} udp_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct flow);
} udp_flows SEC(".maps");

/* Marks of flows of which user space wants no more packets, each in the slot that
 * the mark itself names: a flow pushed out by another is copied a little longer.
 * Small, to stay in the cache. */
#define DONE_SLOTS 4096

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DONE_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} done_flows SEC(".maps");

struct prefix4 {
	__u32 bits;
	__be32 addr;
};

struct prefix6 {
	__u32 bits;
	__be32 addr[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20);
	__type(key, struct prefix4);
	__type(value, __u8);
} prefixes4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20);
	__type(key, struct prefix6);
	__type(value, __u8);
} prefixes6 SEC(".maps");

/* Written by user space: the clock spares a reading per packet. */
struct control {
	__u32 generation;
	__u32 seconds;
	__u32 update; /* seconds between records of a long flow */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} controls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* What a second's pace has used, for what a stranger can make at will. */
struct pace {
	__u32 second;
	__u32 used;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pace);
} paces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23);
} records SEC(".maps");

/* Set before load. */
volatile const __u32 half_ring = 1 << 22;

static __always_inline __u64 count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &which);

	return n ? ++*n : 0;
}

/* submit gives a record to the reader, and counts it. A wakeup per record halved
 * the connection rate: the reader polls, and is woken only when half the ring is
 * full. To ask how full it is costs a call too, so every eighth record does, and
 * every large one. */
static __always_inline void submit(void *record, __u32 which, int large)
{
	__u64 flags = BPF_RB_NO_WAKEUP;

	if ((!(count(which) & 7) || large) && bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) >= half_ring)
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(record, flags);
}

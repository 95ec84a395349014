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
	HOOK_EGRESS,	 /* first runs of flows, and whatever is not on the fast path */
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

struct flow {
	__u64 cookie;
	__u64 first;
	__u64 bytes_out, bytes_in, packets_out, packets_in;
	__u32 copied_out, copied_in;
	__u32 generation; /* of the prefixes, when last looked up */
	__u32 reported;	  /* control.seconds of the last record */
	struct tuple socket, wire;
	struct endpoint asked;
	/* Bytes, each written from one place only: no bit field, since both
	 * directions run at once. */
	__u8 opened, attributed, class, direction, proto, unconnected;
	__u8 seen_out, seen_in; /* a packet */
	__u8 data_out, data_in; /* payload */
	__u8 established, refused;
	__u8 settled_out, settled_in; /* nothing more to learn: only count */
	__u8 asking;		      /* connect was called, nothing has left yet */
	__u8 pad[3];
};

struct socket_state {
	struct flow flow;
	struct owner owner;
	struct endpoint asked; /* by the sendmsg in hand */
	__u32 netns;
	__u64 asking; /* the thread in that sendmsg, 0: none */
	__u32 listener;
	__u32 many;   /* has unconnected flows */
	__u64 cookie; /* where it has: what they are found by */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct socket_state);
} sockets SEC(".maps");

struct flow_key {
	__u64 cookie;
	struct endpoint remote;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow_key);
	__type(value, struct flow);
} udp_flows SEC(".maps");

/* Flows of which user space wants no more packets. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow_key);
	__type(value, __u8);
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

static __always_inline void count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &which);

	if (n)
		(*n)++;
}

/* A wakeup per record halved the connection rate: the reader polls, and is woken
 * only when half the ring is full. */
static __always_inline __u64 wakeup(void)
{
	return bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) >= half_ring ? BPF_RB_FORCE_WAKEUP :
									     BPF_RB_NO_WAKEUP;
}

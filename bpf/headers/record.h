// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What is written into the ring buffer. record.go decodes it by offset; the
 * static assertions below and its tests hold the two together. Addresses are 16
 * bytes, IPv4 as v4-mapped; ports are in network order; times are
 * CLOCK_MONOTONIC nanoseconds unless named otherwise. */
#pragma once

#include <linux/types.h>

enum record_kind {
	RECORD_PACKET = 1,
	RECORD_OPEN,
	RECORD_UPDATE,
	RECORD_CLOSE,
	RECORD_EXEC,
	RECORD_FORK,
	RECORD_EXIT,
	RECORD_DEVICE,
	RECORD_SOCKET, /* from the seeding iterator, not the ring buffer */
	RECORD_TUNNEL, /* likewise: a TUN file held open */
	RECORD_GONE,   /* an unconnected UDP socket was closed: all its flows are over */
};

enum record_flag {
	FLAG_OUT = 1,
	FLAG_LISTENER = 2,
	FLAG_UNCONNECTED = 4,
	FLAG_ATTRIBUTED = 8,
};

enum attribution {
	OWNER_UNKNOWN,
	OWNER_SEEDED,
	OWNER_INHERITED,
	OWNER_EXACT,
};

enum direction {
	DIRECTION_UNKNOWN,
	DIRECTION_OUTBOUND,
	DIRECTION_INBOUND,
};

enum outcome {
	OUTCOME_BLOCKED = 1,
	OUTCOME_ATTEMPTED,
	OUTCOME_REFUSED,
	OUTCOME_ESTABLISHED,
	OUTCOME_DATA,
};

struct endpoint {
	__be32 addr[4];
	__be16 port;
	__u16 pad;
};

struct tuple {
	struct endpoint remote, local;
};

struct owner {
	__u32 attribution;
	__u32 tgid; /* 0: unknown */
	__u32 uid;
	__u32 pad;
	__u64 start; /* group_leader->start_boottime */
	__u64 cgroup;
	char comm[16];
};

/* A packet; its bytes follow. */
struct packet_event {
	__u8 kind, flags, proto, class;
	__u32 length;	/* on the wire, from the IP header on */
	__u32 captured; /* bytes that follow */
	__u32 netns;
	__u64 time;
	__u64 cookie;
	struct owner owner;
	struct endpoint remote; /* as the socket has it */
	__u8 direction, outcome, pad[2];
};

/* A flow, and the packet that it was seen by where that is wanted too: one
 * record costs less than two. */
struct flow_event {
	struct packet_event packet;
	struct endpoint local; /* as the socket has it */
	struct tuple wire;     /* as the packets showed it; zero: the same */
	struct endpoint asked;
	__u64 first;
	__u64 bytes_out, bytes_in, packets_out, packets_in;
};

struct process_event {
	__u8 kind, flags, pad[2];
	__u32 device; /* major << 20 | minor of RECORD_DEVICE, the fd of RECORD_TUNNEL */
	__u64 time;
	struct owner owner;
	__u64 parent_start;
	__u32 parent;
	__u32 pad1;
};

#define PATH_BYTES 1024
#define NAME_BYTES 256
#define ARGS_BYTES 1024
#define CGROUP_BYTES 512

/* Paths are lists of names that end in NUL, the leaf first. */
struct exec_event {
	struct process_event base;
	__u16 filename_length, path_length, args_length, cgroup_length;
	__u8 unlinked, path_whole, args_cut, pad[5];
	char filename[NAME_BYTES];
	char args[ARGS_BYTES];
	char path[PATH_BYTES + NAME_BYTES];
	char cgroup[CGROUP_BYTES + NAME_BYTES];
};

_Static_assert(sizeof(struct owner) == 48, "owner");
_Static_assert(sizeof(struct packet_event) == 104, "packet");
_Static_assert(sizeof(struct flow_event) == 224, "flow");
_Static_assert(sizeof(struct process_event) == 80, "process");

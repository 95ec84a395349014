// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The flows of unconnected sockets, which are found by socket and remote. */
#pragma once

#include "flow.h"

static __always_inline struct udp_flow *in_slot(__u32 slot)
{
	return bpf_map_lookup_elem(&udp_flows, &slot);
}

static __always_inline int is_of(const struct flow *f, __u64 cookie, const struct endpoint *remote)
{
	return f->cookie == cookie && same_endpoint(&f->socket.remote, remote);
}

static __always_inline __u32 set_of(__u64 cookie, const struct endpoint *remote)
{
	return slot_of(mark_of(cookie, remote)) & ~(SET_SLOTS - 1);
}

static __always_inline struct flow *find_flow(__u64 cookie, const struct endpoint *remote)
{
	__u32 set = set_of(cookie, remote);

	for (__u32 i = 0; i < SET_SLOTS; i++) {
		struct udp_flow *u = in_slot(set + i);

		if (!u)
			return 0;
		if (is_of(&u->flow, cookie, remote))
			return &u->flow;
	}
	return 0;
}

/* room_in is the slot of a set to put a new flow in: one without a flow, else that
 * of which a record is due first, since it is the longest silent. */
static __always_inline __u32 room_in(__u32 set)
{
	__u32 best = set, due = 0;

	for (__u32 i = 0; i < SET_SLOTS; i++) {
		struct udp_flow *u = in_slot(set + i);

		if (!u || !u->flow.cookie)
			return set + i;
		if (!i || (__s32)(u->flow.due - due) < 0) {
			best = set + i;
			due = u->flow.due;
		}
	}
	return best;
}

/* new_flow begins a flow, in place of an older one where its set is full. */
static __always_inline struct flow *new_flow(__u64 cookie, const struct tuple *t, __u64 now, struct control c)
{
	struct udp_flow *u = in_slot(room_in(set_of(cookie, &t->remote)));
	int replaced;
	struct flow *f;

	if (!u)
		return 0;
	f = &u->flow;
	bpf_spin_lock(&u->lock);
	if (is_of(f, cookie, &t->remote)) { /* another thread was quicker */
		bpf_spin_unlock(&u->lock);
		return f;
	}
	replaced = f->cookie && (__s32)(c.seconds - f->due) < 0;
	f->cookie = 0; /* nobody finds it now */
	asm volatile("" ::: "memory");
	__builtin_memset(f, 0, sizeof(*f));
	f->socket = *t;
	f->first = now;
	f->proto = IPPROTO_UDP;
	f->unconnected = 1;
	f->due = c.seconds;
	asm volatile("" ::: "memory");
	f->cookie = cookie;
	bpf_spin_unlock(&u->lock);
	if (replaced)
		count(LOST_FLOWS);
	return f;
}

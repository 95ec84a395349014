// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The flows of unconnected sockets, which are found by socket and remote. */
#pragma once

#include "flow.h"

static __always_inline struct flow *in_slot(__u32 slot)
{
	return bpf_map_lookup_elem(&udp_flows, &slot);
}

static __always_inline struct udp_set *set_of(__u64 mark, __u32 *number)
{
	*number = (mark >> 32) * udp_sets >> 32;
	return bpf_map_lookup_elem(&udp_index, number);
}

/* tag_of is never 0, which stands for a slot without a flow. */
static __always_inline __u32 tag_of(__u64 mark)
{
	return (__u32)mark | 1;
}

static __always_inline int is_of(const struct flow *f, __u64 cookie, const struct endpoint *remote)
{
	return f->cookie == cookie && same_endpoint(&f->socket.remote, remote);
}

static __always_inline struct flow *find_flow(__u64 cookie, const struct endpoint *remote)
{
	__u64 mark = mark_of(cookie, remote);
	__u32 number, tag = tag_of(mark);
	struct udp_set *set = set_of(mark, &number);

	if (!set)
		return 0;
	for (__u32 i = 0; i < SET_SLOTS; i++) {
		struct flow *f;

		if (set->tag[i] != tag)
			continue;
		f = in_slot(number * SET_SLOTS + i);
		if (f && is_of(f, cookie, remote))
			return f;
	}
	return 0;
}

/* room_in is the slot of a set to put a new flow in: one without a flow, else that
 * of which a record is due first, since it is the longest silent. */
static __always_inline __u32 room_in(const struct udp_set *set)
{
	__u32 best = 0;

	for (__u32 i = 0; i < SET_SLOTS; i++) {
		if (!set->tag[i])
			return i;
		if ((__s32)(set->due[i] - set->due[best & (SET_SLOTS - 1)]) < 0)
			best = i;
	}
	return best & (SET_SLOTS - 1);
}

/* new_flow begins a flow, in place of an older one where its set is full. Two
 * threads that begin the same flow at once make two of it, of which one gets no
 * more packets. */
static __always_inline struct flow *new_flow(__u64 cookie, const struct tuple *t, __u64 now, struct control c)
{
	__u64 mark = mark_of(cookie, &t->remote);
	__u32 number, i;
	struct udp_set *set = set_of(mark, &number);
	int replaced;
	struct flow *f;

	if (!set)
		return 0;
	bpf_spin_lock(&set->lock);
	i = room_in(set);
	replaced = set->tag[i] && (__s32)(c.seconds - set->due[i]) < 0;
	set->tag[i] = tag_of(mark);
	set->due[i] = c.seconds + c.update;
	bpf_spin_unlock(&set->lock);
	if (replaced)
		count(LOST_FLOWS);
	f = in_slot(number * SET_SLOTS + i);
	if (!f)
		return 0;
	__builtin_memset(f, 0, sizeof(*f)); /* the cookie with it: nobody finds it half made */
	asm volatile("" ::: "memory");
	f->socket = *t;
	f->first = now;
	f->proto = IPPROTO_UDP;
	f->unconnected = 1;
	f->slot = number * SET_SLOTS + i;
	asm volatile("" ::: "memory");
	f->cookie = cookie;
	return f;
}

/* keep_flow puts off the time when a flow gives way to a new one. */
static __always_inline void keep_flow(const struct flow *f)
{
	__u32 number = f->slot / SET_SLOTS;
	struct udp_set *set = bpf_map_lookup_elem(&udp_index, &number);

	if (set)
		set->due[f->slot & (SET_SLOTS - 1)] = f->due;
}

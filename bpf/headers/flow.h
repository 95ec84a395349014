// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The state of a flow and the records made of it. */
#pragma once

#include "owner.h"

static __always_inline int same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && a->addr[3] == b->addr[3] && a->addr[2] == b->addr[2] &&
	       a->addr[1] == b->addr[1] && a->addr[0] == b->addr[0];
}

static __always_inline struct control control(void)
{
	struct control *c, none = {};
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&controls, &zero);
	return c ? *c : none;
}

static __always_inline __u8 outcome(const struct flow *f)
{
	if (f->data_out && f->data_in)
		return OUTCOME_DATA;
	if (f->established)
		return OUTCOME_ESTABLISHED;
	if (!f->seen_out && !f->seen_in)
		return OUTCOME_BLOCKED;
	if (f->refused)
		return OUTCOME_REFUSED;
	return OUTCOME_ATTEMPTED;
}

/* head fills what all records of a flow begin with. */
static __always_inline void head(struct packet_event *e, __u8 kind, __u8 flags, const struct flow *f,
				 const struct owner *o, __u32 netns, __u64 now)
{
	e->kind = kind;
	e->flags = flags | (f->unconnected ? FLAG_UNCONNECTED : 0) | (f->attributed ? FLAG_ATTRIBUTED : 0);
	e->proto = f->proto;
	e->class = f->class;
	e->length = e->captured = 0;
	e->netns = netns;
	e->time = now;
	e->cookie = f->cookie;
	e->owner = *o;
	e->remote = f->socket.remote;
	e->direction = f->direction;
	e->outcome = outcome(f);
}

static __always_inline void account(struct flow_event *e, const struct flow *f)
{
	e->local = f->socket.local;
	e->wire = f->wire;
	e->asked = f->asked;
	e->first = f->first ? f->first : e->packet.time;
	e->bytes_out = f->own.bytes_out + f->shared.bytes_out;
	e->bytes_in = f->own.bytes_in + f->shared.bytes_in;
	e->packets_out = f->own.packets_out + f->shared.packets_out;
	e->packets_in = f->own.packets_in + f->shared.packets_in;
}

static __always_inline void emit_flow(__u8 kind, struct flow *f, const struct owner *o, __u32 netns, __u64 now)
{
	struct flow_event *e = bpf_ringbuf_reserve(&records, sizeof(*e), 0);

	if (!e) {
		count(LOST_RING);
		return;
	}
	head(&e->packet, kind, 0, f, o, netns, now);
	account(e, f);
	submit(e, SEEN_RECORDS, 0);
}

static __always_inline void forget_flow(struct flow *f)
{
	__builtin_memset(f, 0, sizeof(*f));
}

/* mark_of is unlikely to be that of another flow, and cannot be where both are of
 * connected sockets; remote is that of an unconnected one. unconnected.go makes
 * the same. */
static __always_inline __u64 mark_of(__u64 cookie, const struct endpoint *remote)
{
	const __u64 odd = 0x9e3779b97f4a7c15; /* 2^64 over the golden ratio: spreads what follows on each other */
	__u64 mark = cookie * odd;

	if (remote) {
		mark = (mark ^ ((__u64)remote->addr[0] << 32 | remote->addr[1])) * odd;
		mark = (mark ^ ((__u64)remote->addr[2] << 32 | remote->addr[3])) * odd;
		mark = (mark ^ remote->port) * odd;
	}
	return mark;
}

/* done_slot is where the lower half of a mark stands when its flow is done; the
 * upper half names the place. */
static __always_inline __u32 *done_slot(__u64 mark)
{
	__u32 slot = (mark >> 32) * DONE_SLOTS >> 32;

	return bpf_map_lookup_elem(&done_flows, &slot);
}

/* end_flow reports what is over: a flow that was opened, or a connect of which
 * no packet ever left. */
static __always_inline void end_flow(struct socket_state *s)
{
	struct flow *f = &s->flow;

	if (f->opened || (f->asking && f->proto == IPPROTO_TCP))
		emit_flow(RECORD_CLOSE, f, &s->owner, s->netns, bpf_ktime_get_ns());
	forget_flow(f);
}

/* end_asking reports a sendmsg of which no packet ever left. */
static __always_inline void end_asking(struct socket_state *s, __u64 cookie, struct tuple *t)
{
	struct flow f = {};

	if (!s->asking)
		return;
	s->asking = 0;
	f.cookie = cookie;
	f.proto = IPPROTO_UDP;
	f.direction = DIRECTION_OUTBOUND;
	f.unconnected = 1;
	f.socket = *t;
	f.socket.remote = s->asked;
	f.asked = s->asked;
	emit_flow(RECORD_CLOSE, &f, &s->owner, s->netns, bpf_ktime_get_ns());
}

/* icmp_refused: the errors of icmp_err_convert (net/ipv4/icmp.c), without
 * EHOSTUNREACH, which is also what this host says of itself when a neighbour does
 * not answer. */
static __always_inline int icmp_refused(int err)
{
	return err == 111 /* ECONNREFUSED */ || err == 101 /* ENETUNREACH */ ||
	       err == 92 /* ENOPROTOOPT */ || err == 64 /* ENONET */;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The state of a flow and the records made of it. */
#pragma once

#include "owner.h"

/* Seconds between records of a long flow. */
volatile const __u32 update_seconds = 60;

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

static __always_inline void emit_flow(__u8 kind, struct flow *f, const struct owner *o, __u32 netns, __u64 now)
{
	struct flow_event *e = bpf_ringbuf_reserve(&records, sizeof(*e), 0);

	if (!e) {
		count(LOST_RING);
		return;
	}
	__builtin_memset(e, 0, offsetof(struct flow_event, owner));
	e->kind = kind;
	e->flags = (f->unconnected ? FLAG_UNCONNECTED : 0) | (f->attributed ? FLAG_ATTRIBUTED : 0);
	e->proto = f->proto;
	e->direction = f->direction;
	e->outcome = outcome(f);
	e->netns = netns;
	e->time = now;
	e->first = f->first ? f->first : e->time;
	e->cookie = f->cookie;
	e->owner = *o;
	e->socket = f->socket;
	e->wire = f->wire;
	e->asked = f->asked;
	e->pad2 = 0;
	e->bytes_out = f->bytes_out;
	e->bytes_in = f->bytes_in;
	e->packets_out = f->packets_out;
	e->packets_in = f->packets_in;
	bpf_ringbuf_submit(e, wakeup());
	count(SEEN_RECORDS);
}

static __always_inline void forget_flow(struct flow *f)
{
	__builtin_memset(f, 0, sizeof(*f));
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

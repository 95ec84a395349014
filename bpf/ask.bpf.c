//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What processes ask for: connect and sendmsg, before NAT and whether or not
 * anything leaves; and the end of sockets. */
#include "headers/flow.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline struct socket_state *state_of(struct bpf_sock *sk)
{
	struct socket_state *s;

	s = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s)
		count(LOST_STORAGE);
	return s;
}

static __always_inline void asked4(struct bpf_sock_addr *ctx, struct endpoint *e)
{
	map4(e->addr, ctx->user_ip4);
	e->port = ctx->user_port;
	e->pad = 0;
}

static __always_inline void asked6(struct bpf_sock_addr *ctx, struct endpoint *e)
{
	e->addr[0] = ctx->user_ip6[0];
	e->addr[1] = ctx->user_ip6[1];
	e->addr[2] = ctx->user_ip6[2];
	e->addr[3] = ctx->user_ip6[3];
	e->port = ctx->user_port;
	e->pad = 0;
}

/* want_again: a socket used again has a new flow. */
static __always_inline void want_again(__u64 cookie)
{
	__u64 mark = mark_of(cookie, 0);
	__u32 *slot = done_slot(mark);

	if (slot && *slot == (__u32)mark)
		*slot = 0;
}

/* ask_connect begins a flow. A UDP connect sends nothing, and many are made only
 * to learn a source address. */
static __always_inline int ask_connect(struct bpf_sock_addr *ctx, const struct endpoint *asked)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_state *s;

	if (!sk || (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP))
		return 1;
	s = state_of(sk);
	if (!s)
		return 1;
	if (s->flow.opened)
		want_again(s->flow.cookie);
	if (s->flow.proto || s->flow.refused)
		end_flow(s);
	own_current(&s->owner);
	s->listener = 0;
	if (!s->netns)
		s->netns = read_netns(sk);
	s->flow.cookie = bpf_get_socket_cookie(ctx);
	s->flow.proto = ctx->protocol;
	s->flow.direction = DIRECTION_OUTBOUND;
	s->flow.asked = *asked;
	s->flow.asking = 1;
	local_end(sk, &s->flow.socket.local);
	s->flow.socket.remote = *asked;
	return 1;
}

/* ask_send remembers the thread, so that the egress that follows in it is known
 * to be this message. */
static __always_inline int ask_send(struct bpf_sock_addr *ctx, const struct endpoint *asked)
{
	__u64 thread = bpf_get_current_task();
	struct bpf_sock *sk = ctx->sk;
	struct socket_state *s;

	if (!sk || ctx->protocol != IPPROTO_UDP)
		return 1;
	s = state_of(sk);
	if (!s)
		return 1;
	if (s->owner.attribution != OWNER_EXACT)
		own_current(&s->owner);
	if (!s->netns)
		s->netns = read_netns(sk);
	if (s->asking == thread) {
		struct tuple t = {};

		local_end(sk, &t.local);
		end_asking(s, bpf_get_socket_cookie(ctx), &t);
	}
	s->flow.settled_out = 0; /* a connected socket's next packet need not be of its flow */
	s->asked = *asked;
	s->asking = thread;
	return 1;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	struct endpoint e;

	count(HOOK_CONNECT4);
	asked4(ctx, &e);
	return ask_connect(ctx, &e);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	struct endpoint e;

	count(HOOK_CONNECT6);
	asked6(ctx, &e);
	return ask_connect(ctx, &e);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	struct endpoint e;

	count(HOOK_SENDMSG4);
	asked4(ctx, &e);
	return ask_send(ctx, &e);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	struct endpoint e;

	count(HOOK_SENDMSG6);
	asked6(ctx, &e);
	return ask_send(ctx, &e);
}

/* Set where tcp_destroy_sock cannot give the final counts. */
volatile const __u32 release_tcp;

static __always_inline void emit_gone(struct socket_state *s, __u64 cookie)
{
	struct flow f = { .cookie = cookie, .proto = IPPROTO_UDP, .unconnected = 1, .seen_out = 1 };

	emit_flow(RECORD_GONE, &f, &s->owner, s->netns, bpf_ktime_get_ns());
}

/* read_local is local_end for the program below, which is not offered addresses. */
static __always_inline void read_local(struct sock *sk, struct endpoint *e)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		map4(e->addr, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	else
		BPF_CORE_READ_INTO(&e->addr, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
	e->port = bpf_htons(BPF_CORE_READ(sk, __sk_common.skc_num));
}

SEC("cgroup/sock_release")
int release(struct bpf_sock *ctx)
{
	struct socket_state *s;
	__u64 cookie;

	if (ctx->protocol != IPPROTO_UDP && !(release_tcp && ctx->protocol == IPPROTO_TCP))
		return 1;
	count(HOOK_RELEASE);
	s = bpf_sk_storage_get(&sockets, ctx, 0, 0);
	if (!s || s->listener)
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	if (ctx->protocol == IPPROTO_UDP) {
		if (s->asking) {
			struct tuple t = {};

			read_local(plain(ctx), &t.local);
			end_asking(s, cookie, &t);
		}
		if (s->many)
			emit_gone(s, cookie);
		if (icmp_refused(BPF_CORE_READ(plain(ctx), sk_err)))
			s->flow.refused = 1;
	}
	end_flow(s);
	return 1;
}

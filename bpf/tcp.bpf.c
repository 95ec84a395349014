//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The life of a TCP socket where no packet tells it: listening, connecting,
 * failing, ending. Connections of kernel-made subflows (MPTCP) show only here. */
#include "headers/flow.h"
#include <bpf/bpf_tracing.h>

#define SO_EE_ORIGIN_ICMP 2 /* include/uapi/linux/errqueue.h */
#define SO_EE_ORIGIN_ICMP6 3

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int is_tcp(struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	return (family == AF_INET || family == AF_INET6) && sk->sk_type == SOCK_STREAM &&
	       sk->sk_protocol == IPPROTO_TCP;
}

/* queued_error is the newest entry of the socket's error queue, where it tells of
 * an ICMP message. An error that comes while a process holds the socket's lock,
 * as it does over loopback and veth, shows nowhere else. */
static __always_inline int queued_error(struct sock *sk)
{
	struct sk_buff *skb = BPF_CORE_READ(sk, sk_error_queue.prev);
	struct sock_exterr_skb *error = (void *)skb + bpf_core_field_offset(struct sk_buff, cb);
	__u8 origin;

	if (!skb || (void *)skb == (void *)sk + bpf_core_field_offset(struct sock, sk_error_queue))
		return 0;
	origin = BPF_CORE_READ(error, ee.ee_origin);
	if (origin != SO_EE_ORIGIN_ICMP && origin != SO_EE_ORIGIN_ICMP6)
		return 0;
	return BPF_CORE_READ(error, ee.ee_errno);
}

static __always_inline void note_error(struct sock *sk, struct socket_state *s)
{
	if (icmp_refused(sk->sk_err) || icmp_refused(sk->sk_err_soft) || icmp_refused(queued_error(sk)))
		s->flow.refused = 1;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(set_state, struct sock *sk, int oldstate, int newstate)
{
	struct socket_state *s;

	if (newstate != TCP_LISTEN && newstate != TCP_SYN_SENT && !(oldstate == TCP_SYN_SENT && newstate == TCP_CLOSE))
		return 0;
	count(HOOK_STATE);
	if (!is_tcp(sk))
		return 0;
	s = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s)
		return 0;
	if (newstate == TCP_LISTEN) {
		own_current(&s->owner);
		s->listener = 1;
		s->netns = netns_of(sk);
		s->flow.settled_out = s->flow.settled_in = 0;
	} else if (newstate == TCP_CLOSE) {
		note_error(sk, s);
		if (s->flow.asking) { /* nothing has left: say so though the process may keep the socket */
			read_tuple(sk, &s->flow.socket);
			end_flow(s);
		}
	} else if (!s->flow.asking) { /* a subflow: connect has not told */
		own_current(&s->owner);
		s->listener = 0;
		s->netns = netns_of(sk);
		s->flow.proto = IPPROTO_TCP;
		s->flow.direction = DIRECTION_OUTBOUND;
		s->flow.asking = 1;
	}
	return 0;
}

/* Before 5.14 the state change above is all there is. */
SEC("tp_btf/inet_sk_error_report")
int BPF_PROG(error_report, struct sock *sk)
{
	struct socket_state *s;

	count(HOOK_ERROR);
	if (sk->sk_protocol != IPPROTO_TCP && sk->sk_protocol != IPPROTO_UDP)
		return 0;
	s = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (s && !s->flow.established) /* what was established is not refused, and ends with an error often */
		note_error(sk, s);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(destroy, struct sock *sk)
{
	struct socket_state *s;

	count(HOOK_DESTROY);
	s = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!s || s->listener)
		return 0;
	end_flow(s);
	return 0;
}

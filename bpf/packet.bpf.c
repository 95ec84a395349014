//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Every IP packet of every socket below the root cgroup, out and in. */
#include "headers/packet.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Listener payload, and SYNs of attributed remotes, per second and CPU: a
 * stranger can make them at will. */
volatile const __u32 pace_limit = 10000;

/* Above this many packets a direction is settled though its budget is not used up. */
#define SETTLED_AFTER 256

static __always_inline int attributed_addr(const __be32 *addr)
{
	struct prefix6 six = { .bits = 128 };
	struct prefix4 four = { .bits = 32 };

	if (!addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff)) {
		four.addr = addr[3];
		return bpf_map_lookup_elem(&prefixes4, &four) != 0;
	}
	__builtin_memcpy(six.addr, addr, 16);
	return bpf_map_lookup_elem(&prefixes6, &six) != 0;
}

static __always_inline void look_up(struct flow *f, __u32 generation)
{
	f->generation = generation;
	f->attributed = generation && (attributed_addr(f->socket.remote.addr) ||
				       (f->wire.remote.port && attributed_addr(f->wire.remote.addr)) ||
				       (f->asked.port && attributed_addr(f->asked.addr)));
	f->settled_out = f->settled_in = 0;
}

static __always_inline int within_pace(__u32 second)
{
	__u32 zero = 0;
	struct pace *p = bpf_map_lookup_elem(&paces, &zero);

	if (!p)
		return 0;
	if (p->second != second) {
		p->second = second;
		p->used = 0;
	}
	if (p->used >= pace_limit) {
		count(DROPPED_PACE);
		return 0;
	}
	p->used++;
	return 1;
}

/* listen_packet: SYN, SYN-ACK and the last ACK run on the listener, and with them
 * whatever payload rides on that ACK. */
static __always_inline void listen_packet(struct __sk_buff *skb, struct bpf_sock *sk, struct socket_state *s, int out,
					  struct control c)
{
	struct headers h = { .time = bpf_ktime_get_ns() };
	struct flow f = {};

	if (read_headers(skb, out, &h) || h.proto != IPPROTO_TCP) {
		count(LOST_HEADER);
		return;
	}
	if (!h.length && !(h.tcp_flags & TCP_SYN))
		return;
	if (!s)
		s = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s) {
		count(LOST_STORAGE);
		return;
	}
	s->listener = 1;
	if (!s->netns)
		s->netns = read_netns(plain(sk));
	f.attributed = c.generation && attributed_addr(h.tuple.remote.addr);
	if ((!h.length && !f.attributed) || !within_pace(c.seconds))
		return;
	f.cookie = bpf_get_socket_cookie(skb);
	f.socket = h.tuple;
	copy(skb, &f, s, &h, FLAG_LISTENER | (out ? FLAG_OUT : 0), budgets[CLASS_CANDIDATE]);
}

static __always_inline void begin(struct flow *f, __u64 cookie, __u64 now, __u8 proto, struct control c)
{
	f->cookie = cookie;
	f->first = now;
	f->proto = proto;
	f->reported = c.seconds;
}

/* unspecified: a socket bound to no address. */
static __always_inline int unspecified(const __be32 *addr)
{
	return !addr[0] && !addr[1] && !addr[3] && (!addr[2] || addr[2] == bpf_htonl(0xffff));
}

/* local_end reads what the verifier offers of a socket, which costs no call. */
static __always_inline void local_end(struct bpf_sock *sk, struct endpoint *e)
{
	__be32 four = *(volatile __be32 *)&sk->src_ip4; /* not merged with the loads below: the verifier wants offsets in sight */

	if (sk->family == AF_INET) {
		map4(e->addr, four);
	} else {
		e->addr[0] = sk->src_ip6[0];
		e->addr[1] = sk->src_ip6[1];
		e->addr[2] = sk->src_ip6[2];
		e->addr[3] = sk->src_ip6[3];
	}
	e->port = bpf_htons(sk->src_port);
}

/* unconnected finds the flow of one remote of a socket. Output NAT is undone by
 * the key being what sendmsg asked for, which is also where the answer seems to
 * come from. */
static __always_inline struct flow *unconnected(struct __sk_buff *skb, struct bpf_sock *sk, struct socket_state *s,
						const struct headers *h, int out, struct control c)
{
	struct flow_key key = { .remote = h->tuple.remote };
	struct flow *f, fresh = {};

	if (!s->cookie)
		s->cookie = bpf_get_socket_cookie(skb);
	key.cookie = s->cookie;

	if (out && s->asking && s->asking == bpf_get_current_task()) {
		key.remote = s->asked;
		s->asking = 0;
	}
	f = bpf_map_lookup_elem(&udp_flows, &key);
	if (f)
		return f;
	s->many = 1;
	begin(&fresh, key.cookie, h->time, IPPROTO_UDP, c);
	fresh.unconnected = 1;
	local_end(sk, &fresh.socket.local);
	fresh.socket.remote = key.remote;
	if (unspecified(fresh.socket.local.addr))
		fresh.socket.local = h->tuple.local;
	if (bpf_map_update_elem(&udp_flows, &key, &fresh, BPF_NOEXIST))
		count(LOST_FLOWS);
	return bpf_map_lookup_elem(&udp_flows, &key);
}

static __always_inline void tally(struct flow *f, __u32 length, __u32 packets, int out)
{
	if (f->proto == IPPROTO_UDP) { /* threads may send at once */
		__sync_fetch_and_add(out ? &f->bytes_out : &f->bytes_in, length);
		__sync_fetch_and_add(out ? &f->packets_out : &f->packets_in, packets);
	} else if (out) {
		f->bytes_out += length;
		f->packets_out += packets;
	} else {
		f->bytes_in += length;
		f->packets_in += packets;
	}
}

/* copy_payload spends the direction's budget. It returns whether the budget is
 * used up. */
static __always_inline int copy_payload(struct __sk_buff *skb, struct flow *f, struct socket_state *s,
					const struct headers *h, int out)
{
	__u32 *used = out ? &f->copied_out : &f->copied_in;
	struct flow_key key = {};
	__u32 left, budget, copied;
	__u8 class;

	if (f->attributed) {
		f->class = CLASS_ATTRIBUTED;
	} else if (h->tuple.remote.port == bpf_htons(53) || h->tuple.local.port == bpf_htons(53)) {
		f->class = CLASS_DNS;
	} else if (f->class < CLASS_HANDSHAKE) {
		class = classify(skb, h->payload, h->length, h->proto);
		if (class != MORE_UNWANTED && class > f->class)
			f->class = class;
	} else if (f->class == CLASS_HANDSHAKE && *used &&
		   classify(skb, h->payload, h->length, h->proto) == MORE_UNWANTED) {
		*used = budgets[CLASS_HANDSHAKE];
	}
	if (f->class >= CLASSES)
		return 1;
	budget = budgets[f->class];
	if (*used >= budget)
		return 1;
	key.cookie = f->cookie;
	if (f->unconnected)
		key.remote = f->socket.remote;
	if ((f->copied_out || f->copied_in) && bpf_map_lookup_elem(&done_flows, &key))
		return 1;
	left = budget - *used;
	copied = copy(skb, f, s, h, out ? FLAG_OUT : 0, left > 16384 ? 16384 : left);
	if (f->class != CLASS_DNS && copied > h->payload)
		*used += copied - h->payload;
	return *used >= budget;
}

static __always_inline void settle(struct flow *f, const struct owner *o, int out, int spent)
{
	if (!f->opened || f->class == CLASS_DNS || !(f->established || f->proto == IPPROTO_UDP))
		return;
	if (out)
		f->settled_out = f->data_out && (spent || f->packets_out > SETTLED_AFTER) && o->attribution == OWNER_EXACT;
	else
		f->settled_in = f->data_in && (spent || f->packets_in > SETTLED_AFTER);
}

/* may_own: who runs is who sends when the socket is UDP, or when its lock is
 * held by a process; in the softirq of somebody else's time slice it is not. */
static __always_inline int may_own(struct bpf_sock *sk)
{
	return sk->protocol == IPPROTO_UDP || BPF_CORE_READ(plain(sk), sk_lock.owned) == 1;
}

static __always_inline void note_direction(struct flow *f, const struct headers *h, __u32 state, int out)
{
	if (f->direction)
		return;
	if (h->proto == IPPROTO_UDP || state == TCP_SYN_SENT || (out && (h->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN))
		f->direction = out || state == TCP_SYN_SENT ? DIRECTION_OUTBOUND : DIRECTION_INBOUND;
}

/* note_early: payload that rode on the handshake's last ACK ran on the listener;
 * the socket itself counted it. */
static __always_inline void note_early(struct bpf_sock *sk, struct flow *f)
{
	__u64 received = BPF_CORE_READ((struct tcp_sock *)plain(sk), bytes_received);

	if (!received)
		return;
	f->data_in = 1;
	f->bytes_in += received;
	f->packets_in++;
}

/* note marks what the packet proves. It returns whether an attributed flow came
 * further, which is reported at once. */
static __always_inline int note(struct flow *f, const struct headers *h, __u32 state, int out)
{
	__u8 before = outcome(f);

	if (out) {
		f->asking = 0;
		f->data_out |= h->length > 0;
	} else {
		f->data_in |= h->length > 0;
	}
	if (!(out ? f->seen_out : f->seen_in)) {
		if (!same_endpoint(&h->tuple.remote, &f->socket.remote) ||
		    (!same_endpoint(&h->tuple.local, &f->socket.local) && !f->wire.remote.port))
			f->wire = h->tuple;
		if (out)
			f->seen_out = 1;
		else
			f->seen_in = 1;
	}
	if (h->proto == IPPROTO_TCP) {
		if (state == TCP_SYN_SENT && !out && (h->tcp_flags & TCP_RST))
			f->refused = 1;
		if (state != TCP_SYN_SENT && state != TCP_SYN_RECV && state != TCP_CLOSE)
			f->established = 1;
	}
	note_direction(f, h, state, out);
	return (f->attributed || f->refused) && outcome(f) > before;
}

static __always_inline void slow(struct __sk_buff *skb, struct bpf_sock *sk, struct socket_state *s, int out,
				 struct control c)
{
	__u32 state = sk->state;
	struct headers h = { .time = bpf_ktime_get_ns() };
	struct flow *f = &s->flow;
	int further, owned = 0, spent = 1;

	count(out ? HOOK_EGRESS : HOOK_INGRESS);
	if (read_headers(skb, out, &h) || h.proto != sk->protocol)
		return; /* an in-kernel tunnel's outer header, or a fragment: not this socket's own packet */
	if (!s->netns)
		s->netns = read_netns(plain(sk));
	if (out && s->owner.attribution != OWNER_EXACT && may_own(sk)) {
		__u32 before = s->owner.tgid;

		owned = own_current(&s->owner) && s->owner.tgid != before;
	}
	if (h.proto == IPPROTO_UDP && (!sk->dst_port || (out && s->asking && s->asking == bpf_get_current_task()))) {
		f = unconnected(skb, sk, s, &h, out, c);
		if (!f)
			return;
	} else if (!f->first) {
		begin(f, bpf_get_socket_cookie(skb), h.time, h.proto, c);
		read_tuple(plain(sk), &f->socket);
	}
	if (s->listener) {
		s->listener = 0;
		f->direction = DIRECTION_INBOUND;
	}
	if (out && f->direction == DIRECTION_INBOUND && h.proto == IPPROTO_TCP && !f->data_in)
		note_early(sk, f);
	further = note(f, &h, state, out);
	tally(f, skb->len, h.packets, out);
	if (f->generation != c.generation) {
		__u8 was = f->attributed;

		look_up(f, c.generation);
		further |= f->attributed && !was;
	}
	if (!f->opened || further || owned || c.seconds - f->reported >= update_seconds) {
		emit_flow(f->opened ? RECORD_UPDATE : RECORD_OPEN, f, &s->owner, s->netns, h.time);
		f->opened = 1;
		f->reported = c.seconds;
	}
	if (h.length)
		spent = copy_payload(skb, f, s, &h, out);
	else if (h.tcp_flags & TCP_SYN)
		copy(skb, f, s, &h, out ? FLAG_OUT : 0, 0);
	else
		spent = (out ? f->copied_out : f->copied_in) >= budgets[f->class < CLASSES ? f->class : 0];
	settle(f, &s->owner, out, spent);
}

/* sender reads who a UDP packet is from, where no options or extension headers
 * are in the way. */
static __always_inline int sender(struct __sk_buff *skb, struct endpoint *e)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const __u8 *ip = data;

	if (data + 28 > end)
		return 0;
	if (ip[0] == 0x45 && ip[9] == IPPROTO_UDP) {
		map4(e->addr, *(__be32 *)(data + 12));
		e->port = *(__be16 *)(data + 20);
		return 1;
	}
	if (ip[0] >> 4 != 6 || ip[6] != IPPROTO_UDP || data + 48 > end)
		return 0;
	__builtin_memcpy(e->addr, data + 8, 16);
	e->port = *(__be16 *)(data + 40);
	return 1;
}

/* known finds the flow of a packet where it takes next to nothing: that of a
 * connected socket, of the sendmsg in hand, or of who sent to an unconnected
 * socket. */
static __always_inline struct flow *known(struct __sk_buff *skb, struct bpf_sock *sk, struct socket_state *s, int out)
{
	struct flow_key key = {};

	if (out && s->asking) {
		if (!s->many || s->asking != bpf_get_current_task())
			return 0;
		key.remote = s->asked;
	} else if (sk->dst_port) {
		return &s->flow;
	} else if (out || !s->many || !sender(skb, &key.remote)) {
		return 0;
	}
	key.cookie = s->cookie;
	return bpf_map_lookup_elem(&udp_flows, &key);
}

/* settled only counts a packet, where nothing more is to be learned of its flow.
 * A raw socket and a listener have no such flow, a listener's clone not yet. */
static __always_inline int settled(struct __sk_buff *skb, struct bpf_sock *sk, struct socket_state *s, int out,
				   struct control c)
{
	struct flow *f;

	if (s->listener)
		return 0;
	f = known(skb, sk, s, out);
	if (!f || !(out ? f->settled_out : f->settled_in) || f->generation != c.generation ||
	    c.seconds - f->reported >= update_seconds)
		return 0;
	if (out && f->unconnected)
		s->asking = 0;
	tally(f, skb->len, skb->gso_segs > 1 ? skb->gso_segs : 1, out);
	return 1;
}

static __always_inline int handle(struct __sk_buff *skb, int out)
{
	struct bpf_sock *sk = skb->sk;
	struct socket_state *s;
	struct control c;

	if (!sk)
		return 1;
	c = control();
	s = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (s && settled(skb, sk, s, out, c))
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 1;
	/* A raw socket has a run of its own for every packet it sniffs. */
	if (!(sk->type == SOCK_STREAM && sk->protocol == IPPROTO_TCP) &&
	    !(sk->type == SOCK_DGRAM && sk->protocol == IPPROTO_UDP))
		return 1;
	if (sk->state == TCP_LISTEN) {
		listen_packet(skb, sk, s, out, c);
		return 1;
	}
	if (!s) {
		s = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!s) {
			count(LOST_STORAGE);
			return 1;
		}
	} else if (s->listener) { /* a clone, with the listener's counts */
		forget_flow(&s->flow);
		s->asking = 0;
		if (s->owner.tgid)
			s->owner.attribution = OWNER_INHERITED;
	}
	slow(skb, sk, s, out, c);
	return 1;
}

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
	return handle(skb, 1);
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	return handle(skb, 0);
}

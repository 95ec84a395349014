//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Every IP packet of every socket below the root cgroup, out and in. */
#include "headers/packet.h"
#include "headers/remotes.h"

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
	struct headers h = {};
	struct flow f = { .proto = IPPROTO_TCP };

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
	f.attributed = c.generation && attributed_addr(h.tuple.remote.addr);
	if ((!h.length && !f.attributed) || !within_pace(c.seconds))
		return;
	if (!s->netns)
		s->netns = read_netns(sk);
	f.cookie = bpf_get_socket_cookie(skb);
	f.socket = h.tuple;
	copy(skb, &f, s, &h, FLAG_LISTENER | (out ? FLAG_OUT : 0), budgets[CLASS_CANDIDATE]);
}

/* unspecified: a socket bound to no address. */
static __always_inline int unspecified(const __be32 *addr)
{
	return !addr[0] && !addr[1] && !addr[3] && (!addr[2] || addr[2] == bpf_htonl(0xffff));
}

/* me tells threads and CPUs apart: a packet leaves in the thread that sends it,
 * and comes in on a CPU that no other packet interrupts. */
static __always_inline __u64 me(int out)
{
	return out ? bpf_get_current_task() : bpf_get_smp_processor_id() + 1;
}

/* unconnected finds the flow of one remote of a socket. Output NAT is undone by
 * the remote being what sendmsg asked for, which is also where the answer seems to
 * come from. */
static __always_inline struct flow *unconnected(struct __sk_buff *skb, struct bpf_sock *sk, struct socket_state *s,
						struct headers *h, int out, int asked, struct control c)
{
	struct tuple t = { .remote = h->tuple.remote };
	struct flow *f;

	if (!s->cookie)
		s->cookie = bpf_get_socket_cookie(skb);
	if (asked) {
		t.remote = s->asked;
		s->asking = 0;
	}
	f = find_flow(s->cookie, &t.remote);
	if (f)
		return f;
	s->many = 1;
	local_end(sk, &t.local);
	if (unspecified(t.local.addr))
		t.local = h->tuple.local;
	count(out ? HOOK_EGRESS : HOOK_INGRESS);
	return new_flow(s->cookie, &t, when(h), c);
}

/* tally counts. Threads may send on a UDP socket at once, and CPUs receive; an
 * atomic addition costs as much as all the rest of a settled packet, so who came
 * first has counts of its own. */
static __always_inline void tally(struct flow *f, __u32 length, __u32 packets, __u64 who, int out)
{
	if (f->proto == IPPROTO_UDP && who != (out ? f->sender : f->receiver)) {
		__sync_fetch_and_add(out ? &f->shared.bytes_out : &f->shared.bytes_in, length);
		__sync_fetch_and_add(out ? &f->shared.packets_out : &f->shared.packets_in, packets);
	} else if (out) {
		f->own.bytes_out += length;
		f->own.packets_out += packets;
	} else {
		f->own.bytes_in += length;
		f->own.packets_in += packets;
	}
}

static __always_inline int done(const struct flow *f)
{
	__u64 mark = mark_of(f->cookie, f->unconnected ? &f->socket.remote : 0);
	__u32 *slot = done_slot(mark);

	return slot && *slot == (__u32)mark;
}

/* budget_left is how much payload of a direction may still be copied. */
static __always_inline __u32 budget_left(struct __sk_buff *skb, struct flow *f, const struct headers *h, int out)
{
	__u32 *used = out ? &f->copied_out : &f->copied_in;
	__u32 budget;
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
		return 0;
	budget = budgets[f->class];
	if (*used >= budget || ((f->copied_out || f->copied_in) && done(f)))
		return 0;
	return budget - *used;
}

/* settle decides whether the next packet of the direction is counted only. */
static __always_inline void settle(struct flow *f, const struct socket_state *s, int out, int spent)
{
	if (!f->opened || f->class == CLASS_DNS || !(f->established || f->proto == IPPROTO_UDP))
		return;
	if (out)
		f->settled_out = f->data_out && (spent || f->own.packets_out > SETTLED_AFTER) &&
				 s->owner.attribution == OWNER_EXACT && (f->unconnected || !s->asking);
	else
		f->settled_in = f->data_in && (spent || f->own.packets_in > SETTLED_AFTER);
}

/* may_own: who runs is who sends when the socket is UDP, or when its lock is
 * held by a process; in the softirq of somebody else's time slice it is not. */
static __always_inline int may_own(struct bpf_sock *sk)
{
	struct tcp_sock *tcp;

	if (sk->protocol == IPPROTO_UDP)
		return 1;
	tcp = bpf_skc_to_tcp_sock(sk);
	return tcp && tcp->inet_conn.icsk_inet.sk.sk_lock.owned == 1;
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
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u64 received = tcp ? tcp->bytes_received : 0;

	if (!received)
		return;
	f->data_in = 1;
	f->own.bytes_in += received;
	f->own.packets_in++;
}

static __always_inline int overdue(const struct flow *f, struct control c)
{
	return (__s32)(c.seconds - f->due) >= 0;
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

/* tell writes what is to be written of a packet: a record of its flow, its bytes,
 * both, or nothing. It returns whether the direction's budget is used up. */
static __always_inline int tell(struct __sk_buff *skb, struct flow *f, struct socket_state *s, struct headers *h,
				__u8 kind, int out, struct control c)
{
	__u32 left = h->length ? budget_left(skb, f, h, out) : 0;
	__u32 *used = out ? &f->copied_out : &f->copied_in;
	__u32 want = left > 16384 ? 16384 : left, copied = 0;
	int copying = left || (!h->length && (h->tcp_flags & TCP_SYN));

	if (kind && copying)
		copied = report_with(skb, f, s, h, kind, out ? FLAG_OUT : 0, want);
	else if (kind)
		emit_flow(kind, f, &s->owner, s->netns, when(h));
	else if (copying)
		copied = copy(skb, f, s, h, out ? FLAG_OUT : 0, want);
	if (kind) {
		f->opened = 1;
		f->due = c.seconds + c.update;
		if (kind == RECORD_UPDATE && f->unconnected)
			keep_flow(f);
	}
	if (h->length) {
		if (f->class != CLASS_DNS && copied > h->payload)
			*used += copied - h->payload;
		return !left || copied >= h->payload + left;
	}
	return copying || *used >= budgets[f->class < CLASSES ? f->class : 0];
}

static __always_inline void slow(struct __sk_buff *skb, struct bpf_sock *sk, struct socket_state *s, int out,
				 struct control c)
{
	__u32 state = sk->state;
	struct headers h = {};
	struct flow *f = &s->flow;
	int further, owned = 0, asked = 0;
	__u64 who = 0;
	__u8 kind;

	if (read_headers(skb, out, &h) || h.proto != sk->protocol)
		return; /* an in-kernel tunnel's outer header, or a fragment: not this socket's own packet */
	if (!s->netns)
		s->netns = read_netns(sk);
	if (out && s->owner.attribution != OWNER_EXACT && may_own(sk)) {
		__u32 before = s->owner.tgid;

		owned = own_current(&s->owner) && s->owner.tgid != before;
	}
	if (h.proto == IPPROTO_UDP) {
		who = me(out);
		asked = out && s->asking && s->asking == who;
	}
	if (h.proto == IPPROTO_UDP && (!sk->dst_port || asked)) {
		f = unconnected(skb, sk, s, &h, out, asked, c);
		if (!f)
			return;
	} else if (!f->first) {
		if (!f->cookie)
			f->cookie = bpf_get_socket_cookie(skb);
		f->first = when(&h);
		f->proto = h.proto;
		count(out ? HOOK_EGRESS : HOOK_INGRESS);
		local_end(sk, &f->socket.local);
		remote_end(sk, &f->socket.remote);
	}
	if (s->listener) {
		s->listener = 0;
		f->direction = DIRECTION_INBOUND;
	}
	if (out && f->direction == DIRECTION_INBOUND && h.proto == IPPROTO_TCP && !f->data_in)
		note_early(sk, f);
	further = note(f, &h, state, out);
	if (out && !f->sender)
		f->sender = who;
	else if (!out && !f->receiver)
		f->receiver = who;
	tally(f, skb->len, h.packets, who, out);
	if (f->generation != c.generation) {
		__u8 was = f->attributed;

		look_up(f, c.generation);
		further |= f->attributed && !was;
	}
	kind = !f->opened ? RECORD_OPEN : further || owned || overdue(f, c) ? RECORD_UPDATE : 0;
	settle(f, s, out, tell(skb, f, s, &h, kind, out, c));
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

/* known finds the flow of a packet of an unconnected socket where it takes next to
 * nothing: that of the sendmsg in hand, or of who sent it. */
static __always_inline struct flow *known(struct __sk_buff *skb, struct socket_state *s, __u64 who, int out)
{
	struct endpoint remote = {};

	if (!s->many)
		return 0;
	if (out) {
		if (s->asking != who)
			return 0;
		remote = s->asked;
	} else if (!sender(skb, &remote)) {
		return 0;
	}
	return find_flow(s->cookie, &remote);
}

/* bare: a segment without payload tells nothing new of an established flow whose
 * other packets were seen. */
static __always_inline int bare(struct __sk_buff *skb, const struct socket_state *s, int out)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct flow *f = &s->flow;
	const __u8 *ip = data, *tcp = data + 20;
	__u32 at = 20;

	if (!f->established || !f->opened || !f->seen_out || !f->seen_in ||
	    (out && (s->owner.attribution != OWNER_EXACT || !f->data_in)) || data + 40 > end)
		return 0;
	if (ip[0] >> 4 == 6 && ip[6] == IPPROTO_TCP && data + 60 <= end) {
		tcp = data + 40;
		at = 40;
	} else if (ip[0] != 0x45 || ip[9] != IPPROTO_TCP) {
		return 0;
	}
	return skb->len == at + (tcp[12] >> 4) * 4 && !(tcp[13] & TCP_SYN);
}

/* settled only counts a packet, where nothing more is to be learned of its flow.
 * A raw socket has no such flow, a listener and its clone not yet. */
static __always_inline int settled(struct __sk_buff *skb, struct bpf_sock *sk, struct socket_state *s, int out,
				   struct control c)
{
	struct flow *f = &s->flow;
	__u64 who = 0;

	if (!sk->dst_port) {
		who = me(out);
		f = known(skb, s, who, out);
		if (!f)
			return 0;
	}
	if (f->generation != c.generation || overdue(f, c) ||
	    (!(out ? f->settled_out : f->settled_in) && (f->proto != IPPROTO_TCP || !bare(skb, s, out))))
		return 0;
	if (f->unconnected) {
		if (out)
			s->asking = 0;
	} else if (f->proto == IPPROTO_UDP) {
		who = me(out);
	}
	tally(f, skb->len, skb->gso_segs > 1 ? skb->gso_segs : 1, who, out);
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

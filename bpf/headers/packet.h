// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reading a packet's headers, and copying it. */
#pragma once

#include "flow.h"

/* How many bytes of each class are copied per direction. Set before load. */
volatile const __u32 budgets[CLASSES] = { 512, 4096, 16384, 65536, 0xffffffff };

struct headers {
	struct tuple tuple;
	__u64 time;    /* of the packet; 0: not asked yet, which is a call */
	__u32 payload; /* offset */
	__u32 length;  /* of payload, on the wire */
	__u32 packets; /* segments, where the skb holds several */
	__u8 proto, tcp_flags;
};

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

static __always_inline __u64 when(struct headers *h)
{
	if (!h->time)
		h->time = bpf_ktime_get_ns();
	return h->time;
}

/* find_transport and classify are global, so that the verifier walks each once and
 * not for every path that leads to it. */

/* find_transport walks the extension headers of IPv6 (RFC 8200 section 4). It
 * returns the offset of TCP or UDP << 8 and its number, or 0. */
__noinline __u32 find_transport(struct __sk_buff *skb, __u32 next)
{
	__u32 offset = 40;
	__u8 h[8];

#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (next == IPPROTO_TCP || next == IPPROTO_UDP)
			break;
		if (next != 0 && next != 43 && next != 44 && next != 60)
			return 0;
		if (bpf_skb_load_bytes(skb, offset, h, sizeof(h)))
			return 0;
		offset += next == 44 ? 8 : (h[1] + 1) * 8;
		next = h[0];
	}
	return offset << 8 | (next & 0xff);
}

static __always_inline void measure(struct __sk_buff *skb, struct headers *h)
{
	__u32 segments = skb->gso_segs;

	h->length = skb->len > h->payload ? skb->len - h->payload : 0;
	h->packets = segments > 1 ? segments : 1;
}

/* plain_headers reads headers that lie in sight, without options and extensions:
 * nearly all do. It returns 0 where these do not. */
static __always_inline int plain_headers(struct __sk_buff *skb, int out, struct headers *h)
{
	struct endpoint *src = out ? &h->tuple.local : &h->tuple.remote;
	struct endpoint *dst = out ? &h->tuple.remote : &h->tuple.local;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const __u8 *ip = data, *transport;

	if (data + 28 > end)
		return 0;
	if (ip[0] == 0x45) {
		h->proto = ip[9];
		map4(src->addr, *(__be32 *)(ip + 12));
		map4(dst->addr, *(__be32 *)(ip + 16));
		transport = ip + 20;
		h->payload = 20;
	} else if (ip[0] >> 4 == 6 && data + 48 <= end) {
		h->proto = ip[6];
		__builtin_memcpy(src->addr, ip + 8, 16);
		__builtin_memcpy(dst->addr, ip + 24, 16);
		transport = ip + 40;
		h->payload = 40;
	} else {
		return 0;
	}
	src->port = *(__be16 *)transport;
	dst->port = *(__be16 *)(transport + 2);
	if (h->proto == IPPROTO_UDP) {
		h->payload += 8;
	} else if (h->proto == IPPROTO_TCP && (void *)transport + 20 <= end) {
		h->tcp_flags = transport[13];
		h->payload += (transport[12] >> 4) * 4;
	} else {
		return 0;
	}
	measure(skb, h);
	return 1;
}

/* read_headers returns 0, or -1 where the packet is of no flow. */
static __always_inline int read_headers(struct __sk_buff *skb, int out, struct headers *h)
{
	struct endpoint *src = out ? &h->tuple.local : &h->tuple.remote;
	struct endpoint *dst = out ? &h->tuple.remote : &h->tuple.local;
	__u8 b[16] __attribute__((aligned(8)));
	__u32 offset;

	if (plain_headers(skb, out, h))
		return 0;
	if (bpf_skb_load_bytes(skb, 0, b, 10))
		return -1;
	if (b[0] >> 4 == 4) {
		offset = (b[0] & 15) * 4;
		h->proto = b[9];
		if (bpf_skb_load_bytes(skb, 12, b, 8))
			return -1;
		map4(src->addr, *(__be32 *)b);
		map4(dst->addr, *(__be32 *)(b + 4));
	} else {
		offset = find_transport(skb, b[6]);
		if (bpf_skb_load_bytes(skb, 8, src->addr, 16) || bpf_skb_load_bytes(skb, 24, dst->addr, 16))
			return -1;
		h->proto = offset;
		offset = offset >> 8 & 0xffff;
	}
	if (h->proto == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(skb, offset, b, 14))
			return -1;
		h->tcp_flags = b[13];
		h->payload = offset + (b[12] >> 4) * 4;
	} else if (h->proto == IPPROTO_UDP) {
		if (bpf_skb_load_bytes(skb, offset, b, 8))
			return -1;
		h->tcp_flags = 0;
		h->payload = offset + 8;
	} else {
		return -1;
	}
	src->port = *(__be16 *)b;
	dst->port = *(__be16 *)(b + 2);
	measure(skb, h);
	return 0;
}

/* tcp_class looks at the first payload bytes of a segment. It need not be right:
 * it only sets how much user space is shown. */
static __always_inline __u8 tcp_class(const __u8 *b, __u32 n)
{
	if (n >= 3 && b[0] == 0x16 && b[1] == 3) /* TLS handshake, RFC 8446 section 5.1 */
		return CLASS_HANDSHAKE;
	if (n >= 4 && b[0] == 3 && b[1] == 0 && b[2] < 0x10) /* TPKT, RFC 1006: RDP, TLS follows */
		return CLASS_HANDSHAKE;
	if (n >= 4 && b[0] == 'S' && b[1] == 'S' && (b[2] == 'H' || b[2] == 'T')) /* SSH-, SSTP */
		return CLASS_HANDSHAKE;
	if (n >= 4 && ((b[0] == 'C' && b[1] == 'O' && b[2] == 'N') || /* CONNECT: TLS follows */
		       (b[0] == 'G' && b[1] == 'E' && b[2] == 'T') ||
		       (b[0] == 'P' && (b[1] == 'O' || b[1] == 'R' || b[1] == 'U')) || /* POST, PROXY, PUT */
		       (b[0] == 'H' && b[1] == 'T' && b[2] == 'T')))
		return CLASS_HANDSHAKE;
	if (n >= 2 && (b[0] == 4 || b[0] == 5) && b[1] < 0x10) /* SOCKS, RFC 1928 */
		return CLASS_HANDSHAKE;
	if (n >= 3 && b[0] < 6 && (b[2] >> 3) >= 1 && (b[2] >> 3) <= 11 && !(b[2] & 7)) /* OpenVPN over TCP */
		return CLASS_HANDSHAKE;
	if (n >= 4 && b[0] == 'R' && b[1] == 'F' && b[2] == 'B') /* RFC 6143 */
		return CLASS_CANDIDATE;
	if (n >= 8 && b[4] == 0x1a && b[5] == 0x2b && b[6] == 0x3c && b[7] == 0x4d) /* PPTP, RFC 2637 */
		return CLASS_CANDIDATE;
	if (n >= 2 && b[0] == '0' && b[1] == ' ') /* tinc */
		return CLASS_CANDIDATE;
	return CLASS_PLAIN;
}

static __always_inline __u8 udp_class(const __u8 *b, __u32 n)
{
	if (n < 8)
		return CLASS_PLAIN;
	if ((b[0] & 0xc0) == 0xc0) /* QUIC long header, RFC 9000 section 17.2 */
		return CLASS_HANDSHAKE;
	if (b[0] == 0x16 && b[1] == 0xfe) /* DTLS, RFC 6347 */
		return CLASS_HANDSHAKE;
	if ((b[0] & 7) == 0 && (b[0] >> 3) >= 1 && (b[0] >> 3) <= 11) /* OpenVPN */
		return CLASS_HANDSHAKE;
	if (b[0] >= 1 && b[0] <= 4 && !b[1] && !b[2] && !b[3]) /* WireGuard */
		return CLASS_CANDIDATE;
	if (!b[0] && !b[1] && !b[2] && !b[3]) /* NAT-T marker, RFC 3948 */
		return CLASS_HANDSHAKE;
	if (n >= 28 && (b[17] == 0x10 || b[17] == 0x20)) /* IKE, RFC 7296 section 3.1 */
		return CLASS_HANDSHAKE;
	if ((b[0] & 0x80) && (b[1] & 15) == 2) /* L2TP, RFC 2661 section 3.1 */
		return CLASS_CANDIDATE;
	return CLASS_PLAIN;
}

/* MORE_UNWANTED: application data of TLS. */
#define MORE_UNWANTED 0xff

/* classify reads the first n payload bytes. */
__noinline __u32 classify(struct __sk_buff *skb, __u32 at, __u32 n, __u32 proto)
{
	__u8 b[20] = {};

	if (n >= 20) {
		if (bpf_skb_load_bytes(skb, at, b, 20))
			return CLASS_PLAIN;
	} else if (n >= 8) {
		if (bpf_skb_load_bytes(skb, at, b, 8))
			return CLASS_PLAIN;
	} else if (n >= 2) {
		if (bpf_skb_load_bytes(skb, at, b, 2))
			return CLASS_PLAIN;
		n = 2;
	}
	if (proto == IPPROTO_UDP)
		return udp_class(b, n);
	if (n >= 3 && b[0] == 0x17 && b[1] == 3)
		return MORE_UNWANTED;
	return tcp_class(b, n);
}

/* put writes one record: the packet alone, or, of kind other than RECORD_PACKET,
 * the flow's account with it. It returns how many bytes it took, headers
 * included. */
static __always_inline __u32 put(struct __sk_buff *skb, struct flow *f, struct socket_state *s, struct headers *h,
				 __u8 kind, __u8 flags, __u32 length, const __u32 size, const __u32 room)
{
	struct packet_event *e = bpf_ringbuf_reserve(&records, size + room, 0);
	__u32 last;

	if (!e) {
		count(LOST_RING);
		return 0;
	}
	head(e, kind, flags, f, &s->owner, s->netns, when(h));
	if (size == sizeof(struct flow_event))
		account((struct flow_event *)e, f);
	e->length = skb->len;
	if (length > room)
		length = room;
	last = length - 1;
	asm volatile("" : "+r"(last)); /* 5.10 and its like learn the range of this only */
	if (last >= room || bpf_skb_load_bytes(skb, 0, (void *)e + size, last + 1)) {
		if (kind == RECORD_PACKET)
			bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		else
			submit(e, SEEN_RECORDS, 0);
		count(LOST_HEADER);
		return 0;
	}
	e->captured = length;
	if (kind != RECORD_PACKET)
		count(SEEN_RECORDS);
	submit(e, SEEN_PACKETS, room > 2048);
	return length;
}

static __always_inline __u32 copied_length(struct __sk_buff *skb, const struct headers *h, __u32 want)
{
	__u32 length = h->payload + (h->length < want ? h->length : want);

	return length < skb->len ? length : skb->len;
}

/* copy puts up to want bytes of payload, and the headers, into the ring. The
 * sizes are those of ring records of 256 bytes, 1 KiB, 4 KiB and 16 KiB: a
 * reservation's size must be known to the verifier before 5.19's dynptr. */
static __always_inline __u32 copy(struct __sk_buff *skb, struct flow *f, struct socket_state *s, struct headers *h,
				  __u8 flags, __u32 want)
{
	__u32 length = copied_length(skb, h, want);

	if (length <= 144)
		return put(skb, f, s, h, RECORD_PACKET, flags, length, sizeof(struct packet_event), 144);
	if (length <= 912)
		return put(skb, f, s, h, RECORD_PACKET, flags, length, sizeof(struct packet_event), 912);
	if (length <= 3984)
		return put(skb, f, s, h, RECORD_PACKET, flags, length, sizeof(struct packet_event), 3984);
	return put(skb, f, s, h, RECORD_PACKET, flags, length, sizeof(struct packet_event), 16384 + 256);
}

/* report_with is copy with the flow's account before it, in one record where the
 * packet is small, else in two. */
static __always_inline __u32 report_with(struct __sk_buff *skb, struct flow *f, struct socket_state *s,
					 struct headers *h, __u8 kind, __u8 flags, __u32 want)
{
	__u32 length = copied_length(skb, h, want);

	if (length <= 88)
		return put(skb, f, s, h, kind, flags, length, sizeof(struct flow_event), 88);
	if (length <= 792)
		return put(skb, f, s, h, kind, flags, length, sizeof(struct flow_event), 792);
	emit_flow(kind, f, &s->owner, s->netns, when(h));
	return copy(skb, f, s, h, flags, want);
}

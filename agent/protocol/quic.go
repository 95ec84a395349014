package protocol

// quic reads QUIC Initial packets. It fills Facts.TLS and labels the
// flow "quic".
func quic() Detector {
	return Detector{
		Name: "quic",
		Doc: Doc{
			How:      "QUIC long headers of version 1, 2 and the last drafts; Initial packets are decrypted with their public keys and the ClientHello put together from its CRYPTO frames",
			Confirms: "an Initial packet of the client that decrypts, and a long header packet of the server with the client's connection id",
			Limits:   "internal label: QUIC is no category. Nothing is read when the first flight is missing",
			Source:   "RFC 9000, RFC 9001, RFC 9369",
		},
		UDP:   func(first []byte, _ int, _ bool) bool { return quicStarts(first) },
		Facts: true,
		Look:  lookQUIC,
	}
}

// quicVersion is what differs between versions: the salt and the labels of the
// Initial keys (RFC 9001 section 5.2, RFC 9369 section 3.3), and the type bits
// of an Initial packet (RFC 9000 section 17.2.2, RFC 9369 section 3.2).
type quicVersion struct {
	number  uint32
	salt    string
	prefix  string
	initial byte
	retry   byte
}

const (
	saltV1      = "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"
	saltV2      = "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"
	saltDraft29 = "\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99" // draft-ietf-quic-tls-29 to -32
	saltDraft23 = "\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02" // draft-ietf-quic-tls-23 to -28
)

// quicVersionOf gives the parameters of a version.
func quicVersionOf(n uint32) (quicVersion, bool) {
	v := quicVersion{number: n, salt: saltV1, prefix: "quic ", initial: 0, retry: 3}
	switch {
	case n == 1, n == 0xff000021, n == 0xff000022:
	case n == 0x6b3343cf:
		v.salt, v.prefix, v.initial, v.retry = saltV2, "quicv2 ", 1, 0
	case n >= 0xff00001d && n <= 0xff000020:
		v.salt = saltDraft29
	case n >= 0xff000017 && n <= 0xff00001c:
		v.salt = saltDraft23
	default:
		return v, false
	}
	return v, true
}

// quicStarts is the cheap test: a long header with the fixed bit of a version
// that is known, or a version negotiation.
func quicStarts(b []byte) bool {
	if len(b) < 7 || b[0]&0x80 == 0 {
		return false
	}
	n := uint32(b[1])<<24 | uint32(b[2])<<16 | uint32(b[3])<<8 | uint32(b[4])
	_, known := quicVersionOf(n)
	return known && b[0]&0x40 != 0 && b[5] <= 20
}

// quicPacket is one packet with a long header.
type quicPacket struct {
	version  quicVersion
	first    byte
	dst, src []byte // connection ids
	header   []byte // up to the packet number
	payload  []byte // packet number and what it protects
	initial  bool
}

// nextQUIC cuts the first of the coalesced packets of a datagram (RFC 9000
// section 12.2). Packets without a length end the datagram.
func nextQUIC(b []byte) (p quicPacket, rest []byte, ok bool) {
	c := newCursor(b)
	p.first = byte(c.uint(1))
	number := uint32(c.uint(4))
	p.version, ok = quicVersionOf(number)
	if !ok || p.first&0xc0 != 0xc0 {
		return p, nil, false
	}
	p.dst, p.src = c.vector(1), c.vector(1)
	if len(p.dst) > 20 || len(p.src) > 20 || !c.ok {
		return p, nil, false
	}
	kind := p.first >> 4 & 3
	if kind == p.version.retry {
		return p, nil, true
	}
	if p.initial = kind == p.version.initial; p.initial {
		c.take(c.varint()) // token
	}
	n := c.varint()
	p.header = b[:len(b)-len(c.b)]
	p.payload = c.take(n)
	return p, c.b, c.ok
}

// varint reads a variable-length integer, RFC 9000 section 16. What does not
// fit in 30 bits is no length of ours.
func (c *cursor) varint() int {
	first := c.uint(1)
	n := 1 << (first >> 6)
	v := first & 0x3f
	for _, b := range c.take(n - 1) {
		if v >= 1<<22 {
			c.ok = false
			return 0
		}
		v = v<<8 | int(b)
	}
	return v
}

func lookQUIC(f *Flow) Result {
	if len(f.Client.Datagrams) == 0 && len(f.Server.Datagrams) == 0 {
		return Result{State: NeedMore}
	}
	conn := quicConnection{}
	clientRead := conn.read(&f.Client, sentByClient)
	serverSeen := conn.answers(&f.Server)
	if !clientRead {
		if f.Closed || len(f.Client.Datagrams) >= MaxDatagrams {
			return Result{State: NotThis}
		}
		return Result{State: NeedMore}
	}
	if body, ok := conn.crypto.message(helloClient); ok {
		var r tlsReading
		if f.Facts.TLS == nil || f.Facts.TLS.JA4 == "" {
			r.message(f.Facts, helloClient, body, 0, quicHello)
		}
		if serverSeen {
			f.Facts.TLS.ServerHello = f.Facts.TLS.ServerHello || conn.serverHello(&f.Server)
			return Result{State: Confirmed, Label: "quic", Evidence: "QUIC Initial with a ClientHello, and a server's packet with the client's connection id"}
		}
	}
	return Result{State: Suspected, Label: "quic", Evidence: "QUIC Initial packet that decrypts"}
}

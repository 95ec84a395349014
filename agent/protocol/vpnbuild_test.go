package protocol

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// noise gives n bytes that look encrypted, the same for the same seed.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func le64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func text(s string) []byte { return []byte(s) }

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// prefixed puts a 16-bit length in front, as OpenVPN does over TCP.
func prefixed(b []byte) []byte { return join(be16(uint16(len(b))), b) }

// ovpn builds a control packet under tls-auth with a digest of the given size,
// 0 for none. acks names the remote session when it is not nil.
func ovpn(op byte, session []byte, digest int, remote []byte, message int, payload []byte) []byte {
	b := join([]byte{op << 3}, session)
	if digest > 0 {
		b = join(b, noise(uint64(digest)+uint64(op), digest), be32(1), be32(1700000000))
	}
	if remote == nil {
		b = append(b, 0)
	} else {
		b = join(b, []byte{1}, be32(0), remote)
	}
	if message >= 0 {
		b = join(b, be32(uint32(message)))
	}
	return join(b, payload)
}

// ovpnCrypt builds a control packet under tls-crypt.
func ovpnCrypt(op byte, session []byte, id uint32, sealed int, rest ...byte) []byte {
	return join([]byte{op << 3}, session, be32(id), be32(1700000000), noise(uint64(id)+uint64(op), 32+sealed), rest)
}

// ovpnData builds version 2 data under an AEAD cipher.
func ovpnData(peer, id uint32, n int) []byte {
	return join(be32(openvpnDataV2<<27|peer), be32(id), noise(uint64(id)+uint64(n), n))
}

func wgInitiation(sender uint32) []byte {
	return join(le32(1), le32(sender), noise(uint64(sender), 124), make([]byte, 16))
}

func wgResponse(sender, receiver uint32) []byte {
	return join(le32(2), le32(sender), le32(receiver), noise(uint64(sender), 64), make([]byte, 16))
}

func wgCookie(receiver uint32) []byte {
	return join(le32(3), le32(receiver), noise(uint64(receiver), 56))
}

func wgData(receiver uint32, counter uint64, n int) []byte {
	return join(le32(4), le32(receiver), le64(counter), noise(counter, n))
}

// isakmp builds an IKE message of one payload.
func isakmp(version, exchange, flags, next byte, initiator, responder uint64, id uint32, payload []byte) []byte {
	body := join([]byte{0, 0}, be16(uint16(4+len(payload))), payload)
	return join(be64(initiator), be64(responder), []byte{next, version, exchange, flags}, be32(id), be32(uint32(28+len(body))), body)
}

func espPacket(spi, seq uint32, n int) []byte {
	return join(be32(spi), be32(seq), noise(uint64(seq)+uint64(spi), n))
}

func ztHello(from, to []byte) []byte {
	return join(noise(uint64(from[0]), 8), to, from, []byte{0}, noise(2, 8), []byte{1, 13, 1, 14}, be16(2), be64(1_700_000_000_000), from, []byte{0}, noise(3, 64), []byte{0})
}

func ztPacket(seed uint64, from, to []byte) []byte {
	return join(noise(seed, 8), to, from, []byte{1 << 3}, noise(seed+1, 60))
}

func nebulaPacket(kind byte, index uint32, counter uint64, n int) []byte {
	return join([]byte{1<<4 | kind, 0, 0, 0}, be32(index), be64(counter), noise(counter, n))
}

func n2nPacket(version, kind byte, flags uint16, community string) []byte {
	size := 16
	if version == 3 {
		size = 20
	}
	name := make([]byte, size)
	copy(name, community)
	return join([]byte{version, 2}, be16(flags|uint16(kind)), name, noise(4, 40))
}

// rtp builds an RTP packet (RFC 3550).
func rtp(seq uint16, n int) []byte {
	return join([]byte{0x80, 0x60}, be16(seq), be32(uint32(seq)*960), be32(0x11223344), noise(uint64(seq), n))
}

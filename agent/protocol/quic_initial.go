package protocol

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
)

// sender is who protected a packet.
type sender string

// Labels of the Initial secrets, RFC 9001 section 5.2.
const (
	sentByClient sender = "client in"
	sentByServer sender = "server in"
)

// quicConnection is what the Initial packets of a flow share.
type quicConnection struct {
	original []byte // destination connection id of the client's first Initial
	client   []byte // the client's own connection id
	version  quicVersion
	crypto   cryptoStream
	keys     *initialKeys
	derived  int
}

// Bounds of one look: a client's first flight needs far fewer.
const (
	maxCoalesced   = 8 // packets read of a datagram
	maxDerivations = 4 // times that keys are derived
)

// read decrypts the Initial packets of one side and collects their CRYPTO
// frames. It says whether one of them decrypted.
func (q *quicConnection) read(side *Side, from sender) (decrypted bool) {
	for _, datagram := range side.Datagrams {
		rest := datagram
		for n := 0; n < maxCoalesced && len(rest) > 0; n++ {
			p, after, ok := nextQUIC(rest)
			if !ok {
				break
			}
			rest = after
			if !p.initial {
				continue
			}
			if plain, ok := q.open(&p, from); ok {
				decrypted = true
				if from == sentByClient {
					q.client = p.src
				}
				q.crypto.frames(plain)
			}
		}
	}
	return decrypted
}

// open decrypts a packet with the keys of the client's first destination id or,
// after a Retry, with those of the id that the server gave.
func (q *quicConnection) open(p *quicPacket, from sender) ([]byte, bool) {
	if from == sentByClient && (q.original == nil || q.version.number != p.version.number) {
		q.original, q.version, q.keys = p.dst, p.version, nil
	}
	if q.keys == nil {
		q.keys = q.derive(q.version, q.original, from)
	}
	if plain, ok := q.keys.open(p); ok {
		return plain, true
	}
	if from == sentByServer || bytes.Equal(p.dst, q.original) {
		return nil, false
	}
	again := q.derive(p.version, p.dst, from)
	plain, ok := again.open(p)
	if ok {
		q.original, q.keys, q.crypto = p.dst, again, cryptoStream{}
	}
	return plain, ok
}

// derive makes keys, nil when the look has made enough or cannot.
func (q *quicConnection) derive(v quicVersion, id []byte, from sender) *initialKeys {
	if q.derived++; q.derived > maxDerivations {
		return nil
	}
	return newInitialKeys(v, id, from)
}

// answers says whether the server sent a long header packet to the client's
// connection id, or a version negotiation.
func (q *quicConnection) answers(side *Side) bool {
	for _, d := range side.Datagrams {
		c := newCursor(d)
		first, version := c.uint(1), c.uint(4)
		dst := c.vector(1)
		if _, known := quicVersionOf(uint32(version)); c.ok && first&0x80 != 0 && (known || version == 0) && bytes.Equal(dst, q.client) {
			return true
		}
	}
	return false
}

// serverHello says whether the server's Initial packets carry a ServerHello.
func (q *quicConnection) serverHello(side *Side) bool {
	server := quicConnection{original: q.original, version: q.version}
	server.read(side, sentByServer)
	_, ok := server.crypto.message(helloServer)
	return ok
}

// initialKeys protect the Initial packets of one sender, RFC 9001 section 5.2.
type initialKeys struct {
	aead cipher.AEAD
	mask cipher.Block
	iv   []byte
}

func newInitialKeys(v quicVersion, id []byte, from sender) *initialKeys {
	initial, err := hkdf.Extract(sha256.New, id, []byte(v.salt))
	if err != nil {
		return nil
	}
	secret := expandLabel(initial, string(from), 32)
	key, err := aes.NewCipher(expandLabel(secret, v.prefix+"key", 16))
	if err != nil {
		return nil
	}
	aead, err := cipher.NewGCM(key)
	if err != nil {
		return nil
	}
	mask, err := aes.NewCipher(expandLabel(secret, v.prefix+"hp", 16))
	if err != nil {
		return nil
	}
	return &initialKeys{aead: aead, mask: mask, iv: expandLabel(secret, v.prefix+"iv", 12)}
}

// expandLabel is HKDF-Expand-Label of RFC 8446 section 7.1 with no context.
func expandLabel(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		return make([]byte, n) // decrypts nothing
	}
	return out
}

// open removes header protection and decrypts, RFC 9001 sections 5.3 and 5.4.
func (k *initialKeys) open(p *quicPacket) ([]byte, bool) {
	if k == nil || len(p.payload) < 20 {
		return nil, false
	}
	var mask [16]byte
	k.mask.Encrypt(mask[:], p.payload[4:20])
	first := p.first ^ mask[0]&0x0f
	n := int(first&3) + 1
	header := append(append([]byte(nil), p.header...), p.payload[:n]...)
	header[0] = first
	nonce := append([]byte(nil), k.iv...)
	for i := range n {
		at := len(p.header) + i
		header[at] ^= mask[1+i]
		nonce[len(nonce)-n+i] ^= header[at]
	}
	plain, err := k.aead.Open(nil, nonce, p.payload[n:], header)
	return plain, err == nil
}

package protocol

import (
	"encoding/binary"
	"math/bits"
)

// denseSample is how many bytes dense weighs at most: of 128 random bytes about
// 101 values differ, and more would cost without telling more.
const denseSample = 128

// dense says whether b looks like key material or ciphertext: random bytes
// repeat few values, while text, padding and structured fields repeat many. Of
// n <= 128 random bytes at least 5n/8 values differ all but always (n = 32: 30
// expected, 20 asked; n = 128: 101 expected, 80 asked). Less than eight bytes
// tell nothing and are not dense.
func dense(b []byte) bool {
	b = b[:min(len(b), denseSample)]
	if len(b) < 8 {
		return false
	}
	var seen [4]uint64
	for _, c := range b {
		seen[c>>6] |= 1 << (c & 63)
	}
	values := 0
	for _, word := range seen {
		values += bits.OnesCount64(word)
	}
	return values*8 >= len(b)*5
}

// zero says whether b has only zero bytes.
func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// isSTUN says whether a datagram is a STUN message: two zero bits, a length that
// is a multiple of four, the magic cookie (RFC 8489 section 5).
func isSTUN(b []byte) bool {
	return len(b) >= 20 && b[0] < 0x40 && b[3]&3 == 0 && binary.BigEndian.Uint32(b[4:]) == 0x2112a442
}

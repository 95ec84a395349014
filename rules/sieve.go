package rules

import (
	"encoding/binary"
	"net/netip"
)

// sieveBits is the length of the blocks a sieve knows.
const sieveBits = 26

// sieve says of an IPv4 address that no prefix covers it, for most addresses
// that none covers: a bit for every /26 block that a prefix touches, 8 MB. The
// table behind it answers exactly but follows several pointers, each of them a
// wait for memory in a big set. Small sets go without.
type sieve []uint64

// sieveFrom is the number of prefixes from which a sieve pays.
const sieveFrom = 10_000

func newSieve() sieve { return make(sieve, 1<<sieveBits/64) }

// add marks the blocks that an IPv4 prefix touches.
func (s sieve) add(p netip.Prefix) {
	first := blockOf(p.Addr())
	count := uint32(1)
	if p.Bits() < sieveBits {
		count = 1 << (sieveBits - p.Bits())
	}
	for block := first; block < first+count; block++ {
		s[block/64] |= 1 << (block % 64)
	}
}

// excludes says that no prefix covers the address. It does not know of IPv6.
func (s sieve) excludes(a netip.Addr) bool {
	if s == nil || !a.Is4() {
		return false
	}
	block := blockOf(a)
	return s[block/64]&(1<<(block%64)) == 0
}

func blockOf(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:]) >> (32 - sieveBits)
}

package rules

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"
	"strings"
)

// A sieve says of a value that the set does not hold it, for nearly all that it
// does not hold, and reads one cache line to do so: in a set of millions every
// line read is a wait for memory, and the usual answer is no. The tables behind
// it answer exactly.

// cacheLine is what the processor reads at once: 512 bits.
type cacheLine [8]uint64

// has says whether all bits of the line that a hash chooses are set: four, of
// nine bits of the hash each.
func (l *cacheLine) has(hash uint64) bool {
	for range sieveHashes {
		if l[hash>>6&7]>>(hash&63)&1 == 0 {
			return false
		}
		hash >>= 9
	}
	return true
}

func (l *cacheLine) add(hash uint64) {
	for range sieveHashes {
		l[hash>>6&7] |= 1 << (hash & 63)
		hash >>= 9
	}
}

const sieveHashes = 4

// nameSieve is a Bloom filter in blocks of a line. A name and all names above it
// share the line of the last two labels, so that one read answers for them all.
type nameSieve struct {
	seed  maphash.Seed
	lines []cacheLine // a power of two; nil knows of nothing
}

// newNameSieve makes room for n names, sixteen bits each.
func newNameSieve(n int) nameSieve {
	lines := 1 << bits.Len(uint(n*16/512))
	return nameSieve{maphash.MakeSeed(), makeHuge[cacheLine](lines)}
}

func (s *nameSieve) add(name string) {
	s.line(name).add(maphash.String(s.seed, name))
}

// line is the line of a name: of its last two labels.
func (s *nameSieve) line(name string) *cacheLine {
	hash := maphash.String(s.seed, lastLabels(name))
	return &s.lines[hash>>40&uint64(len(s.lines)-1)]
}

func (s *nameSieve) has(l *cacheLine, name string) bool {
	return l.has(maphash.String(s.seed, name))
}

// lastLabels is the end of a name from its last dot but one.
func lastLabels(name string) string {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return name
	}
	return name[strings.LastIndexByte(name[:dot], '.')+1:]
}

// Of an IPv4 address the first 18 bits choose the line. One half of it has a bit
// for each /26 that a prefix touches, the other is a Bloom filter of the
// addresses in it.
const (
	lineBits  = 18
	blockBits = 26
	blocks    = 1 << (blockBits - lineBits) // of a line: 256
)

// addrSieve is 16 MB, whatever it holds: small sets go without one.
type addrSieve []cacheLine

// addrSieveFrom is the number of addresses and prefixes from which it pays.
const addrSieveFrom = 20_000

func newAddrSieve() addrSieve { return makeHuge[cacheLine](1 << lineBits) }

// addPrefix marks the blocks that an IPv4 prefix touches.
func (s addrSieve) addPrefix(p netip.Prefix) {
	first := number4(p.Addr()) >> (32 - blockBits)
	count := uint32(1)
	if p.Bits() < blockBits {
		count = 1 << (blockBits - p.Bits())
	}
	for block := first; block < first+count; block++ {
		s[block/blocks][block%blocks/64] |= 1 << (block % 64)
	}
}

func (s addrSieve) addAddr(a netip.Addr) {
	n := number4(a)
	l, hash := &s[n>>(32-lineBits)], mix(n)
	for range 3 {
		l[4+hash>>6&3] |= 1 << (hash & 63)
		hash >>= 8
	}
}

// has says whether an IPv4 address may be held, and whether a prefix may cover
// it.
func (s addrSieve) has(a netip.Addr) (addr, prefix bool) {
	n := number4(a)
	l, hash := &s[n>>(32-lineBits)], mix(n)
	block := n >> (32 - blockBits) % blocks
	prefix = l[block/64]>>(block%64)&1 != 0
	addr = l[4+hash>>6&3]>>(hash&63)&(l[4+hash>>14&3]>>(hash>>8&63))&(l[4+hash>>22&3]>>(hash>>16&63))&1 != 0
	return addr, prefix
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// mix spreads an address over the bits that choose places in its line: the upper
// bits of a product with 2^64 divided by the golden ratio (Knuth 6.4).
func mix(n uint32) uint64 { return uint64(n) * 0x9E3779B97F4A7C15 >> 40 }

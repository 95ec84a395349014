package rules

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
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
	seed  uint64
	lines []cacheLine // a power of two; nil knows of nothing
}

// newNameSieve makes room for n names, sixteen bits each.
func newNameSieve(n int) nameSieve {
	return nameSieve{rand.Uint64(), makeHuge[cacheLine](1 << bits.Len(uint(n*16/512)))}
}

// add takes a name in lower case, of two labels or more.
func (s *nameSieve) add(name string) {
	h := nameHash{s: s, hash: s.seed}
	for i := len(name) - 1; i >= 0; i-- {
		h.step(name[i])
	}
	if h.whole() {
		h.line.add(h.mixed())
	}
}

// sift gives the starts of those names, of a name in lower case and the names
// above it, that the sieve lets through, the shortest first. It says false where
// the name is not in lower case.
func (s *nameSieve) sift(name string, starts []int) ([]int, bool) {
	h := nameHash{s: s, hash: s.seed}
	for i := len(name) - 1; i >= 0; i-- {
		c := name[i]
		if c-'A' <= 'Z'-'A' || c >= 0x80 {
			return nil, false
		}
		if c == '.' && h.whole() && h.line.has(h.mixed()) {
			starts = append(starts, i+1)
		}
		h.step(c)
	}
	if h.whole() && h.line.has(h.mixed()) {
		starts = append(starts, 0)
	}
	return starts, true
}

// nameHash is the hash of a name from its end (FNV-1a), so that those of all
// names above it come by the way; what follows the second label is hashed while
// the line is on its way from memory.
type nameHash struct {
	s    *nameSieve
	hash uint64
	dots int
	line *cacheLine
}

func (h *nameHash) step(c byte) {
	if c == '.' {
		h.choose()
		h.dots++
	}
	h.hash = (h.hash ^ uint64(c)) * 0x100000001b3
}

// whole says, where a label begins, whether what was hashed has two labels or
// more: a top-level domain is no indicator.
func (h *nameHash) whole() bool {
	h.choose()
	return h.dots > 0
}

// choose takes the line, where the last two labels are hashed.
func (h *nameHash) choose() {
	if h.dots == 1 && h.line == nil {
		h.line = &h.s.lines[h.mixed()>>40&uint64(len(h.s.lines)-1)]
	}
}

// mixed spreads the hash over all bits (the finaliser of MurmurHash3).
func (h *nameHash) mixed() uint64 {
	x := h.hash
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	return x ^ x>>33
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

package rules

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
)

// keyIndex maps byte strings to the first record of each: an open-addressing
// table whose two-byte tags stand by themselves, so that a miss reads one or two
// of them and nothing else, and five million take 16 MB; the keys lie in one
// block. A Go map of strings takes three times the memory, and gives the garbage
// collector as many pointers to follow; here there is none.
type keyIndex struct {
	seed    maphash.Seed
	tags    []uint16 // 0 is an empty slot
	entries []uint32 // of each slot: number of its key
	ends    []uint32 // end of each key in keys
	heads   []uint32 // first record of each key
	keys    []byte
}

// find returns the first record of key. It allocates nothing.
func (x *keyIndex) find(key string) (uint32, bool) {
	if len(x.tags) == 0 {
		return 0, false
	}
	slot, _ := x.probe(key)
	if x.tags[slot] == 0 {
		return 0, false
	}
	return x.heads[x.entries[slot]], true
}

// findAddr is find for an address, whose bytes as a key stay on the stack.
func (x *keyIndex) findAddr(a netip.Addr) (uint32, bool) {
	if a.Is4() {
		k := a.As4()
		return x.find(string(k[:]))
	}
	k := a.As16()
	return x.find(string(k[:]))
}

// set makes head the first record of key and returns the one before.
func (x *keyIndex) set(key string, head uint32) (before uint32, had bool) {
	if len(x.ends)*4 >= len(x.tags)*3 {
		x.grow(max(16, 2*len(x.tags)))
	}
	slot, tag := x.probe(key)
	if x.tags[slot] != 0 {
		entry := x.entries[slot]
		before, x.heads[entry] = x.heads[entry], head
		return before, true
	}
	x.tags[slot], x.entries[slot] = tag, uint32(len(x.ends))
	x.keys = append(x.keys, key...)
	x.ends = append(x.ends, uint32(len(x.keys)))
	x.heads = append(x.heads, head)
	return 0, false
}

// probe returns the slot that holds key, or the empty one where it belongs, and
// the key's tag.
func (x *keyIndex) probe(key string) (slot uint64, tag uint16) {
	hash := maphash.String(x.seed, key)
	mask, tag := uint64(len(x.tags)-1), tagOf(hash)
	for slot = hash & mask; x.tags[slot] != 0; slot = (slot + 1) & mask {
		if x.tags[slot] == tag && string(x.key(x.entries[slot])) == key {
			break
		}
	}
	return slot, tag
}

// tagOf takes bits of the hash that do not choose the slot; never 0.
func tagOf(hash uint64) uint16 { return uint16(hash>>48) | 1 }

func (x *keyIndex) key(entry uint32) []byte {
	start := uint32(0)
	if entry > 0 {
		start = x.ends[entry-1]
	}
	return x.keys[start:x.ends[entry]]
}

func (x *keyIndex) size() int { return len(x.ends) }

// grow makes a table of n slots, a power of two.
func (x *keyIndex) grow(n int) {
	if len(x.tags) == 0 {
		x.seed = maphash.MakeSeed()
	}
	x.tags, x.entries = makeHuge[uint16](n), makeHuge[uint32](n)
	mask := uint64(n - 1)
	for i := range x.ends {
		hash := maphash.Bytes(x.seed, x.key(uint32(i)))
		slot := hash & mask
		for x.tags[slot] != 0 {
			slot = (slot + 1) & mask
		}
		x.tags[slot], x.entries[slot] = tagOf(hash), uint32(i)
	}
}

// reserve makes room for n keys of about width bytes each.
func (x *keyIndex) reserve(n, width int) {
	if n == 0 || len(x.tags) > 0 {
		return
	}
	x.grow(1 << bits.Len(uint(n*4/3)))
	x.ends = makeHuge[uint32](n)[:0]
	x.heads = makeHuge[uint32](n)[:0]
	x.keys = makeHuge[byte](n * width)[:0]
}

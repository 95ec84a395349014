package rules

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
)

// keyIndex maps byte strings to the first record of each: an open-addressing
// table of 8-byte slots, the keys in one block. A Go map of strings takes three
// times the memory at five million keys, and gives the collector as many
// pointers to follow; here a miss reads one slot, and there is no pointer.
type keyIndex struct {
	seed  maphash.Seed
	slots []uint64 // high half: tag of the hash; low half: entry number + 1
	ends  []uint32 // end of each key in keys
	heads []uint32 // first record of each key
	keys  []byte
}

// find returns the first record of key. It allocates nothing.
func (x *keyIndex) find(key string) (uint32, bool) {
	if len(x.slots) == 0 {
		return 0, false
	}
	slot, entry := x.probe(key)
	if x.slots[slot] == 0 {
		return 0, false
	}
	return x.heads[entry], true
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
	if len(x.ends)*4 >= len(x.slots)*3 {
		x.grow()
	}
	slot, entry := x.probe(key)
	if x.slots[slot] != 0 {
		before, x.heads[entry] = x.heads[entry], head
		return before, true
	}
	x.keys = append(x.keys, key...)
	x.ends = append(x.ends, uint32(len(x.keys)))
	x.heads = append(x.heads, head)
	x.slots[slot] = tagged(maphash.String(x.seed, key), len(x.ends))
	return 0, false
}

// probe returns the slot that holds key, or the empty one where it belongs.
func (x *keyIndex) probe(key string) (slot uint64, entry uint32) {
	hash := maphash.String(x.seed, key)
	mask := uint64(len(x.slots) - 1)
	for slot = hash & mask; ; slot = (slot + 1) & mask {
		held := x.slots[slot]
		if held == 0 {
			return slot, 0
		}
		if uint32(held>>32) == uint32(hash>>32) {
			if entry = uint32(held) - 1; string(x.key(entry)) == key {
				return slot, entry
			}
		}
	}
}

func (x *keyIndex) key(entry uint32) []byte {
	start := uint32(0)
	if entry > 0 {
		start = x.ends[entry-1]
	}
	return x.keys[start:x.ends[entry]]
}

func (x *keyIndex) size() int { return len(x.ends) }

func tagged(hash uint64, number int) uint64 { return hash>>32<<32 | uint64(uint32(number)) }

func (x *keyIndex) grow() {
	if len(x.slots) == 0 {
		x.seed = maphash.MakeSeed()
	}
	slots := make([]uint64, max(16, 2*len(x.slots)))
	mask := uint64(len(slots) - 1)
	for i := range x.ends {
		hash := maphash.Bytes(x.seed, x.key(uint32(i)))
		slot := hash & mask
		for slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		slots[slot] = tagged(hash, i+1)
	}
	x.slots = slots
}

// reserve makes room for n keys of about width bytes each.
func (x *keyIndex) reserve(n, width int) {
	if n == 0 || len(x.slots) > 0 {
		return
	}
	x.seed = maphash.MakeSeed()
	x.slots = make([]uint64, 1<<bits.Len(uint(n*4/3)))
	x.ends = make([]uint32, 0, n)
	x.heads = make([]uint32, 0, n)
	x.keys = make([]byte, 0, n*width)
}

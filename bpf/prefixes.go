package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// prefixKey is a prefix in a form that hashes fast: struct prefix6 of
// headers/maps.h, and the family.
type prefixKey struct {
	addr [16]byte
	bits uint8
	is4  bool
}

func keyOf(p netip.Prefix) prefixKey {
	p = p.Masked()
	if p.Addr().Is4() {
		k := prefixKey{bits: uint8(p.Bits()), is4: true}
		a := p.Addr().As4()
		copy(k.addr[:], a[:])
		return k
	}
	return prefixKey{addr: p.Addr().As16(), bits: uint8(p.Bits())}
}

func (k prefixKey) bytes() []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(k.bits))
	if k.is4 {
		return append(b, k.addr[:4]...)
	}
	return append(b, k.addr[:]...)
}

func (k *Kernel) trie(p prefixKey) *ebpf.Map {
	if p.is4 {
		return k.maps[packetMapPrefixes4]
	}
	return k.maps[packetMapPrefixes6]
}

// SetPrefixes replaces the attributed prefixes, adding before it removes, and
// returns how many the kernel took: the tries are bounded. Live flows are looked
// at again.
func (k *Kernel) SetPrefixes(prefixes []netip.Prefix) (loaded int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return 0, errors.New("set prefixes: sensor is closed")
	}
	next := make(map[prefixKey]struct{}, len(prefixes))
	for _, p := range prefixes {
		if p.IsValid() {
			next[keyOf(p)] = struct{}{}
		}
	}
	for p := range k.prefixes {
		if _, keep := next[p]; keep {
			continue
		}
		if err := k.trie(p).Delete(p.bytes()); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return 0, fmt.Errorf("remove prefix: %w", err)
		}
		delete(k.prefixes, p)
	}
	full := map[bool]bool{}
	for p := range next {
		if _, have := k.prefixes[p]; have || full[p.is4] {
			continue
		}
		switch err := k.trie(p).Update(p.bytes(), uint8(1), ebpf.UpdateAny); {
		case err == nil:
			k.prefixes[p] = struct{}{}
		case isFull(err):
			full[p.is4] = true
		default:
			return 0, fmt.Errorf("add prefix: %w", err)
		}
	}
	return len(k.prefixes), k.renew()
}

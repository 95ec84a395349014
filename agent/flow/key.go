package flow

import (
	"encoding/binary"
	"net/netip"
)

// side says which end of a tuple is the host's own.
type side uint8

const (
	noSide side = iota // a capture, or forwarded traffic
	lowSide
	highSide
)

// tuple is the key of a flow's five-tuple, the lower end first. It has no
// padding, so that it is hashed in one go. The local side is part of it: over
// loopback one five-tuple is two flows, the client's and the server's.
type tuple struct {
	low, high [16]byte
	netns     uint64
	ports     uint32 // of low, of high
	kind      uint32 // protocol, side, inner
}

// makeTuple gives the key of a packet and says whether src is the low end.
func makeTuple(src, dst netip.AddrPort, proto uint8, netns uint64, inner bool) (k tuple, srcLow bool) {
	k.low, k.high = src.Addr().As16(), dst.Addr().As16()
	sport, dport := uint32(src.Port()), uint32(dst.Port())
	srcLow = !less(&k.high, &k.low, dport, sport)
	if srcLow {
		k.ports = sport<<16 | dport
	} else {
		k.low, k.high = k.high, k.low
		k.ports = dport<<16 | sport
	}
	k.netns = netns
	k.kind = uint32(proto)
	if inner {
		k.kind |= 1 << 16
	}
	return k, srcLow
}

func (k tuple) with(s side) tuple {
	k.kind = k.kind&^(0xff<<8) | uint32(s)<<8
	return k
}

func (k tuple) side() side { return side(k.kind >> 8) }

func less(a, b *[16]byte, aport, bport uint32) bool {
	for _, at := range [2]int{0, 8} {
		x, y := binary.BigEndian.Uint64(a[at:]), binary.BigEndian.Uint64(b[at:])
		if x != y {
			return x < y
		}
	}
	return aport < bport
}

// sideOf is the local side of a packet that is known to leave or to come.
func sideOf(srcLow, out bool) side {
	if srcLow == out {
		return lowSide
	}
	return highSide
}

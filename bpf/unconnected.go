package bpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Places in struct flow of headers/maps.h.
const (
	stateProto  = 54
	stateCookie = 56
	stateSocket = 64
	stateWire   = 104
	stateAsked  = 144
	stateShared = 168
	stateFirst  = 200
	stateFlags  = 216
	stateSize   = 232
)

// setSlots is SET_SLOTS of headers/maps.h.
const setSlots = 8

// markOf is mark_of of headers/flow.h; remote is the peer of an unconnected
// socket, else invalid.
func markOf(cookie uint64, remote netip.AddrPort) uint64 {
	const odd = 0x9e3779b97f4a7c15
	mark := cookie * odd
	if remote.IsValid() {
		addr := remote.Addr().As16()
		word := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(addr[4*i:])) }
		mark = (mark ^ (word(0)<<32 | word(1))) * odd
		mark = (mark ^ (word(2)<<32 | word(3))) * odd
		port := binary.BigEndian.AppendUint16(nil, remote.Port())
		mark = (mark ^ uint64(binary.LittleEndian.Uint16(port))) * odd
	}
	return mark
}

// slotOf is the slot of a mark where there are so many.
func slotOf(mark uint64, slots uint32) uint32 { return uint32(mark >> 32 * uint64(slots) >> 32) }

// Take removes the flow of an unconnected socket and fills f's counts, outcome
// and direction from it. It returns false where the kernel has dropped it
// already.
func (k *Kernel) Take(cookie uint64, remote netip.AddrPort, f *Flow) (bool, error) {
	at, known, err := k.find(cookie, remote, f)
	if err != nil || !known {
		return false, err
	}
	none := make([]byte, stateSize)
	if err := k.maps[packetMapUdpFlows].Update(at.slot(), none, ebpf.UpdateAny); err != nil {
		return false, fmt.Errorf("remove flow: %w", err)
	}
	// A flow that began in the same set since it was read is not found by its next
	// packet, which begins it again.
	copy(at.index[4*at.way:], none[:4])
	if err := k.maps[packetMapUdpIndex].Update(at.set, at.index, ebpf.UpdateLock); err != nil {
		return false, fmt.Errorf("remove flow from index: %w", err)
	}
	return true, nil
}

// UnconnectedFlow is SocketFlow for one remote of an unconnected socket.
func (k *Kernel) UnconnectedFlow(cookie uint64, remote netip.AddrPort, f *Flow) (bool, error) {
	_, known, err := k.find(cookie, remote, f)
	return known, err
}

// place is where a flow of an unconnected socket is: a set, and its index.
type place struct {
	set, way uint32
	index    []byte // struct udp_set of headers/maps.h
}

func (p place) slot() uint32 { return p.set*setSlots + p.way }

// find looks through the set that a flow belongs to, and leaves f as it is where
// it finds none.
func (k *Kernel) find(cookie uint64, remote netip.AddrPort, f *Flow) (at place, known bool, err error) {
	mark := markOf(cookie, remote)
	at.set = slotOf(mark, k.cfg.UDPFlows/setSlots)
	at.index, err = k.maps[packetMapUdpIndex].LookupBytes(at.set)
	if err != nil {
		return place{}, false, fmt.Errorf("read index of flows: %w", err)
	}
	for at.way = 0; at.way < setSlots; at.way++ {
		if binary.LittleEndian.Uint32(at.index[4*at.way:]) != uint32(mark)|1 { // tag_of of headers/remotes.h
			continue
		}
		raw, err := k.maps[packetMapUdpFlows].LookupBytes(at.slot())
		if err != nil {
			return place{}, false, fmt.Errorf("read flow: %w", err)
		}
		var found Flow
		if err := found.decodeState(raw); err != nil {
			return place{}, false, err
		}
		if found.Cookie == cookie && found.Remote == remote {
			return at, true, f.decodeState(raw)
		}
	}
	return place{}, false, nil
}

// decodeState reads struct flow.
func (f *Flow) decodeState(raw []byte) error {
	if len(raw) < stateSize {
		return ErrRecord
	}
	count := func(i int) uint64 {
		return binary.LittleEndian.Uint64(raw[8*i:]) + binary.LittleEndian.Uint64(raw[stateShared+8*i:])
	}
	f.BytesOut, f.PacketsOut, f.BytesIn, f.PacketsIn = count(0), count(1), count(2), count(3)
	f.Protocol = raw[stateProto]
	f.Cookie = binary.LittleEndian.Uint64(raw[stateCookie:])
	f.Remote, f.Local = endpoint(raw[stateSocket:]), endpoint(raw[stateSocket+20:])
	f.WireRemote, f.WireLocal = optional(raw[stateWire:]), optional(raw[stateWire+20:])
	f.Asked = optional(raw[stateAsked:])
	f.First = binary.LittleEndian.Uint64(raw[stateFirst:])
	flags := raw[stateFlags:]
	f.Direction = flags[3]
	f.Outcome = OutcomeAttempted
	if flags[6] != 0 && flags[7] != 0 { // data out and in
		f.Outcome = OutcomeData
	}
	return nil
}

package bpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Places in struct flow of headers/maps.h, which struct udp_flow begins with.
const (
	stateProto  = 54
	stateCookie = 56
	stateSocket = 64
	stateWire   = 104
	stateAsked  = 144
	stateFlags  = 164
	stateFirst  = 176
	stateShared = 192
	stateSize   = 224
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

// slot is slot_of of headers/flow.h.
func (k *Kernel) slot(mark uint64) uint32 { return uint32(mark >> 32 * uint64(k.cfg.UDPFlows) >> 32) }

// Take removes the flow of an unconnected socket and fills f's counts, outcome
// and direction from it. It returns false where the kernel has dropped it
// already.
func (k *Kernel) Take(cookie uint64, remote netip.AddrPort, f *Flow) (bool, error) {
	slot, known, err := k.find(cookie, remote, f)
	if err != nil || !known {
		return false, err
	}
	none := make([]byte, k.maps[packetMapUdpFlows].ValueSize())
	if err := k.maps[packetMapUdpFlows].Update(slot, none, ebpf.UpdateAny); err != nil {
		return false, fmt.Errorf("remove flow: %w", err)
	}
	return true, nil
}

// UnconnectedFlow is SocketFlow for one remote of an unconnected socket.
func (k *Kernel) UnconnectedFlow(cookie uint64, remote netip.AddrPort, f *Flow) (bool, error) {
	_, known, err := k.find(cookie, remote, f)
	return known, err
}

// find looks through the set that a flow belongs to, and leaves f as it is where
// it finds none.
func (k *Kernel) find(cookie uint64, remote netip.AddrPort, f *Flow) (slot uint32, known bool, err error) {
	set := k.slot(markOf(cookie, remote)) &^ (setSlots - 1)
	for slot = set; slot < set+setSlots; slot++ {
		raw, err := k.maps[packetMapUdpFlows].LookupBytes(slot)
		if err != nil {
			return 0, false, fmt.Errorf("read flow: %w", err)
		}
		var found Flow
		if err := found.decodeState(raw); err != nil {
			return 0, false, err
		}
		if found.Cookie == cookie && found.Remote == remote {
			return slot, true, f.decodeState(raw)
		}
	}
	return 0, false, nil
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

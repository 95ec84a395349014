package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Places in struct flow of headers/maps.h.
const (
	stateFirst    = 8
	stateBytesOut = 16
	stateSocket   = 64
	stateWire     = 104
	stateAsked    = 144
	stateFlags    = 164
)

// flowKey is struct flow_key of headers/maps.h.
func flowKey(cookie uint64, remote netip.AddrPort) [32]byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], cookie)
	if remote.IsValid() {
		addr := remote.Addr().As16()
		copy(key[8:], addr[:])
		binary.BigEndian.PutUint16(key[24:], remote.Port())
	}
	return key
}

// Take removes the flow of an unconnected socket and fills f's counts, outcome
// and direction from it. It returns false where the kernel has dropped it
// already.
func (k *Kernel) Take(cookie uint64, remote netip.AddrPort, f *Flow) (bool, error) {
	key := flowKey(cookie, remote)
	known, err := k.UnconnectedFlow(cookie, remote, f)
	if err != nil || !known {
		return known, err
	}
	if err := k.maps[packetMapUdpFlows].Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, fmt.Errorf("remove flow: %w", err)
	}
	return true, nil
}

// decodeState reads struct flow.
func (f *Flow) decodeState(raw []byte) error {
	if len(raw) < stateFlags+12 {
		return ErrRecord
	}
	f.First = binary.LittleEndian.Uint64(raw[stateFirst:])
	f.BytesOut = binary.LittleEndian.Uint64(raw[stateBytesOut:])
	f.BytesIn = binary.LittleEndian.Uint64(raw[stateBytesOut+8:])
	f.PacketsOut = binary.LittleEndian.Uint64(raw[stateBytesOut+16:])
	f.PacketsIn = binary.LittleEndian.Uint64(raw[stateBytesOut+24:])
	f.Local, f.Remote = endpoint(raw[stateSocket:]), endpoint(raw[stateSocket+20:])
	f.WireLocal, f.WireRemote = optional(raw[stateWire:]), optional(raw[stateWire+20:])
	f.Asked = optional(raw[stateAsked:])
	flags := raw[stateFlags:]
	f.Direction, f.Protocol = flags[3], flags[4]
	f.Outcome = OutcomeAttempted
	if flags[8] != 0 && flags[9] != 0 { // data out and in
		f.Outcome = OutcomeData
	}
	return nil
}

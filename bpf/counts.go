package bpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// SocketFlow reads the flow of a connected socket that this process holds as fd:
// its cookie, counts and ends. It returns false where the kernel side has no
// flow of it.
func (k *Kernel) SocketFlow(fd int, f *Flow) (bool, error) {
	raw, err := k.maps[packetMapSockets].LookupBytes(uint32(fd)) // the key of socket storage is a descriptor
	if err != nil {
		return false, fmt.Errorf("read socket: %w", err)
	}
	if len(raw) < 8 {
		return false, nil
	}
	f.Cookie = binary.LittleEndian.Uint64(raw)
	return f.Cookie != 0, f.decodeState(raw)
}

// UnconnectedFlow is SocketFlow for one remote of an unconnected socket.
func (k *Kernel) UnconnectedFlow(cookie uint64, remote netip.AddrPort, f *Flow) (bool, error) {
	raw, err := k.maps[packetMapUdpFlows].LookupBytes(flowKey(cookie, remote))
	if err != nil {
		return false, fmt.Errorf("read flow: %w", err)
	}
	if raw == nil {
		return false, nil
	}
	return true, f.decodeState(raw)
}

package bpf

import "fmt"

// SocketFlow reads the flow of a connected socket that this process holds as fd:
// its cookie, counts and ends. It returns false where the kernel side has no
// flow of it.
func (k *Kernel) SocketFlow(fd int, f *Flow) (bool, error) {
	raw, err := k.maps[packetMapSockets].LookupBytes(uint32(fd)) // the key of socket storage is a descriptor
	if err != nil {
		return false, fmt.Errorf("read socket: %w", err)
	}
	if raw == nil {
		return false, nil
	}
	err = f.decodeState(raw)
	return f.Cookie != 0, err
}

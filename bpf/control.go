package bpf

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/cilium/ebpf"
)

// controlState is struct control of headers/maps.h.
type controlState struct {
	mu         sync.Mutex
	generation uint32
	seconds    uint32
}

// Tick moves the kernel side's clock on by a second. It spares a reading of the
// clock per packet.
func (k *Kernel) Tick() error {
	k.control.mu.Lock()
	defer k.control.mu.Unlock()
	k.control.seconds++
	return k.writeControl()
}

// renew has every live flow look its remotes up again.
func (k *Kernel) renew() error {
	k.control.mu.Lock()
	defer k.control.mu.Unlock()
	k.control.generation++
	return k.writeControl()
}

func (k *Kernel) writeControl() error {
	value := [3]uint32{k.control.generation, k.control.seconds, k.cfg.UpdateSeconds}
	if err := k.maps[packetMapControls].Update(uint32(0), value, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("write control: %w", err)
	}
	return nil
}

// Done has the kernel copy no more packets of a flow. remote is the peer of an
// unconnected socket, else invalid.
func (k *Kernel) Done(cookie uint64, remote netip.AddrPort) error {
	mark := markOf(cookie, remote)
	done := k.maps[packetMapDoneFlows]
	if err := done.Update(slotOf(mark, done.MaxEntries()), uint32(mark), ebpf.UpdateAny); err != nil {
		return fmt.Errorf("mark flow done: %w", err)
	}
	return nil
}

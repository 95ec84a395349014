package flow

import (
	"net/netip"

	"sallyport/agent/capture"
)

// fragmentSlots is how many fragmented datagrams are remembered, the latest of
// each slot. Later fragments carry no ports: they are counted for the flow of
// their first fragment, and their bytes are never looked at, so that an overlap
// can change nothing.
const fragmentSlots = 256

type fragment struct {
	flow     *Flow
	id       uint64 // of the flow, against reuse
	datagram uint32
	src, dst netip.Addr
	proto    uint8
}

func (t *Table) rememberFragment(p *capture.Packet, f *Flow) {
	t.fragments[fragmentSlot(p)] = fragment{f, f.ID, p.ID, p.Src.Addr(), p.Dst.Addr(), p.Proto}
}

// joinFragment gives the flow of a later fragment, nil when it is not known.
func (t *Table) joinFragment(p *capture.Packet) *Flow {
	s := &t.fragments[fragmentSlot(p)]
	if s.flow == nil || s.flow.ID != s.id ||
		s.datagram != p.ID || s.proto != p.Proto || s.src != p.Src.Addr() || s.dst != p.Dst.Addr() {
		return nil
	}
	return s.flow
}

func fragmentSlot(p *capture.Packet) uint32 { return (p.ID ^ p.ID>>8 ^ p.ID>>16) % fragmentSlots }

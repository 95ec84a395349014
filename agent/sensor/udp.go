package sensor

import (
	"container/list"
	"net/netip"

	"sallyport/bpf"
)

// udpFlows remembers the flows of unconnected UDP sockets by socket: when one
// closes, all its flows end. A flow that is forgotten because there are too many
// ends by the flow table's time-out only.
type udpFlows struct {
	limit   int
	sockets map[uint64]map[netip.AddrPort]*list.Element // of *bpf.Flow
	order   *list.List                                  // oldest first
}

func newUDPFlows(limit int) udpFlows {
	return udpFlows{limit: limit, sockets: map[uint64]map[netip.AddrPort]*list.Element{}, order: list.New()}
}

// put remembers the newest account of a flow, and says whether another was
// forgotten for it.
func (u *udpFlows) put(f *bpf.Flow) (forgot bool) {
	flows := u.sockets[f.Cookie]
	if flows == nil {
		flows = map[netip.AddrPort]*list.Element{}
		u.sockets[f.Cookie] = flows
	}
	kept := *f
	if e := flows[f.Remote]; e != nil {
		e.Value = &kept
		u.order.MoveToBack(e)
		return false
	}
	flows[f.Remote] = u.order.PushBack(&kept)
	if u.order.Len() <= u.limit {
		return false
	}
	u.remove(u.order.Front())
	return true
}

func (u *udpFlows) remove(e *list.Element) *bpf.Flow {
	f := u.order.Remove(e).(*bpf.Flow)
	flows := u.sockets[f.Cookie]
	delete(flows, f.Remote)
	if len(flows) == 0 {
		delete(u.sockets, f.Cookie)
	}
	return f
}

// oldest is the flow whose last account is the oldest, where that is from before
// the time (CLOCK_MONOTONIC, ns); else nil.
func (u *udpFlows) oldest(before uint64) *bpf.Flow {
	e := u.order.Front()
	if e == nil {
		return nil
	}
	if f := e.Value.(*bpf.Flow); f.Time < before {
		return f
	}
	return nil
}

// drop forgets one flow.
func (u *udpFlows) drop(f *bpf.Flow) {
	if e := u.sockets[f.Cookie][f.Remote]; e != nil {
		u.remove(e)
	}
}

// take forgets a socket and returns its flows.
func (u *udpFlows) take(cookie uint64) []*bpf.Flow {
	var flows []*bpf.Flow
	for _, e := range u.sockets[cookie] {
		flows = append(flows, u.remove(e))
	}
	return flows
}

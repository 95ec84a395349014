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
	ends    map[udpEnds]*list.Element
	order   *list.List // oldest first
}

// udpEnds are the ends of a flow, whichever socket it belongs to. The local
// address is left out: a socket may be bound to none.
type udpEnds struct {
	netns  uint32
	local  uint16
	remote netip.AddrPort
}

func endsOf(f *bpf.Flow) udpEnds { return udpEnds{f.Netns, f.Local.Port(), f.Remote} }

func newUDPFlows(limit int) udpFlows {
	return udpFlows{
		limit: limit, sockets: map[uint64]map[netip.AddrPort]*list.Element{}, ends: map[udpEnds]*list.Element{}, order: list.New(),
	}
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
	u.ends[endsOf(f)] = flows[f.Remote]
	if u.order.Len() <= u.limit {
		return false
	}
	u.remove(u.order.Front())
	return true
}

func (u *udpFlows) remove(e *list.Element) *bpf.Flow {
	f := u.order.Remove(e).(*bpf.Flow)
	if ends := endsOf(f); u.ends[ends] == e {
		delete(u.ends, ends)
	}
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

// moved forgets and returns the flow that goes on in f, the one of a connected
// socket; nil where there is none.
func (u *udpFlows) moved(f *bpf.Flow) *bpf.Flow {
	e := u.ends[endsOf(f)]
	if e == nil {
		return nil
	}
	return u.remove(e)
}

// take forgets a socket and returns its flows.
func (u *udpFlows) take(cookie uint64) []*bpf.Flow {
	var flows []*bpf.Flow
	for _, e := range u.sockets[cookie] {
		flows = append(flows, u.remove(e))
	}
	return flows
}

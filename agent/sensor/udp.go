package sensor

import (
	"net/netip"

	"sallyport/bpf"
)

// udpFlows remembers the flows of unconnected UDP sockets by socket: when one
// closes, all its flows end.
type udpFlows struct {
	limit, n int
	sockets  map[uint64]map[netip.AddrPort]bpf.Flow
}

func newUDPFlows(limit int) udpFlows {
	return udpFlows{limit: limit, sockets: map[uint64]map[netip.AddrPort]bpf.Flow{}}
}

// put remembers the newest account of a flow; false where there is no room.
func (u *udpFlows) put(f *bpf.Flow) bool {
	flows := u.sockets[f.Cookie]
	if _, known := flows[f.Remote]; !known {
		if u.n >= u.limit {
			return false
		}
		u.n++
	}
	if flows == nil {
		flows = map[netip.AddrPort]bpf.Flow{}
		u.sockets[f.Cookie] = flows
	}
	flows[f.Remote] = *f
	return true
}

// take forgets a socket and returns its flows.
func (u *udpFlows) take(cookie uint64) []bpf.Flow {
	flows := make([]bpf.Flow, 0, len(u.sockets[cookie]))
	for _, f := range u.sockets[cookie] {
		flows = append(flows, f)
	}
	u.n -= len(flows)
	delete(u.sockets, cookie)
	return flows
}

package flow

import (
	"net/netip"
	"time"

	"sallyport/agent/protocol"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

// Event says what happened to a flow.
type Event uint8

// Events. Every flow is Opened once and Closed once; what lies between may come
// never or often.
const (
	Opened     Event = iota + 1
	Identified       // the identification or the facts have changed
	Decided          // no more of its packets are wanted for identification
	Updated          // it is long: its counts now
	Closed
)

// Count is what one side has sent.
type Count struct {
	Packets, Bytes uint64 // IP bytes
	Payloads       uint64 // packets with payload
}

// Flow is traffic that shares a five-tuple within a time window. It belongs to
// the table; a Sink may read it during the call only.
type Flow struct {
	ID     uint64 // in this table, from 1
	Key    sensor.FlowKey
	Sensor string // "socket", "link", "capture"
	Tunnel string // encapsulation, outermost first
	Inner  bool   // was carried inside a tunnel's packets

	Transport      uint8          // IP protocol number
	Client, Server netip.AddrPort // the opener and its peer, as the packets left or came
	HasLocal       bool           // the local side is known
	ClientLocal    bool           // the opener is on this host
	Socket         SocketTuple
	Owner          sensor.OwnerRef

	First, Last time.Time
	FromClient  Count
	FromServer  Count
	Reported    Reported // the kernel's own counts
	MidFlow     bool     // the opening was not seen
	Ended       bool     // closed by its own packets or the kernel
	Result      protocol.Result
	Facts       protocol.Facts

	before        Reported // by the socket that the flow has moved from
	moved         bool
	evidence      *evidence
	kernelOutcome rules.Outcome
	outcome       rules.Outcome
	keep          bool
	dns           bool
	decided       bool
	clientLow     bool
	tcp           tcpState
	look          *look
	dnsTCP        *dnsStreams
	keys          [2]tuple // under which it is found: wire, socket
	keyed         [2]bool
	lastEvent     int64
	lastSeen      int64
	slot          int   // of the wheel, -1 when in none
	next, prev    *Flow // in the slot; next also in the free list
}

// SocketTuple is what the socket sensor knows beside the packets.
type SocketTuple struct {
	Local, Remote netip.AddrPort // zero where equal to the packets' or unseen
	Asked         netip.AddrPort // what connect or sendmsg asked for
}

// Reported is the kernel's own account, since the flow began.
type Reported struct {
	Seen                  bool
	PacketsOut, PacketsIn uint64
	BytesOut, BytesIn     uint64
}

// Keep says that the flow matters (its remote is attributed): its evidence is
// kept whatever is identified.
func (f *Flow) Keep() { f.keep = true }

// counted says whether a packet of the flow has been seen: until then it is known
// from the kernel's record only, and a SYN is its own.
func (f *Flow) counted() bool { return f.FromClient.Packets+f.FromServer.Packets > 0 }

// Kept says whether Keep was called.
func (f *Flow) Kept() bool { return f.keep }

// Wanted says whether the table still wants the flow's packets: it is not
// decided, or it carries DNS.
func (f *Flow) Wanted() bool { return !f.decided || f.dns }

// DNS says whether the flow carries DNS messages.
func (f *Flow) DNS() bool { return f.dns }

// Local is the host's own end: the opener's, where the sensor does not know.
func (f *Flow) Local() netip.AddrPort {
	if f.HasLocal && !f.ClientLocal {
		return f.Server
	}
	return f.Client
}

// Remote is the other end, as the packets left or came.
func (f *Flow) Remote() netip.AddrPort {
	if f.HasLocal && !f.ClientLocal {
		return f.Client
	}
	return f.Server
}

// Direction says which side opened the flow, as the host sees it.
func (f *Flow) Direction() rules.Direction {
	switch {
	case !f.HasLocal:
		return rules.DirectionUnknown
	case f.ClientLocal:
		return rules.Outbound
	}
	return rules.Inbound
}

// Outcome is how far the flow came.
func (f *Flow) Outcome() rules.Outcome {
	if rank(f.kernelOutcome) > rank(f.outcome) || f.kernelOutcome == rules.OutcomeBlocked && rank(f.outcome) < rank(rules.OutcomeRefused) {
		return f.kernelOutcome
	}
	if f.outcome == "" {
		return rules.OutcomeAttempted
	}
	return f.outcome
}

// reached raises the outcome, never lowers it.
func (f *Flow) reached(o rules.Outcome) {
	if rank(o) > rank(f.outcome) {
		f.outcome = o
	}
}

func rank(o rules.Outcome) int {
	switch o {
	case rules.OutcomeBlocked:
		return 1
	case rules.OutcomeAttempted:
		return 2
	case rules.OutcomeRefused:
		return 3
	case rules.OutcomeEstablished:
		return 4
	case rules.OutcomeData:
		return 5
	}
	return 0
}

// better takes an owner that is known with more certainty.
func (f *Flow) better(o sensor.OwnerRef) {
	if certainty(o.Attribution) > certainty(f.Owner.Attribution) {
		f.Owner = o
	}
}

func certainty(a rules.Attribution) int {
	switch a {
	case rules.AttributionExact:
		return 5
	case rules.AttributionTunnel:
		return 4
	case rules.AttributionInherited:
		return 3
	case rules.AttributionSeeded:
		return 2
	case rules.AttributionUnknown:
		return 1
	}
	return 0
}

package flow

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"sallyport/agent/capture"
	"sallyport/agent/protocol"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

// Sink takes what happens to flows. Calls come from the goroutine that feeds
// the table; pointers are valid during the call only.
type Sink interface {
	Flow(f *Flow, event Event)
	// DNS is called for every DNS message of f, both directions, as long as f
	// lives. message starts at the DNS header and may be cut.
	DNS(f *Flow, fromClient bool, message []byte, at time.Time)
}

// Meta is what a sensor knows of a packet beside its bytes. The zero value is a
// packet of a capture.
type Meta struct {
	Key          sensor.FlowKey
	Out          bool // left the host; only with HasDirection
	HasDirection bool
	Listener     bool // arrived on a listening socket
	Owner        sensor.OwnerRef
	Sensor       string // "" is "capture"
}

// Table is the flow table. It belongs to one goroutine.
type Table struct {
	cfg    Config
	engine *protocol.Engine
	sink   Sink

	byTuple   map[tuple]*Flow
	byKey     map[sensor.FlowKey]*Flow
	last      *Flow // found last, under lastKey
	lastKey   tuple
	fragments [fragmentSlots]fragment
	wheel     wheel
	open      int
	bytes     int
	now       int64 // of the latest packet or Expire, nanoseconds
	nextID    uint64
	live      bool // a packet with a direction has been seen
	counters  counters
	scratch   scratch

	freeFlows *Flow
	idleFlows int
	freeLooks *look
	idleLooks int

	freeEvidence *evidence
	idleEvidence int
}

// New makes an empty table over a valid configuration.
func New(cfg Config, engine *protocol.Engine, sink Sink) *Table {
	return &Table{
		cfg: cfg, engine: engine, sink: sink,
		byTuple:  map[tuple]*Flow{},
		byKey:    map[sensor.FlowKey]*Flow{},
		counters: counters{drops: map[string]uint64{}},
	}
}

// Packet takes a packet, the packet inside it where it is a tunnel's, and the
// one it quotes where it is an ICMP error.
func (t *Table) Packet(p *capture.Packet, m *Meta) {
	t.counters.packets++
	at := p.Time.UnixNano()
	if at-t.now >= int64(time.Second) {
		t.expire(at)
	}
	f := t.packet(p, m, at, false)
	if p.Quoted != nil {
		t.refused(p.Quoted, m)
	}
	for inner := p.Inner; inner != nil && f != nil; inner = inner.Inner {
		t.packet(inner, &Meta{Key: sensor.FlowKey{Netns: m.Key.Netns}, Sensor: m.Sensor}, at, true)
	}
}

func (t *Table) packet(p *capture.Packet, m *Meta, at int64, inner bool) *Flow {
	if p.Fragment {
		f := t.joinFragment(p)
		if f == nil {
			t.counters.dropped(DropFragment)
			return nil
		}
		t.count(f, p, f.fromClient(p), at)
		return f
	}
	f, srcLow := t.find(p, m, inner)
	if f != nil && p.Proto == 6 && f.counted() && f.tcp.reopened(p) && t.replaceable(f, p, srcLow) {
		t.close(f)
		f = nil
	}
	if f == nil {
		f = t.openPacket(p, m, at, inner, srcLow)
	}
	if p.First {
		t.rememberFragment(p, f)
	}
	if m.Key.Cookie == 0 && f.Key.Cookie != 0 && !m.Listener && !inner {
		return f // the socket sensor has this flow: count nothing twice
	}
	if m.Owner.Attribution != "" {
		f.better(m.Owner)
	}
	t.update(f, p, srcLow == f.clientLow, at)
	return f
}

// replaceable says whether the SYN p may end the flow f. A SYN of the far side
// is a simultaneous open (RFC 9293 section 3.5) unless f has ended.
func (t *Table) replaceable(f *Flow, p *capture.Packet, srcLow bool) bool {
	return f.tcp.closed() || srcLow == f.clientLow && f.Last.Before(p.Time) || f.MidFlow
}

// update is what every packet of a known flow costs.
func (t *Table) update(f *Flow, p *capture.Packet, fromClient bool, at int64) {
	t.count(f, p, fromClient, at)
	if p.Proto == 6 {
		ended := f.tcp.closed()
		f.tcpPacket(p, fromClient)
		if !ended && f.tcp.closed() {
			f.Ended = true
			t.schedule(f)
		}
	} else if p.Sent > 0 {
		f.datagram(fromClient)
	}
	if !f.decided {
		t.keepPacket(f, p)
		t.content(f, p, fromClient)
	} else if f.keep {
		t.keepPacket(f, p)
	}
	if f.dns || f.FromClient.Payloads+f.FromServer.Payloads == 1 {
		t.dns(f, p, fromClient)
	}
	if at-f.lastEvent >= int64(t.cfg.Update) {
		t.emit(f, Updated)
	}
}

func (t *Table) count(f *Flow, p *capture.Packet, fromClient bool, at int64) {
	c := &f.FromServer
	if fromClient {
		c = &f.FromClient
	}
	c.Packets++
	c.Bytes += uint64(p.Length)
	if p.Sent > 0 {
		c.Payloads++
	}
	if at > f.lastSeen {
		f.lastSeen, f.Last = at, p.Time
	}
}

// datagram raises the outcome of a flow without connections.
func (f *Flow) datagram(fromClient bool) {
	if f.FromClient.Payloads > 0 && f.FromServer.Payloads > 0 {
		f.reached(rules.OutcomeData)
		return
	}
	f.reached(rules.OutcomeAttempted)
}

// fromClient says who sent a packet of the flow, by addresses alone.
func (f *Flow) fromClient(p *capture.Packet) bool { return p.Src.Addr() == f.Client.Addr() }

// refused notes an ICMP error about a packet of a flow.
func (t *Table) refused(quoted *capture.Packet, m *Meta) {
	k, _ := makeTuple(quoted.Src, quoted.Dst, quoted.Proto, m.Key.Netns, false)
	for s := noSide; s <= highSide; s++ {
		if f := t.byTuple[k.with(s)]; f != nil && rank(f.outcome) < rank(rules.OutcomeEstablished) {
			f.reached(rules.OutcomeRefused)
		}
	}
}

func (t *Table) emit(f *Flow, e Event) {
	f.lastEvent = t.now
	t.sink.Flow(f, e)
}

// Flows calls f for every flow that belongs to a socket, in no order. f must
// not change the table.
func (t *Table) Flows(f func(*Flow)) {
	for _, one := range t.byKey {
		f(one)
	}
}

// Opposite is a flow as its other end on this host sees it, nil where that is
// not known.
func (t *Table) Opposite(f *Flow) *Flow {
	if !f.keyed[0] || !f.HasLocal {
		return nil
	}
	other := lowSide
	if f.keys[0].side() == lowSide {
		other = highSide
	}
	return t.byTuple[f.keys[0].with(other)]
}

// Close closes every flow, in the order they opened.
func (t *Table) Close() {
	flows := make([]*Flow, 0, t.open)
	for _, f := range t.byKey {
		flows = append(flows, f)
	}
	for k, f := range t.byTuple {
		if f.keys[0] == k && f.Key.Cookie == 0 {
			flows = append(flows, f)
		}
	}
	slices.SortFunc(flows, func(a, b *Flow) int { return cmp.Compare(a.ID, b.ID) })
	for _, f := range flows {
		t.close(f)
	}
}

// close ends a flow: what it holds is looked at a last time, then forgotten.
func (t *Table) close(f *Flow) {
	t.forget(f)
	t.unschedule(f)
	t.open--
	if f.look != nil {
		t.ask(f, true)
	}
	t.emit(f, Closed)
	t.dropEvidence(f)
	t.dropDNS(f)
	t.freeFlow(f)
}

// maxIdleFlows bounds what is kept for reuse.
const maxIdleFlows = 4096

// flowSlab is how many flows are made at once: one allocation, and neighbours in
// memory.
const flowSlab = 32

func (t *Table) takeFlow() *Flow {
	if t.freeFlows == nil {
		slab := make([]Flow, flowSlab)
		for i := range slab {
			slab[i].slot = -1
			slab[i].next, t.freeFlows = t.freeFlows, &slab[i]
		}
		t.idleFlows += flowSlab
	}
	f := t.freeFlows
	t.freeFlows, f.next = f.next, nil
	t.idleFlows--
	return f
}

func (t *Table) freeFlow(f *Flow) {
	*f = Flow{slot: -1}
	if t.idleFlows == maxIdleFlows {
		return
	}
	f.next, t.freeFlows = t.freeFlows, f
	t.idleFlows++
}

// locals says which end of a capture's flow is the host's own.
func (t *Table) locals(src, dst netip.Addr) (known, srcLocal bool) {
	if len(t.cfg.Local) == 0 {
		return true, true
	}
	for _, prefix := range t.cfg.Local {
		if prefix.Contains(src) {
			return true, true
		}
		if prefix.Contains(dst) {
			return true, false
		}
	}
	return false, false
}

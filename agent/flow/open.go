package flow

import (
	"net/netip"

	"sallyport/agent/capture"
	"sallyport/agent/protocol"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

// find gives the flow of a packet. A socket's cookie comes first: it joins the
// two tuples that NAT makes of one flow. A listener's cookie is never a flow's.
func (t *Table) find(p *capture.Packet, m *Meta, inner bool) (*Flow, bool) {
	own := m.Key.Cookie != 0 && !m.Listener
	k, srcLow := makeTuple(p.Src, p.Dst, p.Proto, m.Key.Netns, inner)
	if own {
		if f := t.byKey[m.Key]; f != nil {
			t.also(f, p, m, k, srcLow)
			return f, t.oriented(f, p, m, srcLow)
		}
	}
	f := t.lookup(k.with(t.sideOf(m, srcLow)))
	if f == nil && t.live {
		f = t.findSides(k, m)
	}
	if f == nil || !own {
		return f, srcLow
	}
	switch {
	case f.Key.Cookie == 0:
		t.claim(f, m.Key)
	case movesTo(f, m.Key):
		t.move(f, m.Key)
	default:
		return nil, srcLow // another socket on the same tuple: an older flow
	}
	return f, srcLow
}

// lookup is byTuple with a memory of one: packets come in bursts.
func (t *Table) lookup(k tuple) *Flow {
	if t.last != nil && t.lastKey == k {
		return t.last
	}
	f := t.byTuple[k]
	t.last, t.lastKey = f, k
	return f
}

// sideOf is the side part of a packet's key.
func (t *Table) sideOf(m *Meta, srcLow bool) side {
	if !m.HasDirection {
		return noSide
	}
	return sideOf(srcLow, m.Out)
}

// findSides looks under the other sides: a packet without a direction may be of
// a flow with one, and the other way round.
func (t *Table) findSides(k tuple, m *Meta) *Flow {
	if m.HasDirection {
		return t.byTuple[k.with(noSide)]
	}
	if f := t.byTuple[k.with(lowSide)]; f != nil {
		return f
	}
	return t.byTuple[k.with(highSide)]
}

// also finds a flow under a second tuple, the one NAT made.
func (t *Table) also(f *Flow, p *capture.Packet, m *Meta, k tuple, srcLow bool) {
	k = k.with(t.sideOf(m, srcLow))
	if f.keyed[0] && f.keys[0] == k || f.keyed[1] && f.keys[1] == k {
		return
	}
	if f.keyed[1] || t.byTuple[k] != nil {
		return
	}
	f.keys[1], f.keyed[1] = k, true
	t.byTuple[k] = f
	t.last = nil
}

// oriented gives srcLow in the sense of the flow's first tuple: under NAT the
// order of the ends may differ, and the direction of the packet decides.
func (t *Table) oriented(f *Flow, p *capture.Packet, m *Meta, srcLow bool) bool {
	if !m.HasDirection || !f.HasLocal {
		return srcLow
	}
	return (m.Out == f.ClientLocal) == f.clientLow
}

// claim gives a flow that was found by its tuple to the socket it belongs to.
// What another sensor has shown of it will come again.
func (t *Table) claim(f *Flow, key sensor.FlowKey) {
	f.Key = key
	t.byKey[key] = f
	if f.Sensor != "link" {
		return
	}
	f.Sensor = "socket"
	f.FromClient, f.FromServer = Count{}, Count{}
	if f.look != nil {
		t.bytes -= f.look.budget
		f.look.reset()
	}
}

// openPacket makes the flow of a packet that no flow has.
func (t *Table) openPacket(p *capture.Packet, m *Meta, at int64, inner, srcLow bool) *Flow {
	t.live = t.live || m.HasDirection
	answer := p.Proto == 6 && p.Flags&(capture.SYN|capture.ACK) == capture.SYN|capture.ACK
	f := t.newFlow(p.Proto, at)
	f.First, f.Last = p.Time, p.Time
	f.Sensor, f.Tunnel, f.Inner = m.Sensor, p.Tunnel, inner
	if f.Sensor == "" {
		f.Sensor = "capture"
	}
	f.Client, f.Server, f.clientLow = p.Src, p.Dst, srcLow
	srcLocal := m.Out
	f.HasLocal = m.HasDirection
	if f.Sensor == "capture" {
		f.HasLocal, srcLocal = t.locals(p.Src.Addr(), p.Dst.Addr())
	}
	f.ClientLocal = srcLocal
	if answer {
		f.Client, f.Server, f.clientLow = p.Dst, p.Src, !srcLow
		f.ClientLocal = !srcLocal || len(t.cfg.Local) == 0 && f.Sensor == "capture"
	}
	f.MidFlow = p.Proto == 6 && p.Flags&capture.SYN == 0
	if m.Key.Cookie != 0 && !m.Listener {
		f.Key = m.Key
		t.byKey[m.Key] = f
	} else {
		f.Key.Netns = m.Key.Netns
	}
	k, _ := makeTuple(p.Src, p.Dst, p.Proto, m.Key.Netns, inner)
	t.index(f, k.with(t.sideOf(m, srcLow)))
	f.Owner = m.Owner
	t.begin(f)
	return f
}

// index finds f under k. An older flow under it ends, unless it is another
// socket's.
func (t *Table) index(f *Flow, k tuple) {
	if old := t.byTuple[k]; old != nil && old != f {
		if old.Key.Cookie == 0 {
			t.close(old)
		}
	}
	slot := 0
	if f.keyed[0] {
		slot = 1
	}
	f.keys[slot], f.keyed[slot] = k, true
	t.byTuple[k] = f
	t.last = nil
}

// forget takes f out of the indexes, where they still mean it.
func (t *Table) forget(f *Flow) {
	t.last = nil
	for i, k := range f.keys {
		if f.keyed[i] && t.byTuple[k] == f {
			delete(t.byTuple, k)
		}
	}
	if f.Key.Cookie != 0 && t.byKey[f.Key] == f {
		delete(t.byKey, f.Key)
	}
}

func (t *Table) newFlow(proto uint8, at int64) *Flow {
	if t.open >= t.cfg.MaxFlows {
		t.evict()
	}
	t.nextID++
	t.open++
	t.counters.flows++
	f := t.takeFlow()
	f.ID, f.Transport = t.nextID, proto
	f.lastSeen, f.lastEvent = at, at
	return f
}

// begin sets the flow up for its first packet and says it is open.
func (t *Table) begin(f *Flow) {
	f.decided = !t.engine.Wants(f.Transport)
	if !f.decided {
		f.look = t.takeLook()
	}
	f.beginDNS()
	t.schedule(f)
	t.emit(f, Opened)
}

// Record takes the kernel's own account of a flow.
func (t *Table) Record(r *sensor.FlowRecord) {
	t.counters.records++
	t.live = true
	if at := r.Time.UnixNano(); at-t.now >= 0 {
		t.expire(at)
	}
	if r.Flow.Cookie == 0 {
		t.tunnelRecord(r)
		return
	}
	f := t.findRecord(r)
	if f == nil {
		f = t.openRecord(r)
	}
	t.account(f, r)
}

// tunnelRecord takes the account of a flow that has no socket, a kernel tunnel's.
// It joins the packets that the link sensor has seen. Where a socket has the same
// tuple, as a key daemon's in front of ESP in UDP, the flow stays the socket's.
func (t *Table) tunnelRecord(r *sensor.FlowRecord) {
	k, localLow := makeTuple(r.Local, r.Remote, r.Transport, r.Flow.Netns, false)
	f := t.byTuple[k.with(sideOf(localLow, true))]
	if f == nil {
		f = t.byTuple[k.with(noSide)]
	}
	switch {
	case f != nil && f.Key.Cookie != 0:
		if r.Kind == sensor.RecordUpdate {
			t.emit(f, Updated)
		}
		return
	case f == nil && r.Kind == sensor.RecordClose:
		return
	case f == nil:
		f = t.openRecord(r)
	}
	t.account(f, r)
}

// account adds the record to its flow, which it may end.
func (t *Table) account(f *Flow, r *sensor.FlowRecord) {
	t.applyRecord(f, r)
	switch r.Kind {
	case sensor.RecordClose:
		f.Ended = true
		t.close(f)
	case sensor.RecordUpdate:
		t.emit(f, Updated)
	}
}

// wire gives the ends as the packets left or came.
func wire(r *sensor.FlowRecord) (local, remote netip.AddrPort) {
	local, remote = r.Local, r.Remote
	if r.WireLocal.IsValid() {
		local = r.WireLocal
	}
	if r.WireRemote.IsValid() {
		remote = r.WireRemote
	}
	return local, remote
}

func (t *Table) findRecord(r *sensor.FlowRecord) *Flow {
	if f := t.byKey[r.Flow]; f != nil {
		return f
	}
	local, remote := wire(r)
	for _, pair := range [2][2]netip.AddrPort{{local, remote}, {r.Local, r.Remote}} {
		k, localLow := makeTuple(pair[0], pair[1], r.Transport, r.Flow.Netns, false)
		for _, s := range [2]side{sideOf(localLow, true), noSide} {
			f := t.byTuple[k.with(s)]
			switch {
			case f == nil:
			case f.Key.Cookie == 0:
				t.claim(f, r.Flow)
				return f
			case movesTo(f, r.Flow):
				t.move(f, r.Flow)
				return f
			}
		}
	}
	return nil
}

func (t *Table) openRecord(r *sensor.FlowRecord) *Flow {
	f := t.newFlow(r.Transport, r.Time.UnixNano())
	f.First, f.Last, f.Sensor = r.First, r.Time, "socket"
	if f.First.IsZero() {
		f.First = r.Time
	}
	f.HasLocal, f.ClientLocal = true, r.Direction != rules.Inbound
	if r.Flow.Cookie == 0 { // a tunnel's, of which nobody knows who began
		f.Sensor, f.HasLocal = "link", r.Direction != rules.DirectionUnknown
	}
	local, remote := wire(r)
	f.Client, f.Server = local, remote
	if !f.ClientLocal {
		f.Client, f.Server = remote, local
	}
	k, localLow := makeTuple(local, remote, r.Transport, r.Flow.Netns, false)
	f.clientLow = localLow == f.ClientLocal
	f.Key = r.Flow
	if r.Flow.Cookie != 0 {
		t.byKey[r.Flow] = f
	}
	t.index(f, k.with(sideOf(localLow, true)))
	f.Owner = r.Owner
	t.setSocket(f, r)
	t.begin(f)
	return f
}

// applyRecord takes what the kernel knows better.
func (t *Table) applyRecord(f *Flow, r *sensor.FlowRecord) {
	f.better(r.Owner)
	t.setSocket(f, r)
	if !f.moved {
		t.turn(f, r.Direction)
	}
	f.began(r)
	f.kernelOutcome = r.Outcome
	if !r.First.IsZero() && r.First.Before(f.First) {
		f.First = r.First
	}
	now := f.before.with(r)
	if at := r.Time.UnixNano(); at > f.lastSeen && now.packets() > f.Reported.packets() {
		f.lastSeen, f.Last = at, r.Time
	}
	f.Reported = now
}

// began says whether the flow's opening was seen. The socket sensor copies no
// SYN, so that packets alone cannot tell; the kernel's record of the opening can,
// unless it is about a socket that is older than the agent.
func (f *Flow) began(r *sensor.FlowRecord) {
	if r.Kind != sensor.RecordOpen || r.Transport != 6 || f.tcp.seen&clientSYN != 0 {
		return
	}
	f.MidFlow = r.Owner.Attribution == rules.AttributionSeeded
}

// setSocket keeps the socket's own tuple where NAT stands between, and finds
// the flow under it.
func (t *Table) setSocket(f *Flow, r *sensor.FlowRecord) {
	if r.Asked.IsValid() {
		f.Socket.Asked = r.Asked
	}
	local, remote := wire(r)
	if local == r.Local && remote == r.Remote {
		return
	}
	f.Socket.Local, f.Socket.Remote = r.Local, r.Remote
	k, localLow := makeTuple(local, remote, r.Transport, r.Flow.Netns, false)
	k = k.with(sideOf(localLow, true))
	if !f.keyed[1] && f.keys[0] != k && t.byTuple[k] == nil {
		f.keys[1], f.keyed[1] = k, true
		t.byTuple[k] = f
		t.last = nil
	}
}

// turn corrects the opener of a flow whose opening was not seen.
func (t *Table) turn(f *Flow, d rules.Direction) {
	if d == rules.DirectionUnknown || d == "" || !f.HasLocal || f.ClientLocal == (d == rules.Outbound) {
		return
	}
	if f.FromClient.Payloads+f.FromServer.Payloads > 0 && !f.MidFlow {
		return // the packets have shown who opened
	}
	f.ClientLocal = !f.ClientLocal
	f.clientLow = !f.clientLow
	f.Client, f.Server = f.Server, f.Client
	f.FromClient, f.FromServer = f.FromServer, f.FromClient
	if f.look != nil {
		f.look.sides[0], f.look.sides[1] = f.look.sides[1], f.look.sides[0]
		f.look.state = protocol.EngineState{}
	}
}

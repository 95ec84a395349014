package flow

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/agent/capture"
	"sallyport/agent/protocol"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

const netns = 4026531840

func owner(pid uint32, a rules.Attribution) sensor.OwnerRef {
	return sensor.OwnerRef{Process: sensor.ProcessRef{PID: pid, Start: 1}, Attribution: a}
}

func socketMeta(cookie uint64, out bool) *Meta {
	return &Meta{Key: sensor.FlowKey{Cookie: cookie, Netns: netns}, Out: out, HasDirection: true, Sensor: "socket"}
}

func linkMeta(out bool) *Meta {
	return &Meta{Key: sensor.FlowKey{Netns: netns}, Out: out, HasDirection: true, Sensor: "link"}
}

func record(kind sensor.RecordKind, cookie uint64, d rules.Direction) *sensor.FlowRecord {
	return &sensor.FlowRecord{
		Kind: kind, Time: began.Add(time.Minute), First: began, Flow: sensor.FlowKey{Cookie: cookie, Netns: netns},
		Transport: 6, Local: client, Remote: server, Direction: d, Outcome: rules.OutcomeData,
		Owner: owner(7, rules.AttributionExact), BytesOut: 1000, BytesIn: 2000, PacketsOut: 10, PacketsIn: 20,
	}
}

func TestRecordAndPacketsAreOneFlow(t *testing.T) {
	table, r := newTable(DefaultConfig())
	table.Record(record(sensor.RecordOpen, 5, rules.Outbound))
	for i, p := range conversation()[:5] {
		table.Packet(p, socketMeta(5, i != 1 && i != 4))
	}
	table.Record(record(sensor.RecordClose, 5, rules.Outbound))
	if len(r.closed) != 1 {
		t.Fatalf("%v", r.events)
	}
	f := r.closed[0]
	o := f.Observation("h")
	if o.Direction != rules.Outbound || o.BytesIn != 2000 || o.PacketsOut != 10 || f.Owner.Process.PID != 7 ||
		o.Identification.State != "confirmed" || o.Owner.Attribution != rules.AttributionExact || o.Netns != netns || !o.Closed {
		t.Errorf("%+v", o)
	}
	if c := table.Counters(); c.Open != 0 || c.Bytes != 0 {
		t.Errorf("%+v", c)
	}
}

// TestNAT: what leaves has another tuple than what comes (kernel-notes 3); the
// cookie joins them.
func TestNAT(t *testing.T) {
	table, r := newTable(DefaultConfig())
	wireRemote := netip.MustParseAddrPort("198.18.0.2:3389")
	wireLocal := netip.MustParseAddrPort("198.18.0.1:55286")
	rec := record(sensor.RecordOpen, 5, rules.Outbound)
	rec.Local, rec.Remote = client, wireRemote
	rec.Asked = server
	table.Record(rec)
	table.Packet(segment(client, wireRemote, capture.SYN, 100, 0, "", 0), socketMeta(5, true))
	table.Packet(segment(server, wireLocal, capture.SYN|capture.ACK, 900, 101, "", 1), socketMeta(5, false))
	table.Packet(segment(client, wireRemote, capture.ACK, 101, 901, "hello", 2), socketMeta(5, true))
	table.Packet(segment(server, wireLocal, capture.ACK, 901, 106, "ready", 3), socketMeta(5, false))
	// The link sensor sees the translated tuple too.
	table.Packet(segment(server, wireLocal, capture.ACK, 901, 106, "ready", 4), linkMeta(false))
	table.Close()
	if len(r.closed) != 1 {
		t.Fatalf("%d flows: %v", len(r.closed), r.events)
	}
	o := r.closed[0].Observation("h")
	if o.Identification.State != "confirmed" || o.RemoteAsked == nil || o.RemoteAsked.Addr != server.Addr() ||
		o.Remote.Addr != wireRemote.Addr() || o.Outcome != rules.OutcomeData {
		t.Errorf("%+v, asked %+v", o, o.RemoteAsked)
	}
}

// TestListenerPayload: with a delayed acknowledgement the first payload arrives
// on the listener's cookie (kernel-notes 4).
func TestListenerPayload(t *testing.T) {
	table, r := newTable(DefaultConfig())
	listener := socketMeta(1, false)
	listener.Listener = true
	listener.Owner = owner(3, rules.AttributionInherited)
	table.Packet(segment(client, server, capture.SYN, 100, 0, "", 0), listener)
	answer := socketMeta(1, true)
	answer.Listener = true
	table.Packet(segment(server, client, capture.SYN|capture.ACK, 900, 101, "", 1), answer)
	table.Packet(segment(client, server, capture.ACK, 101, 901, "hello", 2), listener)
	child := socketMeta(2, true)
	child.Owner = owner(4, rules.AttributionExact)
	table.Packet(segment(server, client, capture.ACK, 901, 106, "ready", 3), child)
	rec := record(sensor.RecordClose, 2, rules.Inbound)
	rec.Local, rec.Remote, rec.Owner = server, client, owner(4, rules.AttributionExact)
	table.Record(rec)
	if len(r.closed) != 1 {
		t.Fatalf("%d flows: %v", len(r.closed), r.events)
	}
	f := r.closed[0]
	if f.Direction() != rules.Inbound || f.Result.State != protocol.Confirmed || f.Owner.Process.PID != 4 || f.Key.Cookie != 2 {
		t.Errorf("%+v", f)
	}
}

// TestLoopback: both ends on one host are two flows, each with its owner.
func TestLoopback(t *testing.T) {
	table, r := newTable(DefaultConfig())
	for i, p := range conversation()[:5] {
		fromClient := i != 1 && i != 4
		table.Packet(p, socketMeta(5, fromClient))
		table.Packet(p, socketMeta(6, !fromClient))
	}
	table.Close()
	if len(r.closed) != 2 || r.closed[0].Direction() != rules.Outbound || r.closed[1].Direction() != rules.Inbound {
		t.Fatalf("%d flows: %v", len(r.closed), r.events)
	}
	for _, f := range r.closed {
		if f.Result.State != protocol.Confirmed || f.Client != client {
			t.Errorf("%+v", f)
		}
	}
}

// TestBothSensors: a flow seen by both is one flow, whoever was first, and is
// counted once.
func TestBothSensors(t *testing.T) {
	for _, linkFirst := range []bool{true, false} {
		table, r := newTable(DefaultConfig())
		for i, p := range []*capture.Packet{datagram(client, server, "hello", 0), datagram(server, client, "ready", 1)} {
			order := []*Meta{socketMeta(5, i == 0), linkMeta(i == 0)}
			if linkFirst {
				order[0], order[1] = order[1], order[0]
			}
			for _, m := range order {
				table.Packet(p, m)
			}
		}
		undirected := linkMeta(false)
		undirected.HasDirection = false
		table.Packet(datagram(server, client, "x", 2), undirected)
		table.Close()
		if len(r.closed) != 1 {
			t.Fatalf("link first %v: %d flows: %v", linkFirst, len(r.closed), r.events)
		}
		f := r.closed[0]
		if f.Sensor != "socket" || f.FromClient.Packets != 1 || f.FromServer.Packets != 1 || f.Result.State != protocol.Confirmed {
			t.Errorf("link first %v: %+v", linkFirst, f)
		}
	}
}

func TestUnconnectedUDP(t *testing.T) {
	table, r := newTable(DefaultConfig())
	other := netip.MustParseAddrPort("203.0.113.10:53")
	for _, to := range []netip.AddrPort{server, other} {
		m := socketMeta(5, true)
		m.Key.Remote = to
		table.Packet(datagram(client, to, "hello", 0), m)
	}
	table.Close()
	if len(r.closed) != 2 {
		t.Errorf("%d flows: %v", len(r.closed), r.events)
	}
}

func TestOwnerOnlyImproves(t *testing.T) {
	table, r := newTable(DefaultConfig())
	for i, a := range []rules.Attribution{rules.AttributionSeeded, rules.AttributionExact, rules.AttributionInherited} {
		m := socketMeta(5, true)
		m.Owner = owner(uint32(i), a)
		table.Packet(datagram(client, server, "x", 0), m)
	}
	table.Close()
	if o := r.closed[0].Owner; o.Process.PID != 1 || o.Attribution != rules.AttributionExact {
		t.Errorf("%+v", o)
	}
}

func TestBlockedConnect(t *testing.T) {
	table, r := newTable(DefaultConfig())
	rec := record(sensor.RecordOpen, 5, rules.Outbound)
	rec.Outcome, rec.BytesIn, rec.PacketsIn = rules.OutcomeBlocked, 0, 0
	table.Record(rec)
	rec.Kind = sensor.RecordClose
	table.Record(rec)
	if len(r.closed) != 1 || r.closed[0].Outcome() != rules.OutcomeBlocked {
		t.Errorf("%+v", r.closed)
	}
}

// TestTurned: the kernel knows the direction of a flow that began before us.
func TestTurned(t *testing.T) {
	table, r := newTable(DefaultConfig())
	table.Packet(segment(server, client, capture.ACK, 901, 106, "ready", 0), socketMeta(5, false))
	table.Packet(segment(client, server, capture.ACK, 101, 906, "hello", 1), socketMeta(5, true))
	table.Record(record(sensor.RecordUpdate, 5, rules.Outbound))
	table.Close()
	f := r.closed[0]
	if f.Direction() != rules.Outbound || f.Client != client || !f.MidFlow || f.Result.State != protocol.Confirmed {
		t.Errorf("%+v", f)
	}
}

// TestKernelClosesItsFlows: a flow with a record waits for the record that ends
// it.
func TestKernelClosesItsFlows(t *testing.T) {
	cfg := DefaultConfig()
	table, r := newTable(cfg)
	table.Record(record(sensor.RecordOpen, 5, rules.Outbound))
	table.Expire(began.Add(10 * time.Minute))
	if len(r.closed) != 0 {
		t.Error("closed without its record")
	}
	table.Expire(began.Add(3 * time.Hour))
	if len(r.closed) != 1 {
		t.Error("kept although the record must be lost")
	}
}

// TestBegan: the socket sensor copies payload only; its record says whether the
// flow was seen from the start.
func TestBegan(t *testing.T) {
	for _, tt := range []struct {
		a       rules.Attribution
		midFlow bool
	}{{rules.AttributionExact, false}, {rules.AttributionSeeded, true}} {
		for _, recordFirst := range []bool{true, false} {
			table, r := newTable(DefaultConfig())
			rec := record(sensor.RecordOpen, 5, rules.Outbound)
			rec.Owner = owner(7, tt.a)
			if recordFirst {
				table.Record(rec)
			}
			table.Packet(segment(client, server, capture.ACK, 101, 901, "hello", time.Hour), socketMeta(5, true))
			if !recordFirst {
				table.Record(rec)
			}
			table.Close()
			if len(r.closed) != 1 || r.closed[0].MidFlow != tt.midFlow {
				t.Errorf("%s, record first %v: %+v", tt.a, recordFirst, r.closed)
			}
		}
	}
}

// TestOwnSYN: the SYN of a flow that the kernel's record has opened is the
// flow's own, however much later its time is.
func TestOwnSYN(t *testing.T) {
	table, r := newTable(DefaultConfig())
	open := record(sensor.RecordOpen, 5, rules.Outbound)
	open.Time = began.Add(-time.Second)
	table.Record(open)
	for i, p := range conversation()[:5] {
		table.Packet(p, socketMeta(5, i != 1 && i != 4))
	}
	table.Close()
	if len(r.closed) != 1 || r.closed[0].MidFlow {
		t.Fatalf("%v", r.events)
	}
}

package flow

import (
	"testing"

	"sallyport/agent/capture"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

// tunnelRecord is the account of a kernel tunnel, which has no socket.
func tunnelRecord(kind sensor.RecordKind) *sensor.FlowRecord {
	r := record(kind, 0, rules.DirectionUnknown)
	r.Owner = owner(9, rules.AttributionTunnel)
	return r
}

// A tunnel's record and the packets that the link sensor saw are one flow, in
// whichever order they come; the packets stay what identifies it.
func TestTunnelRecordJoinsPackets(t *testing.T) {
	for _, recordFirst := range []bool{true, false} {
		table, r := newTable(DefaultConfig())
		packets := func() {
			for i, p := range conversation()[:5] {
				table.Packet(p, linkMeta(i != 1 && i != 4))
			}
		}
		if !recordFirst {
			packets()
		}
		table.Record(tunnelRecord(sensor.RecordOpen))
		if recordFirst {
			packets()
		}
		table.Record(tunnelRecord(sensor.RecordUpdate))
		table.Record(tunnelRecord(sensor.RecordClose))
		if len(r.closed) != 1 {
			t.Fatalf("record first %v: %v", recordFirst, r.events)
		}
		o := r.closed[0].Observation("h")
		if o.Owner.Attribution != rules.AttributionTunnel || r.closed[0].Owner.Process.PID != 9 || o.BytesIn != 2000 ||
			o.Remote.Addr != server.Addr() || o.Identification.State != "confirmed" || o.Sensor != "link" || !o.Closed {
			t.Errorf("record first %v: %+v, owner %+v", recordFirst, o, r.closed[0].Owner)
		}
	}
}

// Two tunnels of one namespace are two flows.
func TestTunnelRecordsApart(t *testing.T) {
	table, r := newTable(DefaultConfig())
	one, other := tunnelRecord(sensor.RecordOpen), tunnelRecord(sensor.RecordOpen)
	one.Transport, other.Transport = 47, 50
	table.Record(one)
	table.Record(other)
	table.Close()
	if len(r.closed) != 2 {
		t.Errorf("%v", r.events)
	}
}

// A socket that has the tuple keeps its flow and its counts: a key daemon's, in
// front of ESP in UDP. A tunnel that ends does not end it.
func TestTunnelRecordLeavesSocketsFlow(t *testing.T) {
	table, r := newTable(DefaultConfig())
	table.Packet(segment(client, server, capture.SYN, 100, 0, "", 0), socketMeta(5, true))
	table.Record(record(sensor.RecordOpen, 5, rules.Outbound))
	table.Record(tunnelRecord(sensor.RecordUpdate))
	table.Record(tunnelRecord(sensor.RecordClose))
	if len(r.closed) != 0 || table.Counters().Open != 1 {
		t.Fatalf("%v", r.events)
	}
	table.Close()
	if f := r.closed[0]; f.Owner.Process.PID != 7 || f.Sensor != "socket" {
		t.Errorf("owner %+v, sensor %s", f.Owner, f.Sensor)
	}
}

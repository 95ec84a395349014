package flow

import (
	"net/netip"
	"testing"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// TestMovedSocket: a server hears its client on a socket that hears everyone, and
// answers on one that is connected to it. The kernel calls the second outbound.
func TestMovedSocket(t *testing.T) {
	for name, cookie := range map[string]uint64{"the same socket": 5, "another socket": 6} {
		for _, recordFirst := range []bool{true, false} {
			table, r := newTable(DefaultConfig())
			heard := socketMeta(5, false)
			heard.Key.Remote = client
			account := func(kind sensor.RecordKind, flow sensor.FlowKey, d rules.Direction, in, out uint64) {
				rec := record(kind, 0, d)
				rec.Transport, rec.Flow, rec.Local, rec.Remote = 17, flow, server, client
				rec.PacketsIn, rec.PacketsOut, rec.BytesIn, rec.BytesOut = in, out, 100*in, 100*out
				table.Record(rec)
			}
			account(sensor.RecordOpen, heard.Key, rules.Inbound, 1, 0)
			table.Packet(datagram(client, server, "hello", 0), heard)
			account(sensor.RecordUpdate, heard.Key, rules.Inbound, 2, 0)
			own := socketMeta(cookie, true)
			if recordFirst {
				account(sensor.RecordOpen, own.Key, rules.Outbound, 0, 1)
			}
			table.Packet(datagram(server, client, "ready", 1), own)
			account(sensor.RecordClose, own.Key, rules.Outbound, 3, 4)
			if len(r.closed) != 1 {
				t.Fatalf("%s: %d flows: %v", name, len(r.closed), r.events)
			}
			o := r.closed[0].Observation("h")
			if o.Direction != rules.Inbound || o.Identification.State != "confirmed" || o.PacketsIn != 5 || o.PacketsOut != 4 ||
				o.BytesIn != 500 || o.Remote.Addr != client.Addr() {
				t.Errorf("%s, record first %v: %+v", name, recordFirst, o)
			}
			if c := table.Counters(); c.Open != 0 || len(table.byKey) != 0 || len(table.byTuple) != 0 {
				t.Errorf("%s: %+v, %d keys, %d tuples are left", name, c, len(table.byKey), len(table.byTuple))
			}
		}
	}
}

// TestUnconnectedDoesNotMove: what a connected socket has is not another's.
func TestUnconnectedDoesNotMove(t *testing.T) {
	table, r := newTable(DefaultConfig())
	table.Packet(datagram(client, server, "hello", 0), socketMeta(5, true))
	other := socketMeta(6, true)
	other.Key.Remote = netip.MustParseAddrPort("203.0.113.9:443")
	table.Packet(datagram(client, server, "hello", 1), other)
	table.Close()
	if len(r.closed) != 2 {
		t.Errorf("%d flows: %v", len(r.closed), r.events)
	}
}

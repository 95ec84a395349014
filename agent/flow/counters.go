package flow

import "maps"

// Drop is why something was not kept.
type Drop string

// Reasons of drops.
const (
	DropFlows      Drop = "flow_table_full"   // a flow was closed early to make room
	DropBytes      Drop = "first_bytes_full"  // a flow was decided early: MaxBytes reached
	DropReassembly Drop = "reassembly_holes"  // a segment out of order, too many holes
	DropFragment   Drop = "fragment_unjoined" // a later fragment whose first was not seen
	DropDNS        Drop = "dns_stream_gap"    // DNS over TCP that could not be followed
)

// Counters is what the table has done.
type Counters struct {
	Packets  uint64
	Records  uint64
	Flows    uint64 // opened
	Open     int    // now
	Bytes    int    // of first bytes and evidence held now
	Decided  uint64
	Messages uint64 // DNS
	Dropped  map[string]uint64
}

type counters struct {
	packets, records, flows, decided, messages uint64
	drops                                      map[string]uint64
}

func (c *counters) dropped(why Drop) { c.drops[string(why)]++ }

// Counters may be called between two packets, from the table's goroutine.
func (t *Table) Counters() Counters {
	return Counters{
		Packets: t.counters.packets, Records: t.counters.records, Flows: t.counters.flows,
		Open: t.open, Bytes: t.bytes, Decided: t.counters.decided, Messages: t.counters.messages,
		Dropped: maps.Clone(t.counters.drops),
	}
}

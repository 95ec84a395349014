package rules

import (
	"iter"
	"net/netip"
	"time"

	"github.com/gaissmai/bart"
)

// Pack names a set of entities in force.
type Pack struct {
	Name    string
	Version string
	Date    time.Time // when its content was put together
}

// String is the pack's name and version.
func (p Pack) String() string {
	if p.Version == "" {
		return p.Name
	}
	return p.Name + " " + p.Version
}

// Set is a compiled, immutable set of indicators. It is safe for any number of
// readers; a lookup that finds nothing allocates nothing.
type Set struct {
	packs    []Pack
	entities []Entity // without their indicators
	owned    ownership
	shared   []shared
	records  []record
	leftOut  []LeftOut
	test     int // records of test entities

	addrs    keyIndex           // 4 or 16 bytes
	prefixes bart.Table[uint32] // everything shorter than an address
	sieve    addrSieve          // before both, for IPv4, in a big set
	names    map[IndicatorType]*keyIndex
	named    nameSieve // before those of domains and hosts
	asns     map[uint32]uint32
}

// record is one indicator; its value is the key it stands under.
type record struct {
	shared uint32
	next   uint32 // next record of the same value + 1, 0 for none
}

// shared is what many indicators of an entity have in common.
type shared struct {
	entity uint32
	pack   uint32
	kind   IndicatorType
	Provenance
}

// LeftOut is an indicator that was not compiled, and why.
type LeftOut struct {
	Entity string
	Type   IndicatorType
	Value  string
	Reason string
}

// Len is the number of indicators.
func (s *Set) Len() int { return len(s.records) }

// Packs are the packs in force.
func (s *Set) Packs() []Pack { return s.packs }

// PackNames is the packs in force, for a finding and a heartbeat.
func (s *Set) PackNames() []string {
	names := make([]string, len(s.packs))
	for i, p := range s.packs {
		names[i] = p.String()
	}
	return names
}

// Date is when the newest pack was put together.
func (s *Set) Date() time.Time {
	var newest time.Time
	for _, p := range s.packs {
		if p.Date.After(newest) {
			newest = p.Date
		}
	}
	return newest
}

// LeftOut lists what was not compiled.
func (s *Set) LeftOut() []LeftOut { return s.leftOut }

// Entities lists the entities, without their indicators. One that several packs
// hold comes once, as the first of them has it.
func (s *Set) Entities() iter.Seq[*Entity] {
	return func(yield func(*Entity) bool) {
		seen := map[string]bool{}
		for i := range s.entities {
			e := &s.entities[i]
			if seen[e.ID] {
				continue
			}
			seen[e.ID] = true
			if !yield(e) {
				return
			}
		}
	}
}

// Prefixes lists every address and prefix, addresses first, for the kernel's
// trie. Autonomous systems are not among them: see ASNs.
func (s *Set) Prefixes() iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for i := range s.addrs.size() {
			addr, ok := netip.AddrFromSlice(s.addrs.key(uint32(i)))
			if ok && !yield(netip.PrefixFrom(addr, addr.BitLen())) {
				return
			}
		}
		for p := range s.prefixes.All() {
			if !yield(p) {
				return
			}
		}
	}
}

// ASNs lists the autonomous systems, whose prefixes the GeoIP database knows.
func (s *Set) ASNs() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for asn := range s.asns {
			if !yield(asn) {
				return
			}
		}
	}
}

package rules

import (
	"fmt"
	"net/netip"
)

// New lists the values that old does not hold, each once and without its
// provenance: what must be matched against the past when a set comes into force.
// A nil old holds nothing.
func (s *Set) New(old *Set) []Indicator {
	if old == nil {
		old = &Set{}
	}
	var out []Indicator
	for i := range s.addrs.size() {
		key := string(s.addrs.key(uint32(i)))
		if _, had := old.addrs.find(key); had {
			continue
		}
		if a, ok := netip.AddrFromSlice([]byte(key)); ok {
			out = append(out, Indicator{Type: TypeIP, Value: a.String()})
		}
	}
	for p := range s.prefixes.All() {
		if _, had := old.prefixes.Get(p); !had {
			out = append(out, Indicator{Type: TypeCIDR, Value: p.String()})
		}
	}
	for asn := range s.asns {
		if _, had := old.asns[asn]; !had {
			out = append(out, Indicator{Type: TypeASN, Value: fmt.Sprintf("AS%d", asn)})
		}
	}
	for kind, index := range s.names {
		for i := range index.size() {
			key := string(index.key(uint32(i)))
			if before := old.names[kind]; before != nil {
				if _, had := before.find(key); had {
					continue
				}
			}
			out = append(out, Indicator{Type: kind, Value: key})
		}
	}
	return out
}

package rules

import (
	"iter"
	"net/netip"
)

// Tie is a value and the entity that an indicator ties it to, without its
// provenance.
type Tie struct {
	Type   IndicatorType
	Value  string
	Entity string // id
}

// Ties lists what the set ties to whom. What several indicators say may come
// several times.
func (s *Set) Ties() iter.Seq[Tie] {
	return func(yield func(Tie) bool) {
		for value := range s.values() {
			for next := value.head + 1; next != 0; next = s.records[next-1].next {
				if !yield(Tie{value.kind, value.text, s.entityOf(next - 1)}) {
					return
				}
			}
		}
	}
}

// New lists the ties that old does not hold: what must be matched against the
// past when a set comes into force. A nil old holds nothing.
func (s *Set) New(old *Set) iter.Seq[Tie] {
	return func(yield func(Tie) bool) {
		for t := range s.Ties() {
			if (old == nil || !old.holds(t)) && !yield(t) {
				return
			}
		}
	}
}

// setValue is a value and its first record.
type setValue struct {
	kind IndicatorType
	text string
	head uint32
}

func (s *Set) values() iter.Seq[setValue] {
	return func(yield func(setValue) bool) {
		for i := range s.addrs.size() {
			if a, ok := netip.AddrFromSlice(s.addrs.key(uint32(i))); ok && !yield(setValue{TypeIP, a.String(), s.addrs.heads[i]}) {
				return
			}
		}
		for p, head := range s.prefixes.All() {
			if !yield(setValue{TypeCIDR, p.String(), head}) {
				return
			}
		}
		for asn, head := range s.asns {
			if !yield(setValue{TypeASN, asnString(asn), head}) {
				return
			}
		}
		for kind, index := range s.names {
			for i := range index.size() {
				if !yield(setValue{kind, string(index.key(uint32(i))), index.heads[i]}) {
					return
				}
			}
		}
	}
}

func (s *Set) entityOf(record uint32) string {
	return s.entities[s.shared[s.records[record].shared].entity].ID
}

// holds says whether the set has an indicator for the tie.
func (s *Set) holds(t Tie) bool {
	head, ok := s.head(t.Type, t.Value)
	if !ok {
		return false
	}
	for next := head + 1; next != 0; next = s.records[next-1].next {
		if s.entityOf(next-1) == t.Entity {
			return true
		}
	}
	return false
}

// head is the first record of a value.
func (s *Set) head(kind IndicatorType, value string) (uint32, bool) {
	switch kind {
	case TypeIP, TypeCIDR:
		p, err := parsePrefix(value)
		switch {
		case err != nil:
			return 0, false
		case p.IsSingleIP():
			return s.addrs.findAddr(p.Addr())
		}
		return s.prefixes.Get(p)
	case TypeASN:
		asn, err := parseASN(value)
		if err != nil {
			return 0, false
		}
		head, ok := s.asns[asn]
		return head, ok
	}
	if x := s.names[kind]; x != nil {
		return x.find(value)
	}
	return 0, false
}

package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// match writes out one indicator with all that is known of it.
func (s *Set) match(field, seen, value string, number uint32, flow time.Time) Match {
	sh := &s.shared[number]
	entity := &s.entities[sh.entity]
	sources := make(map[string]Source, len(entity.Sources))
	for _, src := range entity.Sources {
		sources[src.ID] = src
	}
	m := Match{
		Field:     field,
		Value:     seen,
		Entity:    EntityRef{ID: entity.ID, Name: entity.Name, Kind: entity.Kind, Test: entity.Test},
		Indicator: sh.ref(value, entity, sources, s.packs[sh.pack]),
	}
	m.Indicator.Age = string(AgeCurrent) // test data does not age
	if !entity.Test {
		m.Indicator.Age = string(sh.ageAt(flow, sources))
	}
	for _, d := range entity.Designations {
		m.Designations = append(m.Designations, d.ref())
	}
	if by, ok := s.owned.asOf(entity.ID, flow); ok {
		m.Ownership = by.chain
		for _, d := range by.designations {
			m.Designations = append(m.Designations, d.ref())
		}
	}
	m.Statement = statement(&m)
	return m
}

func (d *Designation) ref() DesignationRef {
	return DesignationRef{
		Authority: d.Authority, List: d.List, Programme: d.Programme, LegalBasis: d.LegalBasis, ListID: d.ListID,
		Designated: string(d.Designated), Lifted: string(d.Lifted), Reference: d.Reference,
		Confidence: string(d.Confidence), Note: d.Note,
	}
}

func (s *shared) ref(value string, entity *Entity, sources map[string]Source, pack Pack) IndicatorRef {
	first, last := s.seen()
	ref := IndicatorRef{
		Type: string(s.kind), Value: value, Ports: s.Ports, Role: s.Role, Scope: s.Scope, Actor: s.Actor,
		Holder: s.Holder, FirstSeen: string(first), LastSeen: string(last), Checked: string(s.LastChecked),
		ValidFrom: string(s.ValidFrom), ValidTo: string(s.ValidTo), Seized: string(s.Seized),
		Confidence: string(s.Confidence), TLP: s.TLP, Note: s.Note, Pack: pack.String(),
	}
	for _, a := range entity.Actors {
		if a.Name == s.Actor {
			ref.ActorConfidence = a.Confidence
		}
	}
	for _, c := range s.Sources {
		src := sources[c.Source]
		ref.Sources = append(ref.Sources, SourceRef{
			Name: src.Name, Date: string(src.Date), Reference: src.Reference,
			FirstSeen: string(c.FirstSeen), LastSeen: string(c.LastSeen), Confidence: c.Confidence, Note: c.Note,
		})
	}
	return ref
}

// statement says what a match means and no more: an address is not an entity.
func statement(m *Match) string {
	in := &m.Indicator
	thing := thingOf(m)
	switch {
	case m.Entity.Kind == KindTool || in.Scope == ScopeTool:
		return fmt.Sprintf("%s of the tool %s, which others use too: it implies no entity", thing, m.Entity.Name)
	case in.Scope == ScopeVictim:
		return fmt.Sprintf("%s of a third party compromised by an actor tied to %s%s: it implies no entity", thing, m.Entity.Name, reported(in))
	case in.Scope == ScopeSinkhole:
		return fmt.Sprintf("%s once attributed to %s and now answered by others%s", thing, m.Entity.Name, reported(in))
	case in.Holder != nil && !in.Holder.Listed:
		return fmt.Sprintf("%s that %s holds, which is not listed; some tie it to %s%s: for review only", thing, in.Holder.Name, m.Entity.Name, reported(in))
	}
	s := fmt.Sprintf("%s attributed to %s%s", thing, m.Entity.Name, reported(in))
	if in.Actor != "" && in.Actor != m.Entity.Name {
		s += fmt.Sprintf(" (through the actor %s, confidence %s)", in.Actor, in.ActorConfidence)
	}
	if in.Seized != "" {
		s += ", seized on " + in.Seized
	}
	if len(m.Ownership) > 0 {
		s += "; possibly blocked by ownership: " + strings.Join(m.Ownership, "; ")
	}
	return s
}

// thingOf names what met the indicator.
func thingOf(m *Match) string {
	switch m.Field {
	case FieldRemote, FieldRemoteAsked, FieldHiddenAddr:
		if m.Indicator.Type == string(TypeCIDR) {
			return "a remote in a prefix"
		}
		return "a remote"
	case FieldASN:
		return "a remote in an autonomous system"
	case FieldQuery:
		return "a DNS query for a name"
	case FieldName, FieldSNI, FieldHiddenHost:
		return "a remote with a name"
	case FieldCertName, FieldCertHash:
		return "a remote with a certificate"
	case FieldJA3, FieldJA4, FieldHASSH:
		return "a handshake fingerprint"
	}
	switch IndicatorType(m.Indicator.Type) {
	case TypeIP:
		return "an address"
	case TypeCIDR:
		return "a prefix"
	case TypeASN:
		return "an autonomous system"
	case TypeDomain, TypeURLHost:
		return "a name"
	case TypeTLSSHA1, TypeTLSSHA256:
		return "a certificate"
	}
	return "a handshake fingerprint"
}

// reported says who reported the tie and how far their dates go: the source
// with the latest date of use, or the newest source where none dates the use.
func reported(in *IndicatorRef) string {
	if len(in.Sources) == 0 {
		return ""
	}
	best := in.Sources[0]
	for _, s := range in.Sources[1:] {
		switch {
		case Date(s.LastSeen).End().After(Date(best.LastSeen).End()),
			best.LastSeen == "" && s.LastSeen == "" && Date(s.Date).End().After(Date(best.Date).End()):
			best = s
		}
	}
	switch {
	case best.LastSeen != "":
		return fmt.Sprintf(", reported by %s as used until %s", best.Name, best.LastSeen)
	case best.Date != "":
		return fmt.Sprintf(", reported by %s on %s without dates of use", best.Name, best.Date)
	}
	return fmt.Sprintf(", reported by %s without a date", best.Name)
}

func asnString(asn uint32) string { return "AS" + strconv.FormatUint(uint64(asn), 10) }

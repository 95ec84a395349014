package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Builder compiles a Set piece by piece, so that millions of indicators need
// never stand in memory as entities.
type Builder struct {
	set   *Set
	own   []netip.Prefix
	seen  map[string]uint32 // content of shared to its index
	ids   map[string]idUse
	pack  uint32
	last  shared
	lastI uint32
}

// idUse is where an entity id was used.
type idUse struct {
	first int    // entity that used it first
	pack  uint32 // pack that used it last
}

// Options of a compilation.
type Options struct {
	Own []netip.Prefix // the operator's own prefixes: never attributed to anyone
}

// ErrNoEntity is returned for an indicator added before any entity.
var ErrNoEntity = errors.New("no entity to add the indicator to")

// NewBuilder returns an empty builder.
func NewBuilder(o Options) *Builder {
	return &Builder{
		set:  &Set{names: map[IndicatorType]*keyIndex{}, asns: map[uint32]uint32{}},
		own:  o.Own,
		seen: map[string]uint32{},
		ids:  map[string]idUse{},
	}
}

// Reserve makes room for about so many addresses and names: a hint.
func (b *Builder) Reserve(addresses, names int) {
	b.set.addrs.reserve(addresses, 4)
	b.index(TypeDomain).reserve(names, 20)
	b.set.records = make([]record, 0, addresses+names)
}

// Pack starts a pack; what is added next belongs to it.
func (b *Builder) Pack(p Pack) {
	b.set.packs = append(b.set.packs, p)
	b.pack = uint32(len(b.set.packs) - 1)
}

// Entity adds a valid entity with its indicators. More indicators of it may
// follow through Indicator. An id is used once in a pack; a later pack that uses
// it again adds indicators to the same entity, and changes nothing else of it.
func (b *Builder) Entity(e Entity) error {
	if len(b.set.packs) == 0 {
		return errors.New("add entity: no pack was started")
	}
	use, known := b.ids[e.ID]
	if known {
		first := &b.set.entities[use.first]
		if use.pack == b.pack {
			return fmt.Errorf("add entity: the id %q is used twice; give each entity its own", e.ID)
		}
		if first.Test != e.Test {
			return fmt.Errorf("add entity: packs differ on whether %q is a test; correct the later one", e.ID)
		}
		e.Name, e.Kind, e.Designations, e.Owners = first.Name, first.Kind, first.Designations, first.Owners
	} else {
		use.first = len(b.set.entities)
	}
	use.pack = b.pack
	b.ids[e.ID] = use
	indicators := e.Indicators
	e.Indicators = nil
	b.set.entities = append(b.set.entities, e)
	for i := range indicators {
		if err := b.Indicator(&indicators[i]); err != nil {
			return err
		}
	}
	return nil
}

// Indicator adds an indicator to the entity added last. A value that cannot be
// an indicator is an error; one that touches the operator's own prefixes is
// left out and listed.
func (b *Builder) Indicator(in *Indicator) error {
	if len(b.set.entities) == 0 {
		return ErrNoEntity
	}
	entity := &b.set.entities[len(b.set.entities)-1]
	if err := CheckValue(in.Type, in.Value, entity.Test); err != nil {
		return fmt.Errorf("add indicator of %s: %w", entity.ID, err)
	}
	head := uint32(len(b.set.records))
	before, had, reason := b.place(in, head)
	if reason != "" {
		b.set.leftOut = append(b.set.leftOut, LeftOut{entity.ID, in.Type, in.Value, reason})
		return nil
	}
	r := record{shared: b.share(in)}
	if had {
		r.next = before + 1
	}
	if entity.Test {
		b.set.test++
	}
	b.set.records = append(b.set.records, r)
	return nil
}

// place puts head under the indicator's value and returns what stood there.
func (b *Builder) place(in *Indicator, head uint32) (before uint32, had bool, leftOut string) {
	switch in.Type {
	case TypeIP, TypeCIDR:
		p, err := parsePrefix(in.Value)
		if err != nil {
			return 0, false, err.Error()
		}
		if own, ok := overlapsAny(p, b.own); ok {
			return 0, false, fmt.Sprintf("overlaps your own prefix %s", own)
		}
		if p.IsSingleIP() {
			before, had = b.set.addrs.set(addrKey(p.Addr()), head)
			return before, had, ""
		}
		before, had = b.set.prefixes.Get(p)
		b.set.prefixes.Insert(p, head)
	case TypeASN:
		asn, err := parseASN(in.Value)
		if err != nil {
			return 0, false, err.Error()
		}
		before, had = b.set.asns[asn]
		b.set.asns[asn] = head
	default:
		before, had = b.index(in.Type).set(in.Value, head)
	}
	return before, had, ""
}

func (b *Builder) index(kind IndicatorType) *keyIndex {
	x := b.set.names[kind]
	if x == nil {
		x = &keyIndex{}
		b.set.names[kind] = x
	}
	return x
}

// share returns the number of what the indicator has in common with others:
// a list of a million values carries its provenance once.
func (b *Builder) share(in *Indicator) uint32 {
	s := shared{uint32(len(b.set.entities) - 1), b.pack, in.Type, in.Provenance}
	if len(b.set.shared) > 0 && sameShared(&s, &b.last) {
		return b.lastI
	}
	content := s.content()
	number, ok := b.seen[content]
	if !ok {
		number = uint32(len(b.set.shared))
		b.seen[content] = number
		b.set.shared = append(b.set.shared, s)
	}
	b.last, b.lastI = s, number
	return number
}

// content spells out everything, so that equal texts mean equal contents.
func (s *shared) content() string {
	var holder Holder
	if s.Holder != nil {
		holder = *s.Holder
	}
	flat := s.Provenance
	flat.Holder = nil
	return fmt.Sprintf("%d %d %s %t %#v %#v", s.entity, s.pack, s.kind, s.Holder != nil, holder, flat)
}

// sameShared knows the common case quickly: rows of one list, which share the
// slice of their sources. What it does not know is compared by content.
func sameShared(a, b *shared) bool {
	return len(a.Sources) > 0 && len(a.Sources) == len(b.Sources) && &a.Sources[0] == &b.Sources[0] &&
		len(a.Ports) == 0 && len(b.Ports) == 0 &&
		a.entity == b.entity && a.pack == b.pack && a.kind == b.kind &&
		a.Role == b.Role && a.Scope == b.Scope && a.Actor == b.Actor && a.Holder == b.Holder &&
		a.ValidFrom == b.ValidFrom && a.ValidTo == b.ValidTo && a.LastChecked == b.LastChecked &&
		a.Seized == b.Seized && a.Confidence == b.Confidence && a.TLP == b.TLP && a.Note == b.Note
}

// Set closes ownership and returns the compiled set. The builder is spent.
func (b *Builder) Set() (*Set, error) {
	owned, err := closeOwnership(b.set.entities)
	if err != nil {
		return nil, err
	}
	b.set.owned = owned
	set := b.set
	set.sift()
	b.set, b.seen = nil, nil
	return set, nil
}

// sift fills the sieves from the tables.
func (s *Set) sift() {
	if s.addrs.size()+s.prefixes.Size4() >= addrSieveFrom {
		s.sieve = newAddrSieve()
		for p := range s.prefixes.All4() {
			s.sieve.addPrefix(p)
		}
		for i := range s.addrs.size() {
			if a, _ := netip.AddrFromSlice(s.addrs.key(uint32(i))); a.Is4() {
				s.sieve.addAddr(a)
			}
		}
		collapse(s.sieve)
	}
	count := 0
	for _, kind := range namedTypes {
		if x := s.names[kind]; x != nil {
			count += x.size()
		}
	}
	if count == 0 {
		return
	}
	s.named = newNameSieve(count)
	for _, kind := range namedTypes {
		if x := s.names[kind]; x != nil {
			for i := range x.size() {
				s.named.add(string(x.key(uint32(i))))
			}
		}
	}
	collapse(s.named.lines)
}

// namedTypes are the types whose values are names.
var namedTypes = []IndicatorType{TypeDomain, TypeURLHost}

// Compile compiles valid entities into a set, as one pack.
func Compile(pack Pack, entities []Entity, o Options) (*Set, error) {
	b := NewBuilder(o)
	b.Pack(pack)
	for _, e := range entities {
		if err := b.Entity(e); err != nil {
			return nil, fmt.Errorf("compile pack %s: %w", pack, err)
		}
	}
	set, err := b.Set()
	if err != nil {
		return nil, fmt.Errorf("compile pack %s: %w", pack, err)
	}
	return set, nil
}

// addrKey is the address as the key of an index.
func addrKey(a netip.Addr) string {
	if a.Is4() {
		k := a.As4()
		return string(k[:])
	}
	k := a.As16()
	return string(k[:])
}

// plainName lowers a name and drops the root's dot. It allocates only when it
// must change a letter.
func plainName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

package rules

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"unsafe"
)

// TestAddrSieve compares with a walk over what was added: the sieve lets through
// all of it, and little else.
func TestAddrSieve(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	s := newAddrSieve()
	var prefixes []netip.Prefix
	listed := map[netip.Addr]bool{}
	for range 300 {
		p := netip.PrefixFrom(addr4(random.Uint32()), 12+random.IntN(20)).Masked()
		prefixes = append(prefixes, p)
		s.addPrefix(p)
		a := addr4(random.Uint32())
		listed[a] = true
		s.addAddr(a)
	}
	for a := range listed {
		if addr, _ := s.has(a); !addr {
			t.Fatalf("%s was added and is not let through", a)
		}
	}
	through := 0
	for i := range 20_000 {
		a := addr4(random.Uint32())
		if i%2 == 0 {
			a = prefixes[i%len(prefixes)].Addr() // inside one
		}
		_, inside := overlapsAny(netip.PrefixFrom(a, 32), prefixes)
		addr, prefix := s.has(a)
		if inside && !prefix {
			t.Fatalf("%s lies in an added prefix and is not let through", a)
		}
		if addr && !listed[a] || prefix && !inside {
			through++
		}
	}
	if through > 500 {
		t.Errorf("%d of 20,000 are let through for nothing", through)
	}
}

func TestNameSieve(t *testing.T) {
	const n = 50_000
	s := newNameSieve(n)
	name := func(i int) string { return fmt.Sprintf("h%d.x%d.example", i%7, i) }
	for i := range n {
		s.add(name(i))
	}
	through := 0
	for i := range n {
		below := "deep.below." + name(i)
		if starts, ok := s.sift(below, nil); !ok || !slices.Contains(starts, len("deep.below.")) {
			t.Fatalf("%s was added and is not let through for a name below it", name(i))
		}
		if starts, _ := s.sift(name(n+i), nil); len(starts) > 0 {
			through++
		}
	}
	if _, ok := s.sift("Upper.example", nil); ok {
		t.Error("upper case passes for lower")
	}
	if starts, ok := s.sift("example", nil); !ok || len(starts) > 0 {
		t.Error("a top-level domain is let through")
	}
	if through > n/100 {
		t.Errorf("%d of %d are let through for nothing", through, n)
	}
}

func TestMakeHuge(t *testing.T) {
	for _, n := range []int{0, 1, 1000, hugePage / 8, hugePage, 3*hugePage + 17} {
		table := makeHuge[uint64](n)
		if len(table) != n || cap(table) != n {
			t.Fatalf("asked for %d, got %d of %d", n, len(table), cap(table))
		}
		if n*8 >= hugePage && uintptr(unsafe.Pointer(&table[0]))%hugePage != 0 {
			t.Errorf("a table of %d does not begin at a huge page", n)
		}
		for i := range table {
			table[i] = uint64(i)
		}
		collapse(table)
		for i := range table {
			if table[i] != uint64(i) {
				t.Fatalf("element %d of %d is lost", i, n)
			}
		}
	}
}

// TestBigSetsAnswerAsSmallOnes holds the sieves to the tables: a set with them
// finds what one without finds.
func TestBigSetsAnswerAsSmallOnes(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	big := Entity{ID: "e", Name: "E", Kind: KindOrganisation, Sources: []Source{{ID: "s", Name: "S"}}}
	add := func(kind IndicatorType, value string) {
		big.Indicators = append(big.Indicators, Indicator{Type: kind, Value: value, Provenance: Provenance{Confidence: ConfidenceHigh, Sources: []Claim{{Source: "s"}}}})
	}
	for i := range 2 * addrSieveFrom {
		if a := random.Uint32(); publicAddr(a) {
			add(TypeIP, addr4(a).String())
		}
		if i%20 == 0 {
			if p := netip.PrefixFrom(addr4(random.Uint32()), 18+random.IntN(13)).Masked(); checkPrefix(p.String(), false) == nil {
				add(TypeCIDR, p.String())
			}
			add(TypeDomain, fmt.Sprintf("a%d.b%d.com", i%3, i))
			add(TypeURLHost, fmt.Sprintf("u%d.b%d.com", i%3, i))
		}
	}
	add(TypeIP, "2a00::7")
	set, err := Compile(Pack{Name: "big"}, []Entity{big}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if set.sieve == nil {
		t.Fatal("the set has no sieve")
	}
	for _, in := range big.Indicators {
		o := &Observation{Last: testNow}
		switch in.Type {
		case TypeIP:
			o.Remote.Addr = netip.MustParseAddr(in.Value)
		case TypeCIDR:
			o.Remote.Addr = netip.MustParsePrefix(in.Value).Addr()
		case TypeDomain:
			o.Query = "www.below." + in.Value
		case TypeURLHost:
			o.Query = in.Value
		}
		if set.Match(o, testNow) == nil {
			t.Fatalf("%s %s is not found", in.Type, in.Value)
		}
	}
	if ms := set.Match(&Observation{Last: testNow, Query: "below.u0.b0.com"}, testNow); ms != nil {
		t.Errorf("a host is met by a name below it: %+v", ms)
	}
}

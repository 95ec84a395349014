package rules

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestSieve compares with a walk over the prefixes: what a sieve excludes is in
// none of them.
func TestSieve(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	s := newSieve()
	var list []netip.Prefix
	for range 300 {
		p := netip.PrefixFrom(addr4(random.Uint32()), 12+random.IntN(20)).Masked()
		list = append(list, p)
		s.add(p)
	}
	excluded := 0
	for i := range 20_000 {
		a := addr4(random.Uint32())
		if i%2 == 0 {
			a = list[i%len(list)].Addr() // inside one
		}
		if s.excludes(a) {
			excluded++
			if p, in := overlapsAny(netip.PrefixFrom(a, 32), list); in {
				t.Fatalf("%s is excluded, and in %s", a, p)
			}
		}
	}
	if excluded < 5000 {
		t.Errorf("only %d excluded", excluded)
	}
	if s.excludes(netip.MustParseAddr("2a00::1")) || sieve(nil).excludes(netip.MustParseAddr("9.9.9.9")) {
		t.Error("excludes what it does not know")
	}
}

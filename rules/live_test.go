package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// addresses is an entity file with so many addresses.
func addresses(n int) string {
	var b strings.Builder
	b.WriteString("id: e\nname: E\nkind: organisation\nsources: [{id: s, name: S}]\nindicators:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {type: ip, value: 5.6.%d.%d, confidence: high, sources: [{source: s}]}\n", i/256, i%256)
	}
	return b.String()
}

func TestSwapRefusesTheLittle(t *testing.T) {
	live := NewLive(compileTest(t, addresses(10)))
	empty, err := Compile(Pack{Name: "empty"}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, next := range []*Set{empty, compileTest(t, addresses(4))} {
		if err := live.Swap(next, false); err == nil || live.Set().Len() != 10 {
			t.Errorf("a set of %d was taken", next.Len())
		}
	}
	if err := live.Swap(compileTest(t, addresses(5)), false); err != nil {
		t.Error(err)
	}
	if err := live.Swap(empty, true); err != nil || live.Set() != empty {
		t.Errorf("a forced swap was refused: %v", err)
	}
}

func TestSwapWhileReading(t *testing.T) {
	a, b := compileTest(t, addresses(10)), compileTest(t, addresses(12))
	live := NewLive(a)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if len(live.Set().Match(flowTo("5.6.0.3"), testNow)) != 1 {
					t.Error("a reader saw half a set")
					return
				}
			}
		})
	}
	for i := range 1000 {
		if err := live.Swap([]*Set{a, b}[i%2], false); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
}

func TestPrefixes(t *testing.T) {
	set := compileTest(t, addresses(2)+"  - {type: cidr, value: 5.7.0.0/16, confidence: high, sources: [{source: s}]}\n  - {type: ip, value: \"2a00:1::1\", confidence: high, sources: [{source: s}]}\n")
	var got []string
	for p := range set.Prefixes() {
		got = append(got, p.String())
	}
	slices.Sort(got)
	if want := []string{"2a00:1::1/128", "5.6.0.0/32", "5.6.0.1/32", "5.7.0.0/16"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOwnPrefixesAreLeftOut(t *testing.T) {
	entities, err := ParseEntities("x.yaml", []byte(addresses(3)))
	if err != nil {
		t.Fatal(err)
	}
	set, err := Compile(Pack{Name: "p"}, entities, Options{Own: []netip.Prefix{netip.MustParsePrefix("5.6.0.1/32")}})
	if err != nil {
		t.Fatal(err)
	}
	if set.Len() != 2 || len(set.LeftOut()) != 1 || set.LeftOut()[0].Value != "5.6.0.1" {
		t.Errorf("%d compiled, left out %v", set.Len(), set.LeftOut())
	}
	if set.Match(flowTo("5.6.0.1"), testNow) != nil {
		t.Error("an own address is attributed")
	}
}

func TestLookup(t *testing.T) {
	set := compileTest(t, addresses(3)+"  - {type: cidr, value: 5.6.0.0/20, confidence: high, sources: [{source: s}]}\n  - {type: domain, value: evil.com, confidence: high, sources: [{source: s}]}\n  - {type: asn, value: AS210644, holder: {name: X, listed: true}, confidence: high, sources: [{source: s}]}\n")
	for value, want := range map[string]int{
		"5.6.0.1": 2, "5[.]6[.]0[.]1": 2, " 5.6.0.9 ": 1, "5.6.0.0/16": 4, "5.6.0.0/31": 3, "9.9.9.0/24": 0,
		"http://5.6.0.1/x": 2, "hxxps://5[.]6[.]0[.]1:8443": 2, "5.6.0.9:443": 1, "https://[2001:db8::1]:443/": 0, "[2001:db8::1]:443": 0, "2001:db8::1": 0,
		"hxxps://a.evil[.]com/path": 1, "https://u:p@evil.com:8443/?q=a@b": 1, "evil.com:443": 1, "evil.com/5.6.0.1": 1, "EVIL.com": 1, "com.evil": 0, "as210644": 1, "AS1": 0,
		"00112233445566778899aabbccddeeff": 0,
	} {
		got, err := set.Lookup(value, testNow)
		if err != nil || len(got) != want {
			t.Errorf("%s: %d matches, %v; want %d", value, len(got), err, want)
		}
	}
	for _, bad := range []string{"", "hello", "1.2.3", "a b.com", "\x1b[31m"} {
		if _, err := set.Lookup(bad, testNow); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}

func TestKeyIndex(t *testing.T) {
	var x keyIndex
	if _, ok := x.find("a"); ok {
		t.Error("found in an empty index")
	}
	const n = 10_000
	for i := range n {
		if _, had := x.set(fmt.Sprint(i), uint32(i)); had {
			t.Fatalf("%d was there before", i)
		}
	}
	for i := range n {
		if got, ok := x.find(fmt.Sprint(i)); !ok || got != uint32(i) {
			t.Fatalf("%d: got %d, %t", i, got, ok)
		}
	}
	if before, had := x.set("7", 99); !had || before != 7 {
		t.Errorf("got %d, %t", before, had)
	}
	if _, ok := x.find("10000"); ok || x.size() != n {
		t.Error("found what was not set, or the size is wrong")
	}
}

func TestLaterPackAddsOnly(t *testing.T) {
	first, err := ParseEntities("first.yaml", []byte(company("e", true)+"indicators: [{type: ip, value: 5.6.7.8, confidence: high, sources: [{source: s}]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := ParseEntities("second.yaml", []byte("id: e\nname: Other\nkind: person\nsources: [{id: mine, name: Mine}]\nindicators: [{type: ip, value: 5.6.7.9, confidence: high, sources: [{source: mine}]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	b := NewBuilder(Options{})
	for i, e := range []Entity{first[0], second[0]} {
		b.Pack(Pack{Name: fmt.Sprint(i)})
		if err := b.Entity(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Entity(second[0]); err == nil {
		t.Error("one pack used an id twice")
	}
	b.Pack(Pack{Name: "third"})
	if err := b.Entity(Entity{ID: "e", Test: true}); err == nil {
		t.Error("a later pack made an entity a test")
	}
	set, err := b.Set()
	if err != nil {
		t.Fatal(err)
	}
	if all := slices.Collect(set.Entities()); len(all) != 1 || all[0].Name != "E" {
		t.Errorf("%d entities listed", len(all))
	}
	for addr, pack := range map[string]string{"5.6.7.8": "0", "5.6.7.9": "1"} {
		ms := set.Match(flowTo(addr), testNow)
		if len(ms) != 1 || ms[0].Entity.Name != "E" || len(ms[0].Designations) != 1 || ms[0].Indicator.Pack != pack {
			t.Errorf("%s: got %+v", addr, ms)
		}
	}
}

// TestProvenanceIsNeverMixed holds that sharing what indicators have in common
// never gives one the provenance of another.
func TestProvenanceIsNeverMixed(t *testing.T) {
	set := compileTest(t, `
id: e
name: E
kind: organisation
sources: [{id: s, name: S}]
indicators:
  - {type: ip, value: 5.6.7.1, role: a b, note: c, confidence: high, sources: [{source: s}]}
  - {type: ip, value: 5.6.7.2, role: a, note: b c, confidence: high, sources: [{source: s}]}
  - {type: ip, value: 5.6.7.3, role: a b, note: c, confidence: high, sources: [{source: s}]}
  - {type: ip, value: 5.6.7.4, holder: {name: H, listed: true}, confidence: high, sources: [{source: s}]}
  - {type: ip, value: 5.6.7.5, holder: {name: H, listed: false}, confidence: high, sources: [{source: s}]}
  - {type: ip, value: 5.6.7.6, holder: {name: H, listed: true}, confidence: high, sources: [{source: s}]}
  - {type: ip, value: 5.6.7.7, ports: [1], confidence: high, sources: [{source: s}]}
  - {type: ip, value: 5.6.7.8, ports: [2], confidence: high, sources: [{source: s}]}
`)
	var got []string
	for i := 1; i <= 8; i++ {
		in := set.Match(flowTo(fmt.Sprintf("5.6.7.%d", i)), testNow)[0].Indicator
		listed := in.Holder != nil && in.Holder.Listed
		got = append(got, fmt.Sprintf("%s|%s|%t|%v", in.Role, in.Note, listed, in.Ports))
	}
	want := []string{"a b|c|false|[]", "a|b c|false|[]", "a b|c|false|[]", "||true|[]", "||false|[]", "||true|[]", "||false|[1]", "||false|[2]"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(set.shared) != 6 {
		t.Errorf("%d provenances kept for 6", len(set.shared))
	}
}

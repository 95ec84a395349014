package pack

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/rules"
)

var day = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// key makes a key from a seed, so that tests are the same every time.
func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func statement(t testing.TB, by ed25519.PrivateKey, s Statement) Signed {
	t.Helper()
	if s.From.IsZero() {
		s.From = day.AddDate(-1, 0, 0)
	}
	if s.Serial == 0 {
		s.Serial = 1
	}
	if s.Names == nil && s.Role != RoleRoot {
		s.Names = []string{"sallyport"}
	}
	out, err := Delegate(by, s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func vendor(t testing.TB) *Signer {
	return &Signer{Key: key(2), Chain: []Signed{statement(t, key(1), Statement{Role: RoleVendor, Key: public(key(2))})}}
}

func entity(id string, values ...string) rules.Entity {
	e := rules.Entity{
		ID: id, Name: strings.ToUpper(id), Kind: rules.KindOrganisation, Test: true,
		Sources:      []rules.Source{{ID: "s", Name: "Source", Date: "2026-01-01"}},
		Designations: []rules.Designation{{Authority: "OFAC", Programme: "CYBER2", Confidence: rules.ConfidenceHigh, Sources: []string{"s"}}},
	}
	for _, v := range values {
		e.Indicators = append(e.Indicators, rules.Indicator{Type: rules.TypeIP, Value: v, Provenance: rules.Provenance{
			Confidence: rules.ConfidenceHigh, Sources: []rules.Claim{{Source: "s"}},
		}})
	}
	return e
}

const detectionText = "title: D\nid: 11111111-2222-4333-8444-555555555555\nlogsource: {category: network_connection, product: linux}\ndetection: {s: {attributed: true}, condition: s}\n"

func contents(version uint64) Contents {
	return Contents{
		Name: "sallyport", Version: version, Created: day, Expires: day.AddDate(0, 1, 0),
		Entities:   []rules.Entity{entity("one", "192.0.2.1", "192.0.2.2"), entity("two", "198.51.100.1")},
		Detections: map[string][]byte{"d.yml": []byte(detectionText)},
		ASN:        &ASNTable{Date: "2026-10-31", Source: "GeoLite2 ASN", Prefixes: map[string][]string{"AS64496": {"8.8.8.0/24", "10.0.0.0/8", "8.0.0.0/7"}}},
	}
}

func build(t testing.TB, c Contents, s *Signer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Build(&b, c, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.tar.zst")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t *testing.T, data []byte, trust Trust) *Pack {
	t.Helper()
	p, err := Open(file(t, data), trust)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var rootTrust = Trust{Root: public(key(1))}

func TestBuildAndOpen(t *testing.T) {
	data := build(t, contents(3), vendor(t))
	if !bytes.Equal(data, build(t, contents(3), vendor(t))) {
		t.Error("the same content gives other bytes")
	}
	p := mustOpen(t, data, rootTrust)
	if p.Role != RoleVendor || p.KeyID != KeyID(public(key(2))) || p.Ref().String() != "sallyport 3" {
		t.Errorf("pack %+v", p)
	}
	list, err := p.Entities()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(list, contents(3).Entities); d != "" {
		t.Errorf("entities (-got +want):\n%s", d)
	}
	rs, err := p.Detections(nil)
	if err != nil || len(rs) != 1 || rs[0].Title != "D" {
		t.Errorf("detections %v, %v", rs, err)
	}
	asn, err := p.ASN()
	if err != nil || !slices.Equal(asn.Prefixes["AS64496"], []string{"8.8.8.0/24"}) || len(asn.LeftOut) != 2 || asn.Date != "2026-10-31" {
		t.Errorf("prefixes %+v, %v", asn, err)
	}
	b := rules.NewBuilder(rules.Options{})
	if err := p.Feed(b); err != nil {
		t.Fatal(err)
	}
	if set, err := b.Set(); err != nil || set.Len() != 3 {
		t.Errorf("set of %d, %v", set.Len(), err)
	}
}

func TestLongLists(t *testing.T) {
	e := entity("one")
	for i := range 3 * plainIndicators {
		in := entity("x", fmt.Sprintf("2001:db8::%x", i+1)).Indicators[0]
		if i%3 == 0 {
			in.Ports = []uint16{443}
		}
		e.Indicators = append(e.Indicators, in)
	}
	c := contents(1)
	c.Entities = []rules.Entity{e}
	p := mustOpen(t, build(t, c, vendor(t)), rootTrust)
	list, err := p.Entities()
	if err != nil {
		t.Fatal(err)
	}
	key := func(in rules.Indicator) string { return in.Value + fmt.Sprint(in.Ports) }
	got, want := map[string]bool{}, map[string]bool{}
	for _, in := range list[0].Indicators {
		got[key(in)] = true
	}
	for _, in := range e.Indicators {
		want[key(in)] = true
	}
	if !cmp.Equal(got, want) || len(list[0].Indicators) != len(e.Indicators) || p.Count() != len(e.Indicators)-2 {
		t.Errorf("%d indicators came back of %d, %d of them as lines", len(list[0].Indicators), len(e.Indicators), p.Count())
	}
	b := rules.NewBuilder(rules.Options{})
	if err := p.Feed(b); err != nil {
		t.Fatal(err)
	}
	if set, err := b.Set(); err != nil || set.Len() != len(e.Indicators) {
		t.Errorf("set of %d, %v", set.Len(), err)
	}
}

func TestSignLater(t *testing.T) {
	unsigned := build(t, contents(1), nil)
	if _, err := Open(file(t, unsigned), rootTrust); !errors.Is(err, ErrUnsigned) {
		t.Errorf("an unsigned pack: %v", err)
	}
	p, err := OpenUnverified(file(t, unsigned))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Sign(&b, p, *vendor(t)); err != nil {
		t.Fatal(err)
	}
	if q := mustOpen(t, b.Bytes(), rootTrust); q.Digest != p.Digest {
		t.Error("signing changed the digest")
	}
	for name, s := range map[string]Signer{
		"another key":  {Key: key(9), Chain: vendor(t).Chain},
		"no chain":     {Key: key(2)},
		"another name": {Key: key(2), Chain: []Signed{statement(t, key(1), Statement{Role: RoleVendor, Key: public(key(2)), Names: []string{"other"}})}},
	} {
		if err := Sign(&b, p, s); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func TestTrust(t *testing.T) {
	root, root2, k := key(1), key(5), key(2)
	handOn := statement(t, root, Statement{Role: RoleRoot, Key: public(root2)})
	chain := func(s ...Signed) *Signer { return &Signer{Key: k, Chain: s} }
	direct := func(by ed25519.PrivateKey, s Statement) Signed {
		s.Role, s.Key = RoleVendor, public(k)
		return statement(t, by, s)
	}
	seen := func(s Seen) Trust { return Trust{Root: public(root), Seen: s} }
	for _, tt := range []struct {
		name   string
		signer *Signer
		trust  Trust
		want   error // nil: opens
	}{
		{"direct", chain(direct(root, Statement{})), rootTrust, nil},
		{"another root", chain(direct(root, Statement{})), Trust{Root: public(root2)}, ErrUntrusted},
		{"no root", chain(direct(root, Statement{})), Trust{}, ErrUntrusted},
		{"handed on", chain(handOn, direct(root2, Statement{})), rootTrust, nil},
		{"handed on, known", chain(handOn, direct(root2, Statement{})), seen(Seen{Root: public(root2)}), nil},
		{"new root pinned", chain(direct(root2, Statement{})), Trust{Root: public(root2)}, nil},
		{"old root after it handed on", chain(direct(root, Statement{})), seen(Seen{Root: public(root2)}), ErrUntrusted},
		{"root that is not the one handed on to", chain(statement(t, root, Statement{Role: RoleRoot, Key: public(key(7))}), direct(key(7), Statement{})), seen(Seen{Root: public(root2)}), ErrUntrusted},
		{"statement by a stranger", chain(direct(key(8), Statement{})), rootTrust, ErrUntrusted},
		{"replaced key", chain(direct(root, Statement{Serial: 1})), seen(Seen{Serials: map[Role]uint64{RoleVendor: 2}}), ErrUntrusted},
		{"newer key", chain(direct(root, Statement{Serial: 3})), seen(Seen{Serials: map[Role]uint64{RoleVendor: 2}}), nil},
		{"same version, other content", chain(direct(root, Statement{})), seen(Seen{Packs: map[string]Latest{"sallyport": {3, "x"}}}), ErrOlder},
		{"older version", chain(direct(root, Statement{})), seen(Seen{Packs: map[string]Latest{"sallyport": {4, "x"}}}), ErrOlder},
		{"newer version", chain(direct(root, Statement{})), seen(Seen{Packs: map[string]Latest{"sallyport": {2, "x"}}}), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(file(t, build(t, contents(3), tt.signer)), tt.trust)
			if !errors.Is(err, tt.want) || (tt.want == nil && err != nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestForgedChains signs what an honest Sign refuses.
func TestForgedChains(t *testing.T) {
	p, err := OpenUnverified(file(t, build(t, contents(1), nil)))
	if err != nil {
		t.Fatal(err)
	}
	k := key(2)
	forge := func(mutate func(*Statement)) *signature {
		s := Statement{Role: RoleVendor, Key: public(k)}
		mutate(&s)
		return &signature{Chain: []Signed{statement(t, key(1), s)}, Sig: ed25519.Sign(k, append([]byte(manifestContext), p.manifest...))}
	}
	wrongContext := forge(func(*Statement) {})
	wrongContext.Sig = ed25519.Sign(k, p.manifest)
	long := forge(func(*Statement) {})
	for range maxChain {
		long.Chain = append(long.Chain, long.Chain[0])
	}
	for name, sig := range map[string]*signature{
		"other pack's key": forge(func(s *Statement) { s.Names = []string{"other"} }),
		"ended":            forge(func(s *Statement) { s.Until = day.AddDate(0, 0, -1) }),
		"not begun":        forge(func(s *Statement) { s.From = day.AddDate(0, 0, 1) }),
		"root as signer":   forge(func(s *Statement) { s.Role = RoleRoot }),
		"other key":        forge(func(s *Statement) { s.Key = public(key(3)) }),
		"no context":       wrongContext,
		"long chain":       long,
		"empty":            {},
	} {
		var b bytes.Buffer
		if err := p.write(&b, sig); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(file(t, b.Bytes()), rootTrust); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestSeenGrows(t *testing.T) {
	handOn := statement(t, key(1), Statement{Role: RoleRoot, Key: public(key(5)), Serial: 4})
	s := &Signer{Key: key(2), Chain: []Signed{handOn, statement(t, key(5), Statement{Role: RoleVendor, Key: public(key(2)), Serial: 7})}}
	p := mustOpen(t, build(t, contents(3), s), rootTrust)
	path := filepath.Join(t.TempDir(), "seen.json")
	before, err := ReadSeen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteSeen(path, before.Accept(p)); err != nil {
		t.Fatal(err)
	}
	got, err := ReadSeen(path)
	want := Seen{Root: public(key(5)), Serials: map[Role]uint64{RoleRoot: 4, RoleVendor: 7}, Packs: map[string]Latest{"sallyport": {3, p.Digest}}}
	if d := cmp.Diff(got, want); d != "" || err != nil {
		t.Errorf("seen (-got +want), %v:\n%s", err, d)
	}
	trust := Trust{Root: public(key(1)), Seen: got}
	mustOpen(t, build(t, contents(3), s), trust) // the same pack again is no step back
	if _, err := Open(file(t, build(t, contents(2), s)), trust); !errors.Is(err, ErrOlder) {
		t.Errorf("an older pack: %v", err)
	}
	c := contents(2)
	c.Version, c.RollbackOf = 4, 2
	mustOpen(t, build(t, c, s), trust) // a rollback is a higher version
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSeen(path); err == nil {
		t.Error("a broken state file was taken for an empty one")
	}
}

func TestStale(t *testing.T) {
	s := vendor(t)
	s.Chain = []Signed{statement(t, key(1), Statement{Role: RoleVendor, Key: public(key(2)), Until: day.AddDate(0, 0, 10)})}
	p := mustOpen(t, build(t, contents(1), s), rootTrust)
	for days, want := range map[int]string{5: "", 11: "the key that signed", 40: "expired on 2026-12-01"} {
		reason, stale := p.Stale(day.AddDate(0, 0, days))
		if stale != (want != "") || !strings.Contains(reason, want) {
			t.Errorf("after %d days: %q", days, reason)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, change := range map[string]func(*Contents){
		"twice":           func(c *Contents) { c.Entities = append(c.Entities, c.Entities[0]) },
		"special use":     func(c *Contents) { e := entity("x", "10.0.0.1"); e.Test = false; c.Entities = []rules.Entity{e} },
		"own":             func(c *Contents) { c.Own = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")} },
		"version":         func(c *Contents) { c.Version = 0 },
		"allow-list":      func(c *Contents) { c.Allow = []byte("allow: [{value: 192.0.2.1}]") },
		"approved tools":  func(c *Contents) { c.Approved = []byte("approve: []") },
		"expiry":          func(c *Contents) { c.Expires = c.Created },
		"name":            func(c *Contents) { c.Name = "../x" },
		"rollback":        func(c *Contents) { c.RollbackOf = 3 },
		"detection":       func(c *Contents) { c.Detections["d.yml"] = []byte("title: x") },
		"detection path":  func(c *Contents) { c.Detections["../d.yml"] = []byte(detectionText) },
		"detection twice": func(c *Contents) { c.Detections["e.yml"] = []byte(detectionText) },
	} {
		c := contents(3)
		change(&c)
		if err := Build(&bytes.Buffer{}, c, vendor(t)); err == nil {
			t.Errorf("%s: built", name)
		}
	}
}

func TestCheckLocal(t *testing.T) {
	vendorPack := mustOpen(t, build(t, contents(1), vendor(t)), rootTrust)
	signer := &Signer{Key: key(3), Chain: []Signed{statement(t, key(1), Statement{Role: RoleLocal, Key: public(key(3)), Names: []string{"local", "sallyport"}})}}
	other := strings.Replace(detectionText, "1111", "9999", 1)
	for name, tt := range map[string]struct {
		change func(*Contents)
		ok     bool
	}{
		"adds":            {func(*Contents) {}, true},
		"entity's values": {func(c *Contents) { c.Entities = []rules.Entity{entity("one", "192.0.2.200")} }, true},
		"detection file":  {func(c *Contents) { c.Detections = map[string][]byte{"d.yml": []byte(other)} }, false},
		"detection id":    {func(c *Contents) { c.Detections = map[string][]byte{"l.yml": []byte(detectionText)} }, false},
		"name":            {func(c *Contents) { c.Name = "sallyport" }, false},
	} {
		c := Contents{
			Name: "local", Version: 1, Created: day, Expires: day.AddDate(1, 0, 0), Entities: []rules.Entity{entity("mine", "203.0.113.1")},
			Detections: map[string][]byte{"l.yml": []byte(other)},
		}
		tt.change(&c)
		local := mustOpen(t, build(t, c, signer), rootTrust)
		if err := CheckLocal(vendorPack, local); (err == nil) != tt.ok || (err != nil && !errors.Is(err, ErrLocalChanges)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "root")
	pub, err := WriteKeyPair(prefix)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ReadPrivateKey(prefix + ".key")
	if err != nil || !public(private).Equal(pub) {
		t.Errorf("private key: %v", err)
	}
	if read, err := ReadPublicKey(prefix + ".pub"); err != nil || !read.Equal(pub) {
		t.Errorf("public key: %v", err)
	}
	if st, err := os.Stat(prefix + ".key"); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, err := WriteKeyPair(prefix); err == nil {
		t.Error("a key was overwritten")
	}
	if _, err := ReadPrivateKey(prefix + ".pub"); err == nil {
		t.Error("a public key was read as private")
	}
	path := filepath.Join(t.TempDir(), "chain.json")
	if err := WriteChain(path, vendor(t).Chain); err != nil {
		t.Fatal(err)
	}
	if chain, err := ReadChain(path); err != nil || !cmp.Equal(chain, vendor(t).Chain) {
		t.Errorf("chain: %v", err)
	}
}

func TestPolicies(t *testing.T) {
	c := contents(1)
	p := mustOpen(t, build(t, c, vendor(t)), rootTrust)
	if allow, approved, err := p.Policies(); allow != nil || approved != nil || err != nil {
		t.Errorf("policies of a pack without: %v, %v, %v", allow, approved, err)
	}
	c.Allow = []byte("allow: [{value: 192.0.2.1, reason: ours, author: me, until: \"2027-01-01\"}]")
	c.Approved = []byte("approved: [{product: AnyDesk, reason: help desk, author: me, until: \"2027-01-01\"}]")
	p = mustOpen(t, build(t, c, vendor(t)), rootTrust)
	allow, approved, err := p.Policies()
	if err != nil || len(allow.Allow) != 1 || len(approved.Approved) != 1 {
		t.Errorf("policies: %v, %v, %v", allow, approved, err)
	}
}

// TestSameContentMakesTheSamePack: whoever builds, wherever and however often.
func TestSameContentMakesTheSamePack(t *testing.T) {
	one, two := build(t, contents(3), vendor(t)), build(t, contents(3), vendor(t))
	if !bytes.Equal(one, two) {
		t.Error("two builds of the same content differ")
	}
	later := contents(4)
	later.Created = later.Created.AddDate(0, 0, 1)
	a, b := mustOpen(t, one, rootTrust), mustOpen(t, build(t, later, vendor(t)), rootTrust)
	if a.Digest == b.Digest || a.Content() != b.Content() {
		t.Error("a later version of the same content must differ in its digest, not in its content")
	}
	later.Detections = nil
	if mustOpen(t, build(t, later, vendor(t)), rootTrust).Content() == a.Content() {
		t.Error("another content passes for the same")
	}
}

package agent

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"sallyport/agent/control"
	"sallyport/rules"
	"sallyport/rules/pack"
)

// authority is the keys of a test's own vendor and site.
type authority struct {
	dir           string
	vendor, local pack.Signer
	root          string // file of the public key
	rootKey       ed25519.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	private := func(name string) ed25519.PrivateKey {
		if _, err := pack.WriteKeyPair(filepath.Join(a.dir, name)); err != nil {
			t.Fatal(err)
		}
		key, err := pack.ReadPrivateKey(filepath.Join(a.dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	a.rootKey, a.root = private("root"), filepath.Join(a.dir, "root.pub")
	a.vendor = a.signer(t, private("vendor"), pack.RoleVendor, 1, "vendor", "sallyport", "second")
	a.local = a.signer(t, private("local"), pack.RoleLocal, 1, "local", "sallyport")
	return a
}

func (a *authority) signer(t *testing.T, key ed25519.PrivateKey, role pack.Role, serial uint64, names ...string) pack.Signer {
	t.Helper()
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no public key")
	}
	s, err := pack.Delegate(a.rootKey, pack.Statement{Role: role, Key: public, Serial: serial, Names: names})
	if err != nil {
		t.Fatal(err)
	}
	return pack.Signer{Key: key, Chain: []pack.Signed{s}}
}

// content is a pack of one test entity.
func content(name string, version uint64, values ...string) pack.Contents {
	e := rules.Entity{ID: name + "-entity", Name: "Entity of " + name, Kind: rules.KindOrganisation, Test: true, Sources: []rules.Source{{ID: "s", Name: "S", Date: "2026-11-01"}}}
	for _, v := range values {
		in := rules.Indicator{Type: rules.TypeIP, Value: v, Provenance: rules.Provenance{Confidence: rules.ConfidenceHigh, Sources: []rules.Claim{{Source: "s", LastSeen: "2026-11-01"}}}}
		if strings.HasPrefix(v, "AS") {
			in.Type, in.Holder = rules.TypeASN, &rules.Holder{Name: "H", Listed: true}
		}
		e.Indicators = append(e.Indicators, in)
	}
	created := time.Now().UTC().Add(-time.Hour)
	return pack.Contents{Name: name, Version: version, Created: created, Expires: created.AddDate(0, 1, 0), Entities: []rules.Entity{e}}
}

func writePack(t *testing.T, path string, c pack.Contents, s *pack.Signer) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := pack.Build(f, c, s); err != nil {
		t.Fatal(err)
	}
	return path
}

// packConfig judges by packs of a folder alone.
func packConfig(t *testing.T, a *authority) Config {
	t.Helper()
	t.Setenv(hostEnv, "testhost")
	dir := t.TempDir()
	path := filepath.Join(dir, "agent.yaml")
	text := fmt.Sprintf("state_dir: %s\nmetrics: \"\"\nrules: {shipped: false, trust: %s, packs: [%s]}\n", filepath.Join(dir, "state"), a.root, dir)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPacksThatCannotBeVerifiedAreRefused(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	detection := func(id string) map[string][]byte {
		return map[string][]byte{"d.yml": []byte("title: T\nid: " + id + "\nlogsource: {category: network_connection, product: linux}\ndetection: {s: {DestinationPort: 1}, condition: s}\n")}
	}
	const id = "44444444-4444-4444-8444-444444444444"
	tests := []struct {
		name  string
		write func(dir string)
		want  error
	}{
		{"unsigned", func(dir string) { writePack(t, dir+"/a.pack", content("vendor", 1, "192.0.2.1"), nil) }, pack.ErrUnsigned},
		{"signed under another root", func(dir string) { writePack(t, dir+"/a.pack", content("vendor", 1, "192.0.2.1"), &other.vendor) }, pack.ErrUntrusted},
		{"not a pack", func(dir string) { _ = os.WriteFile(dir+"/a.pack", []byte("pack"), 0o600) }, pack.ErrCorrupt},
		{"a detection of the vendor's in a local pack", func(dir string) {
			v, l := content("vendor", 1, "192.0.2.1"), content("local", 1, "192.0.2.2")
			v.Detections, l.Detections = detection(id), detection(id)
			writePack(t, dir+"/v.pack", v, &a.vendor)
			writePack(t, dir+"/l.pack", l, &a.local)
		}, pack.ErrLocalChanges},
		{"the vendor's name", func(dir string) { writePack(t, dir+"/l.pack", content("sallyport", 1, "192.0.2.2"), &a.local) }, pack.ErrLocalChanges},
		{"two of one version", func(dir string) {
			writePack(t, dir+"/a.pack", content("vendor", 1, "192.0.2.1"), &a.vendor)
			writePack(t, dir+"/b.pack", content("vendor", 1, "192.0.2.2"), &a.vendor)
		}, errors.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := packConfig(t, a)
			tt.write(cfg.Rules.Packs[0])
			_, err := loadRules(cfg, "test")
			if err == nil || (tt.want != errors.ErrUnsupported && !errors.Is(err, tt.want)) || !strings.Contains(err.Error(), "rules.packs") {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestCollectorsPacksDoNotKeepTheAgentFromStarting holds that what came over the
// network is left out where what an operator named would be an error.
func TestCollectorsPacksDoNotKeepTheAgentFromStarting(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	tests := []struct {
		name  string
		write func(path string)
	}{
		{"another root", func(path string) { writePack(t, path, content("local", 1, "192.0.2.9"), &other.local) }},
		{"damaged", func(path string) { _ = os.WriteFile(path, []byte("pack"), 0o600) }},
		{"a detection that ships by now", func(path string) {
			shipped, err := os.ReadFile("../rules/detections/attributed_contact.yml")
			if err != nil {
				t.Fatal(err)
			}
			c := content("local", 1, "192.0.2.9")
			c.Detections = map[string][]byte{"mine.yml": shipped}
			writePack(t, path, c, &a.local)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := packConfig(t, a)
			cfg.Rules.Packs, cfg.Rules.Shipped, cfg.Rules.Fetch.Enabled = nil, true, true
			if err := os.MkdirAll(filepath.Join(cfg.StateDir, fetchedDir), 0o700); err != nil {
				t.Fatal(err)
			}
			tt.write(filepath.Join(cfg.StateDir, fetchedDir, "local.pack"))
			l, err := startRules(cfg, "test")
			if err != nil {
				t.Fatal(err)
			}
			if d := l.standing.complaints(time.Now()); len(d) != 1 || !strings.Contains(d[0], "not in force") || len(l.set.PackNames()) != 1 {
				t.Errorf("complaints %q, in force %q", d, l.set.PackNames())
			}
		})
	}
}

func TestNewestPackOfANameIsInForce(t *testing.T) {
	a := newAuthority(t)
	cfg := packConfig(t, a)
	dir := cfg.Rules.Packs[0]
	writePack(t, dir+"/1.pack", content("vendor", 1, "192.0.2.1"), &a.vendor)
	writePack(t, dir+"/2.pack", content("vendor", 2, "192.0.2.2"), &a.vendor)
	for range 2 { // the second time the old one falls behind what was in force
		l, err := loadRules(cfg, "test")
		if err != nil {
			t.Fatal(err)
		}
		if got := l.set.PackNames(); !slices.Equal(got, []string{"vendor 2"}) {
			t.Errorf("in force: %q", got)
		}
		if err := l.accept(cfg.StateDir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(dir + "/2.pack"); err != nil {
		t.Fatal(err)
	}
	if _, err := loadRules(cfg, "test"); !errors.Is(err, pack.ErrOlder) {
		t.Errorf("the older pack alone: %v", err)
	}
	back := content("vendor", 3, "192.0.2.1")
	back.RollbackOf = 1
	writePack(t, dir+"/3.pack", back, &a.vendor)
	if l, err := loadRules(cfg, "test"); err != nil || l.set.PackNames()[0] != "vendor 3" {
		t.Errorf("the rollback: %v", err)
	}
}

// TestPackReplacesWhatShips holds that a vendor's pack of the same name can take
// an entity away, and that a local one can only add to it.
func TestPackReplacesWhatShips(t *testing.T) {
	a := newAuthority(t)
	cfg := packConfig(t, a)
	cfg.Rules.Shipped = true
	dir := cfg.Rules.Packs[0]
	writePack(t, dir+"/v.pack", content("sallyport", 1, "192.0.2.1"), &a.vendor)
	local := content("local", 1, "192.0.2.9")
	local.Entities[0].ID, local.Entities[0].Name = "sallyport-entity", "Another name"
	local.Allow = []byte("allow: [{value: 192.0.2.9, reason: ours, author: me, until: \"2100-01-01\"}]")
	writePack(t, dir+"/l.pack", local, &a.local)
	l, err := loadRules(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	if got := l.set.PackNames(); !slices.Equal(got, []string{"sallyport 1", "local 1"}) {
		t.Errorf("in force: %q", got)
	}
	m, err := l.set.Lookup("192.0.2.9", time.Now())
	if err != nil || len(m) != 1 || m[0].Entity.Name != "Entity of sallyport" {
		t.Errorf("what the local pack adds: %+v, %v", m, err)
	}
	if len(l.judge.Allow.Allow) != 1 {
		t.Error("the pack's allow-list is not in force")
	}
}

func TestOwnPrefixesAreLeftOut(t *testing.T) {
	a := newAuthority(t)
	cfg := packConfig(t, a)
	cfg.Rules.Own = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}
	writePack(t, cfg.Rules.Packs[0]+"/v.pack", content("vendor", 1, "192.0.2.1", "192.0.2.200"), &a.vendor)
	l, err := loadRules(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	if l.set.Len() != 1 || len(l.set.LeftOut()) != 1 {
		t.Errorf("%d in force, left out %+v", l.set.Len(), l.set.LeftOut())
	}
}

func TestSystemsOfAPack(t *testing.T) {
	a := newAuthority(t)
	cfg := packConfig(t, a)
	c := content("vendor", 1, "AS203273")
	c.Entities[0].Test = false
	c.ASN = &pack.ASNTable{Date: "2026-11-01", Source: "db", Prefixes: map[string][]string{"AS203273": {"9.9.8.0/24"}, "AS203274": {"9.9.7.0/24"}}}
	writePack(t, cfg.Rules.Packs[0]+"/v.pack", c, &a.vendor)
	l, err := loadRules(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	o := rules.Observation{Remote: rules.Endpoint{Addr: netip.MustParseAddr("9.9.8.7")}, Last: time.Now()}
	l.systems.attribute(&o)
	if m := l.set.Match(&o, time.Now()); len(m) != 1 || len(o.Notes) != 1 || !strings.Contains(o.Notes[0], "2026-11-01") {
		t.Errorf("matches %+v, notes %q", m, o.Notes)
	}
	other := rules.Observation{Remote: rules.Endpoint{Addr: netip.MustParseAddr("9.9.7.7")}}
	l.systems.attribute(&other)
	if other.Geo != nil {
		t.Error("a system that no indicator names was given")
	}
	if got := l.systems.searches([]rules.Tie{{Type: rules.TypeASN, Value: "AS203273"}}); len(got) != 2 || got[1].Value != "9.9.8.0/24" {
		t.Errorf("searches %+v", got)
	}
}

// opened is an agent with everything but running stages.
func opened(t *testing.T, cfg Config) *Agent {
	t.Helper()
	a := New(cfg, "test", os.Stderr, hclog.NewNullLogger())
	closeAll, err := a.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeAll(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func TestReloadedPackIsMatchedAgainstTheHistory(t *testing.T) {
	keys := newAuthority(t)
	cfg := packConfig(t, keys)
	dir := cfg.Rules.Packs[0]
	detection := []byte("title: Contact\nid: 55555555-5555-4555-8555-555555555555\nlevel: high\nlogsource: {category: network_connection, product: linux}\ndetection: {s: {attributed: true}, condition: s}\n")
	first := content("vendor", 1, "192.0.2.1")
	first.Detections = map[string][]byte{"contact.yml": detection}
	writePack(t, dir+"/v.pack", first, &keys.vendor)
	a := opened(t, cfg)
	past := rules.Observation{
		FlowID: "f", Host: cfg.Host, Sensor: "socket", Transport: rules.TCP, Direction: rules.Outbound, Outcome: rules.OutcomeData, Closed: true,
		Local: rules.Endpoint{Addr: netip.MustParseAddr("198.18.0.1"), Port: 4000}, Remote: rules.Endpoint{Addr: netip.MustParseAddr("192.0.2.77"), Port: 443},
		First: time.Now().Add(-time.Hour), Last: time.Now().Add(-time.Hour),
		Owner: rules.Owner{Attribution: rules.AttributionUnknown}, Identification: rules.Identification{Protocol: "none"},
	}
	a.history.Add(&past)
	if err := a.history.Flush(); err != nil {
		t.Fatal(err)
	}
	next := first
	next.Version, next.Entities = 2, content("vendor", 2, "192.0.2.1", "192.0.2.77").Entities
	writePack(t, dir+"/v.pack", next, &keys.vendor)
	if said, err := a.Reload(t.Context(), ""); err != nil || !strings.Contains(said, "1 values are new") {
		t.Fatalf("reload: %s, %v", said, err)
	}
	ctx := t.Context()
	go func() { _ = a.lookBack(ctx) }()
	go func() { _ = a.control.Run(ctx) }()
	client := control.NewClient(cfg.StateDir)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		found, err := client.Findings(ctx)
		if err == nil && len(found) > 0 {
			if f := found[0]; !f.Retro || f.Matches[0].Value != "192.0.2.77" || f.Agent.Pack != "vendor 2" {
				t.Errorf("finding %+v", f)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no finding from the history: %v", err)
		}
	}
	// What cannot be verified changes nothing.
	writePack(t, dir+"/v.pack", content("vendor", 9, "192.0.2.3", "192.0.2.4"), nil)
	if _, err := a.Reload(ctx, ""); !errors.Is(err, pack.ErrUnsigned) {
		t.Errorf("an unsigned pack: %v", err)
	}
	if got := a.live.Set().PackNames(); !slices.Equal(got, []string{"vendor 2"}) {
		t.Errorf("in force afterwards: %q", got)
	}
}

func TestStalePackStaysInForceAndIsReported(t *testing.T) {
	keys := newAuthority(t)
	cfg := packConfig(t, keys)
	c := content("vendor", 1, "192.0.2.1")
	c.Created, c.Expires = time.Now().AddDate(0, -2, 0), time.Now().AddDate(0, -1, 0)
	writePack(t, cfg.Rules.Packs[0]+"/v.pack", c, &keys.vendor)
	a := opened(t, cfg)
	if a.live.Set().Len() != 1 {
		t.Error("the pack is not in force")
	}
	if d := a.Heartbeat().Degraded; !slices.ContainsFunc(d, func(s string) bool { return strings.Contains(s, "pack vendor 1 expired on") }) {
		t.Errorf("degraded: %q", d)
	}
	a.reportStale(t.Context(), time.Now())
	if n := a.spool.State().Findings; n != 1 {
		t.Errorf("%d findings in the spool", n)
	}
}

// TestKeyRotation goes the whole way: a pack under a new statement comes into force
// without a restart, and from then on the lost key opens nothing any more, on a
// running agent and on one that starts.
func TestKeyRotation(t *testing.T) {
	keys := newAuthority(t)
	cfg := packConfig(t, keys)
	dir := cfg.Rules.Packs[0]
	writePack(t, dir+"/v.pack", content("sallyport", 1, "192.0.2.1"), &keys.vendor)
	a := opened(t, cfg)
	if _, err := pack.WriteKeyPair(filepath.Join(keys.dir, "next")); err != nil {
		t.Fatal(err)
	}
	private, err := pack.ReadPrivateKey(filepath.Join(keys.dir, "next.key"))
	if err != nil {
		t.Fatal(err)
	}
	next := keys.signer(t, private, pack.RoleVendor, 2, "sallyport", "second")
	writePack(t, dir+"/v.pack", content("sallyport", 2, "192.0.2.1", "192.0.2.2"), &next)
	if _, err := a.Reload(t.Context(), ""); err != nil || a.live.Set().Len() != 2 {
		t.Fatalf("the new key: %v, %d indicators", err, a.live.Set().Len())
	}
	writePack(t, dir+"/v.pack", content("sallyport", 3, "192.0.2.3", "192.0.2.4"), &keys.vendor)
	if _, err := a.Reload(t.Context(), ""); !errors.Is(err, pack.ErrUntrusted) || a.live.Set().Len() != 2 {
		t.Errorf("the lost key on a running agent: %v, %d indicators", err, a.live.Set().Len())
	}
	if _, err := loadRules(cfg, "test"); !errors.Is(err, pack.ErrUntrusted) {
		t.Errorf("the lost key at a start: %v", err)
	}
	writePack(t, dir+"/v.pack", content("sallyport", 4, "192.0.2.1", "192.0.2.5"), &next)
	writePack(t, dir+"/w.pack", content("second", 1, "192.0.2.6"), &keys.vendor)
	if _, err := a.Reload(t.Context(), ""); !errors.Is(err, pack.ErrUntrusted) {
		t.Errorf("another pack under the lost key: %v", err)
	}
	writePack(t, dir+"/w.pack", content("second", 1, "192.0.2.6"), &next)
	if _, err := a.Reload(t.Context(), ""); err != nil || a.live.Set().Len() != 3 {
		t.Errorf("all signed anew: %v, %d indicators", err, a.live.Set().Len())
	}
}

func TestSystemsFollowTheDatabase(t *testing.T) {
	keys := newAuthority(t)
	cfg := packConfig(t, keys)
	c := content("vendor", 1, "AS203273")
	c.Entities[0].Test = false
	writePack(t, cfg.Rules.Packs[0]+"/v.pack", c, &keys.vendor)
	cfg.Enrich.GeoIP.ASN = filepath.Join(t.TempDir(), "asn.mmdb")
	database := func(prefix string) {
		tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-ASN", RecordSize: 24})
		if err != nil {
			t.Fatal(err)
		}
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(203273)}); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(cfg.Enrich.GeoIP.ASN + ".new")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := tree.WriteTo(f); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(f.Name(), cfg.Enrich.GeoIP.ASN); err != nil {
			t.Fatal(err)
		}
	}
	database("9.9.8.0/24")
	a := opened(t, cfg)
	known := func(addr string) bool { _, ok := a.systems.Load().find(netip.MustParseAddr(addr)); return ok }
	if !known("9.9.8.1") || known("9.9.7.1") {
		t.Error("the first database is not in force")
	}
	database("9.9.7.0/24")
	if err := a.refreshSystems(); err != nil || known("9.9.8.1") || !known("9.9.7.1") {
		t.Errorf("the second database is not in force: %v", err)
	}
	if err := os.Remove(cfg.Enrich.GeoIP.ASN); err != nil {
		t.Fatal(err)
	}
	if err := a.refreshSystems(); err == nil || !known("9.9.7.1") {
		t.Errorf("without a database the old prefixes must stay: %v", err)
	}
}

package feeds

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/packs"
	"sallyport/rules"
	"sallyport/rules/feed"
	"sallyport/rules/pack"
)

// signing makes a root, a local key and what lets it sign.
func signing(t *testing.T, dir string) Config {
	t.Helper()
	for _, name := range []string{"root", "local"} {
		if _, err := pack.WriteKeyPair(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := pack.ReadPrivateKey(filepath.Join(dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := pack.ReadPublicKey(filepath.Join(dir, "local.pub"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := pack.Delegate(root, pack.Statement{Role: pack.RoleLocal, Key: []byte(ed25519.PublicKey(public)), Serial: 1, Names: []string{"local"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Key, cfg.Chain = filepath.Join(dir, "local.key"), filepath.Join(dir, "local.chain")
	if err := pack.WriteChain(cfg.Chain, []pack.Signed{signed}); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// site is a runner and the packs it offers.
type site struct {
	*Runner
	dir   string
	packs *packs.Packs
}

func newSite(t *testing.T, sources ...Source) *site {
	t.Helper()
	dir := t.TempDir()
	cfg := signing(t, dir)
	cfg.Sources = sources
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	p := packs.New(packs.Config{Root: filepath.Join(dir, "root.pub")}, dir, hclog.NewNullLogger())
	return &site{New(cfg, dir, p, hclog.NewNullLogger()), dir, p}
}

// content is what agents are offered, each value with its entity.
func (s *site) content(t *testing.T) (version uint64, values []string) {
	t.Helper()
	held, err := s.packs.For(t.Context(), "any")
	if err != nil {
		t.Fatal(err)
	}
	if len(held) == 0 {
		return 0, nil
	}
	root, err := pack.ReadPublicKey(filepath.Join(s.dir, "root.pub"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := pack.Open(filepath.Join(s.dir, "packs", packs.All, held[0].Name+".pack"), pack.Trust{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	entities, err := p.Entities()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entities {
		for _, in := range e.Indicators {
			values = append(values, e.ID+" "+in.Value)
		}
	}
	slices.Sort(values)
	return held[0].Version, values
}

// list is a server of a plain list that changes.
type list struct {
	body   string
	status int
	asked  int
	whole  int // answers with a body
}

func (l *list) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.asked++
	if user, password, ok := r.BasicAuth(); !ok || user != "u" || password != "p" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if l.status != 0 {
		w.WriteHeader(l.status)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf("%q", l.body))
	if r.Header.Get("If-None-Match") == w.Header().Get("ETag") {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	l.whole++
	_, _ = io.WriteString(w, l.body)
}

func TestFetch(t *testing.T) {
	server := &list{body: "1.2.3.4\n1.2.3.5\n10.0.0.1\nnonsense here\n"}
	http := httptest.NewServer(server)
	defer http.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("u:p\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, Source{Name: "one", Kind: "list", URL: http.URL, Entity: "Somebody", Client: feed.ClientConfig{BasicFile: secret}})

	o, err := s.Fetch(t.Context(), "one", false)
	if err != nil || o.Indicators != 2 || o.Report.Rejected != 2 || len(o.Report.Rejections) != 2 || o.Succeeded.IsZero() || !o.Next.After(o.Tried) {
		t.Fatalf("first: %+v, %v", o, err)
	}
	version, values := s.content(t)
	want := []string{"somebody 1.2.3.4", "somebody 1.2.3.5"}
	if !slices.Equal(values, want) || version != o.Version {
		t.Errorf("offered: %d %q", version, values)
	}
	if _, err := s.Fetch(t.Context(), "one", false); err != nil || server.whole != 1 {
		t.Errorf("unchanged: %v, %d whole answers", err, server.whole)
	}

	for name, change := range map[string]func(){
		"shrunken": func() { server.body = "" },
		"broken":   func() { server.status = 500 },
		"refused":  func() { server.status = 403 },
	} {
		before := *server
		change()
		o, err := s.Fetch(t.Context(), "one", false)
		if err == nil || o.Failure == "" || o.Failures == 0 || o.Indicators != 2 || o.Next.Sub(o.Tried) > time.Hour {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
		if v, got := s.content(t); v != version || !slices.Equal(got, want) {
			t.Errorf("%s: offered %d %q", name, v, got)
		}
		server.status, server.body = before.status, before.body
	}
	server.body = "1.2.3.9\n1.2.3.8\n"
	o, err = s.Fetch(t.Context(), "one", false)
	if v, got := s.content(t); err != nil || o.Failures != 0 || o.Failure != "" || v <= version || got[0] != "somebody 1.2.3.8" {
		t.Errorf("changed: %v, %d %q", err, v, got)
	}
	server.body = ""
	if o, err := s.Fetch(t.Context(), "one", false); !errors.Is(err, feed.ErrShrunk) || o.Indicators != 2 {
		t.Errorf("empty: %+v, %v", o, err)
	}
	server.body = "1.2.3.9\n"
	if o, err := s.Fetch(t.Context(), "one", true); err != nil || o.Indicators != 1 {
		t.Errorf("forced: %+v, %v", o, err)
	}
	if p, err := pack.OpenUnverified(filepath.Join(s.dir, "packs", packs.All, o.Pack+".pack")); err != nil || !p.Manifest.Shrinks || !strings.Contains(p.Manifest.Note, "forced") {
		t.Errorf("the forced pack does not say so to its agents: %+v, %v", p, err)
	}
	if _, err := s.Fetch(t.Context(), "two", false); !errors.Is(err, ErrNoSource) {
		t.Errorf("unknown: %v", err)
	}
	// What came of it survives a restart.
	again := New(s.cfg, s.dir, s.packs, hclog.NewNullLogger())
	if got, err := again.Outcomes(); err != nil || len(got) != 1 || got[0].Indicators != 1 {
		t.Errorf("after a restart: %+v, %v", got, err)
	}
}

// write makes a list of a file.
func write(t *testing.T, path string, lines ...string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSourcesShareAPack(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t,
		Source{Name: "a", Kind: "list", URL: write(t, dir+"/a", "1.2.3.4", "1.2.3.5"), Entity: "integrity-technology-group"},
		Source{Name: "b", Kind: "list", URL: write(t, dir+"/b", "1.2.3.5", "1.2.3.6"), Entity: "integrity-technology-group"},
		Source{Name: "c", Kind: "list", URL: write(t, dir+"/c", "1.2.3.7")},
	)
	var last uint64
	for _, name := range []string{"a", "b", "c"} {
		o, err := s.Fetch(t.Context(), name, false)
		if err != nil || o.Version <= last {
			t.Fatalf("%s: version %d after %d, %v", name, o.Version, last, err)
		}
		last = o.Version
	}
	if _, got := s.content(t); len(got) != 4 {
		t.Errorf("offered %q", got)
	}
	set, err := s.Runner.dir.set("a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Runner.dir.set("b")
	if err != nil {
		t.Fatal(err)
	}
	both := joined(append(set, other...))
	i := slices.IndexFunc(both[0].Indicators, func(in rules.Indicator) bool { return in.Value == "1.2.3.5" })
	if len(both) != 1 || len(both[0].Indicators[i].Sources) != 2 || len(set[0].Indicators) != 2 {
		t.Errorf("side by side: %+v", both)
	}
}

func TestPackIsBuiltAnewBeforeItIsStale(t *testing.T) {
	server := &list{body: "1.2.3.4\n"}
	http := httptest.NewServer(server)
	defer http.Close()
	secret := write(t, filepath.Join(t.TempDir(), "secret"), "u:p")
	s := newSite(t, Source{Name: "one", Kind: "list", URL: http.URL, Client: feed.ClientConfig{BasicFile: secret}})
	first, err := s.Fetch(t.Context(), "one", false)
	if err != nil {
		t.Fatal(err)
	}
	old := first
	old.Built = time.Now().Add(-s.cfg.Life/2 - time.Minute)
	if err := s.Runner.dir.keep(old); err != nil {
		t.Fatal(err)
	}
	next, err := s.Fetch(t.Context(), "one", false)
	if err != nil || next.Version <= first.Version || server.whole != 1 || !next.Built.After(old.Built) {
		t.Errorf("version %d after %d, %d whole answers, %v", next.Version, first.Version, server.whole, err)
	}
}

func TestUnsignablePackChangesNothing(t *testing.T) {
	s := newSite(t, Source{Name: "one", Kind: "list", URL: write(t, filepath.Join(t.TempDir(), "a"), "1.2.3.4"), Pack: "other"})
	o, err := s.Fetch(t.Context(), "one", false)
	if !errors.Is(err, pack.ErrUntrusted) || o.Indicators != 0 || o.State.At != (time.Time{}) {
		t.Errorf("%+v, %v", o, err)
	}
}

// counting offers to nobody.
type counting struct{ added atomic.Int64 }

func (c *counting) Add(group string, source func(io.Writer) error) (packs.Held, error) {
	c.added.Add(1)
	return packs.Held{Group: group}, source(io.Discard)
}

func (*counting) List() ([]packs.Held, error) { return nil, nil }

// TestSchedule runs on synthetic time.
func TestSchedule(t *testing.T) {
	dir := t.TempDir()
	cfg := signing(t, dir)
	path := write(t, dir+"/list", "1.2.3.4")
	cfg.Sources = []Source{{Name: "a", Kind: "list", URL: path, Every: time.Hour}}
	synctest.Test(t, func(t *testing.T) {
		offer := &counting{}
		run := func(d time.Duration) int64 {
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- New(cfg, dir, offer, hclog.NewNullLogger()).Run(ctx) }()
			time.Sleep(d)
			synctest.Wait()
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			return offer.added.Swap(0)
		}
		if n := run(24 * time.Hour); n < 21 || n > 28 {
			t.Errorf("%d fetches in a day", n)
		}
		if n := run(time.Millisecond); n != 0 {
			t.Errorf("%d fetches at a restart", n)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if n := run(12 * time.Hour); n != 0 {
			t.Errorf("%d packs of a feed that is gone", n)
		}
		o, err := New(cfg, dir, offer, hclog.NewNullLogger()).Outcomes()
		if err != nil || o[0].Failures < 8 || o[0].Failures > 20 || o[0].Indicators != 1 {
			t.Errorf("after 12 hours of failure: %+v, %v", o, err)
		}
	})
}

func TestConfigRefuses(t *testing.T) {
	good := Source{Name: "a", Kind: "list", URL: "https://feeds.example/list"}
	for name, edit := range map[string]func(*Config){
		"no key":      func(c *Config) { c.Key = "" },
		"relative":    func(c *Config) { c.Chain = "x" },
		"short life":  func(c *Config) { c.Life = time.Minute },
		"twice":       func(c *Config) { c.Sources = append(c.Sources, good) },
		"name":        func(c *Config) { c.Sources[0].Name = "../a" },
		"kind":        func(c *Config) { c.Sources[0].Kind = "fax" },
		"url":         func(c *Config) { c.Sources[0].URL = "ftp://x/y" },
		"password":    func(c *Config) { c.Sources[0].URL = "https://u:p@x/y" },
		"often":       func(c *Config) { c.Sources[0].Every = time.Second },
		"confidence":  func(c *Config) { c.Sources[0].Confidence = "sure" },
		"two secrets": func(c *Config) { c.Sources[0].Client = feed.ClientConfig{BasicFile: "a", TokenFile: "b"} },
		"pack":        func(c *Config) { c.Sources[0].Pack = "A B" },
		"entity":      func(c *Config) { c.Sources[0].Entity = "??" },
	} {
		c := DefaultConfig()
		c.Key, c.Chain, c.Sources = "/k", "/c", []Source{good}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		edit(&c)
		if c.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

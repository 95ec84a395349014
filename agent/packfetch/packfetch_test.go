package packfetch

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
	"sallyport/rules/pack"
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(t *testing.T, k ed25519.PrivateKey) ed25519.PublicKey {
	t.Helper()
	p, ok := k.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no public key")
	}
	return p
}

var created = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// archive is a pack signed under the root of the given number, 0 for none.
func archive(t *testing.T, name string, version uint64, root byte) []byte {
	t.Helper()
	c := pack.Contents{Name: name, Version: version, Created: created, Expires: created.AddDate(1, 0, 0)}
	var s *pack.Signer
	if root != 0 {
		signed, err := pack.Delegate(key(root), pack.Statement{Role: pack.RoleVendor, Key: public(t, key(9)), Serial: 1, Names: []string{"one", "two"}})
		if err != nil {
			t.Fatal(err)
		}
		s = &pack.Signer{Key: key(9), Chain: []pack.Signed{signed}}
	}
	var b bytes.Buffer
	if err := pack.Build(&b, c, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fake is a collector of the test's own.
type fake struct {
	offers map[string]uint64
	files  map[string][]byte
	asked  []string // "path status"
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := f.files[strings.TrimPrefix(r.URL.Path, rules.PathPacks+"/")]
	if r.URL.Path == rules.PathPacks {
		var list rules.PackList
		for name, version := range f.offers {
			list.Packs = append(list.Packs, rules.PackOffer{Name: name, Version: version, SHA256: sum(f.files[name])})
		}
		body, _ = json.Marshal(list)
	}
	etag := `"` + sum(body) + `"`
	w.Header().Set("ETag", etag)
	status := http.StatusOK
	switch {
	case body == nil:
		status = http.StatusNotFound
	case r.Header.Get("If-None-Match") == etag:
		status = http.StatusNotModified
	}
	f.asked = append(f.asked, r.URL.Path+" "+http.StatusText(status))
	w.WriteHeader(status)
	if status == http.StatusOK {
		_, _ = w.Write(body)
	}
}

func sum(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

// host is the agent's side.
type host struct {
	*Fetcher
	dir      string
	seen     pack.Seen
	enforced int
	refuse   error
}

func newHost(t *testing.T, collector http.Handler) *host {
	t.Helper()
	server := httptest.NewServer(collector)
	t.Cleanup(server.Close)
	h := &host{dir: filepath.Join(t.TempDir(), "packs")}
	h.Fetcher = New(Config{Enabled: true, Every: time.Minute}, h.dir, Agent{
		Collector: func() (*http.Client, string, error) { return &http.Client{}, server.URL, nil },
		Trust:     func() (pack.Trust, error) { return pack.Trust{Root: public(t, key(1)), Seen: h.seen}, nil },
		Enforce:   func(context.Context) error { h.enforced++; return h.refuse },
	}, hclog.NewNullLogger())
	return h
}

// files is what lies in the folder.
func (h *host) files(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(h.dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = sum(data)
	}
	return out
}

func TestPollTakesWhatIsNew(t *testing.T) {
	f := &fake{offers: map[string]uint64{"one": 1}, files: map[string][]byte{"one": archive(t, "one", 1, 1)}}
	h := newHost(t, f)
	for range 2 {
		if err := h.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.files(t); len(got) != 1 || got["one.pack"] != sum(f.files["one"]) || h.enforced != 1 {
		t.Errorf("folder %v, enforced %d times", got, h.enforced)
	}
	if want := "/v1/packs OK,/v1/packs/one OK,/v1/packs Not Modified"; strings.Join(f.asked, ",") != want {
		t.Errorf("asked %q, want %q", f.asked, want)
	}
	f.offers["two"], f.files["two"], f.asked = 4, archive(t, "two", 4, 1), nil
	if err := h.Poll(t.Context()); err != nil || len(h.files(t)) != 2 {
		t.Errorf("the second pack: %v", err)
	}
	if want := "/v1/packs OK,/v1/packs/two OK"; strings.Join(f.asked, ",") != want {
		t.Errorf("asked %q, want %q", f.asked, want)
	}
	delete(f.offers, "two")
	if err := h.Poll(t.Context()); err != nil || len(h.files(t)) != 2 {
		t.Errorf("a pack no longer offered must stay: %v", err)
	}
}

func TestPollRefuses(t *testing.T) {
	good := archive(t, "one", 1, 1)
	tests := []struct {
		name    string
		offer   string
		version uint64
		file    []byte
		want    string
	}{
		{"unsigned", "one", 2, archive(t, "one", 2, 0), pack.ErrUnsigned.Error()},
		{"another root", "one", 2, archive(t, "one", 2, 3), pack.ErrUntrusted.Error()},
		{"cut short", "one", 2, good[:len(good)-9], pack.ErrCorrupt.Error()},
		{"not a pack", "one", 2, []byte("hello"), pack.ErrCorrupt.Error()},
		{"older, and says so", "one", 1, archive(t, "one", 1, 1), pack.ErrOlder.Error()},
		{"older, and lies", "one", 9, archive(t, "one", 1, 1), pack.ErrOlder.Error()},
		{"another's name", "one", 2, archive(t, "two", 2, 1), `calls itself "two"`},
		{"a path for a name", "../one", 2, good, "none that a pack can have"},
		{"gone meanwhile", "one", 2, nil, "404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{offers: map[string]uint64{tt.offer: tt.version}, files: map[string][]byte{tt.offer: tt.file}}
			h := newHost(t, f)
			h.seen.Packs = map[string]pack.Latest{"one": {Version: 2, Digest: "x"}}
			if tt.version == 2 {
				h.seen.Packs = nil
			}
			for range 2 { // the list's ETag must not hide what went wrong
				err := h.Poll(t.Context())
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
			}
			if got := h.files(t); len(got) != 0 || h.enforced != 0 {
				t.Errorf("folder %v, enforced %d times", got, h.enforced)
			}
		})
	}
}

func TestWhatCannotBeInForceDoesNotStay(t *testing.T) {
	f := &fake{offers: map[string]uint64{"one": 1}, files: map[string][]byte{"one": archive(t, "one", 1, 1)}}
	h := newHost(t, f)
	if err := h.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := h.files(t)
	f.offers["one"], f.files["one"] = 2, archive(t, "one", 2, 1)
	f.offers["two"], f.files["two"] = 1, archive(t, "two", 1, 1)
	h.refuse = errors.New("less than half")
	if err := h.Poll(t.Context()); !errors.Is(err, h.refuse) {
		t.Errorf("got %v", err)
	}
	if got := h.files(t); len(got) != 1 || got["one.pack"] != before["one.pack"] {
		t.Errorf("folder %v, before %v", got, before)
	}
	if h.enforced != 4 { // once at first, then together, then each
		t.Errorf("enforced %d times", h.enforced)
	}
	h.refuse = nil
	if err := h.Poll(t.Context()); err != nil || len(h.files(t)) != 2 {
		t.Errorf("once it can be in force: %v, folder %v", err, h.files(t))
	}
}

func TestListsAreBounded(t *testing.T) {
	for name, body := range map[string]string{
		"long":    strings.Repeat(" ", maxList+1),
		"many":    `{"packs":[` + strings.Repeat(`{"name":"a"},`, maxOffers) + `{"name":"a"}]}`,
		"no JSON": "<html>",
	} {
		h := newHost(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		if err := h.Poll(t.Context()); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestRunAsksAtIntervals runs on synthetic time.
func TestRunAsksAtIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var polls atomic.Int64
		var works atomic.Bool
		f := New(Config{Every: time.Hour}, t.TempDir(), Agent{Collector: func() (*http.Client, string, error) {
			polls.Add(1)
			if !works.Load() {
				return nil, "", errors.New("down")
			}
			return &http.Client{Transport: none{}}, "http://collector", nil
		}, Trust: func() (pack.Trust, error) { return pack.Trust{}, nil }}, hclog.NewNullLogger())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if n := polls.Load(); n < 5 || n > 9 || !strings.Contains(f.Problem(), "down") {
			t.Errorf("%d polls in 20 minutes of failure, problem %q", n, f.Problem())
		}
		works.Store(true)
		time.Sleep(70 * time.Minute) // the longest pause, and its tenth
		polls.Store(0)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := polls.Load(); n < 20 || n > 28 || f.Problem() != "" {
			t.Errorf("%d polls in a day, problem %q", n, f.Problem())
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// none answers that nothing is offered.
type none struct{}

func (none) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
}

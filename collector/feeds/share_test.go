package feeds

import (
	"context"
	"errors"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/packs"
	"sallyport/rules/feed"
)

// together is a fake of what collectors share.
type together struct {
	alone sync.Mutex

	mu       sync.Mutex
	versions map[string]uint64
	files    map[string][]byte
}

func (s *together) Alone(ctx context.Context, f func(context.Context) error) error {
	s.alone.Lock()
	defer s.alone.Unlock()
	return f(ctx)
}

func (s *together) Versions(context.Context) (map[string]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.versions), nil
}

func (s *together) Get(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, ok := s.files[name]
	if !ok {
		return nil, errors.New("no such file")
	}
	return content, nil
}

func (s *together) Put(_ context.Context, name string, content []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[name]++
	s.files[name] = slices.Clone(content)
	return s.versions[name], nil
}

// TestOneOfSeveralFetches has two collectors with one source: it is asked once,
// and both offer the same pack; what one is asked to fetch the other offers too.
func TestOneOfSeveralFetches(t *testing.T) {
	server := &list{body: "1.2.3.4\n1.2.3.5\n"}
	http := httptest.NewServer(server)
	defer http.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("u:p\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source := Source{Name: "one", Kind: "list", URL: http.URL, Entity: "Somebody", Client: feed.ClientConfig{BasicFile: secret}}
	one := newSite(t, source)
	dir := t.TempDir()
	root, err := os.ReadFile(filepath.Join(one.dir, "root.pub"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "root.pub"), root, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := packs.New(packs.Config{Root: filepath.Join(dir, "root.pub")}, dir, hclog.NewNullLogger())
	two := &site{New(one.cfg, dir, p, hclog.NewNullLogger()), dir, p}
	common := &together{versions: map[string]uint64{}, files: map[string][]byte{}}
	one.Shared, two.Shared = common, common

	fetch := func(s *site) {
		t.Helper()
		if _, err := s.fetch(t.Context(), s.sources[0], false, false); err != nil {
			t.Fatal(err)
		}
	}
	var both sync.WaitGroup
	for _, s := range []*site{one, two} {
		both.Go(func() { fetch(s) })
	}
	both.Wait()
	same := func(want ...string) uint64 {
		t.Helper()
		for _, s := range []*site{one, two} {
			if err := s.pull(t.Context()); err != nil {
				t.Error(err)
			}
		}
		a, values := one.content(t)
		b, others := two.content(t)
		if a != b || !slices.Equal(values, want) || !slices.Equal(others, want) {
			t.Errorf("version %d %q and version %d %q; want %q", a, values, b, others, want)
		}
		held, err := one.packs.List()
		again, err2 := two.packs.List()
		if err != nil || err2 != nil || len(held) != 1 || len(again) != 1 || held[0].SHA256 != again[0].SHA256 {
			t.Errorf("packs differ: %+v, %+v, %v, %v", held, again, err, err2)
		}
		return a
	}
	first := same("somebody 1.2.3.4", "somebody 1.2.3.5")
	if server.asked != 1 {
		t.Errorf("the source was asked %d times", server.asked)
	}
	server.body = "1.2.3.4\n1.2.3.6\n"
	if _, err := two.Fetch(t.Context(), "one", false); err != nil {
		t.Fatal(err)
	}
	if second := same("somebody 1.2.3.4", "somebody 1.2.3.6"); second <= first {
		t.Errorf("version %d after %d", second, first)
	}
	fetch(one) // not due: the other has just done it
	if server.asked != 2 {
		t.Errorf("the source was asked %d times", server.asked)
	}
}

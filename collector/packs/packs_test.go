package packs

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/identity"
	"sallyport/rules"
	"sallyport/rules/pack"
)

// site is a folder of packs and the keys for it.
type site struct {
	*Packs
	dir     string
	rootKey ed25519.PrivateKey
	key     ed25519.PrivateKey
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir()}
	keys := make([]ed25519.PrivateKey, 2)
	for i, name := range []string{"root", "vendor"} {
		prefix := filepath.Join(s.dir, name)
		if _, err := pack.WriteKeyPair(prefix); err != nil {
			t.Fatal(err)
		}
		var err error
		if keys[i], err = pack.ReadPrivateKey(prefix + ".key"); err != nil {
			t.Fatal(err)
		}
	}
	s.rootKey, s.key = keys[0], keys[1]
	cfg := Config{Root: filepath.Join(s.dir, "root.pub"), Groups: []Group{{Name: "web", Agents: []string{"web-*"}}}}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s.Packs = New(cfg, s.dir, hclog.NewNullLogger())
	return s
}

const rule = "title: T\nid: 44444444-4444-4444-8444-444444444444\nlogsource: {category: network_connection, product: linux}\ndetection: {s: {DestinationPort: 1}, condition: s}\n"

// archive builds a pack, unsigned where role is empty.
func (s *site) archive(t *testing.T, name string, version uint64, role pack.Role) func(io.Writer) error {
	t.Helper()
	c := pack.Contents{Name: name, Version: version, Created: time.Now().Add(-time.Hour), Expires: time.Now().AddDate(0, 1, 0), Detections: map[string][]byte{"d.yml": []byte(rule)}}
	var signer *pack.Signer
	if role != "" {
		public, ok := s.key.Public().(ed25519.PublicKey)
		if !ok {
			t.Fatal("no public key")
		}
		signed, err := pack.Delegate(s.rootKey, pack.Statement{Role: role, Key: public, Serial: 1, Names: []string{"sallyport", "other", "local"}})
		if err != nil {
			t.Fatal(err)
		}
		signer = &pack.Signer{Key: s.key, Chain: []pack.Signed{signed}}
	}
	var b bytes.Buffer
	if err := pack.Build(&b, c, signer); err != nil {
		t.Fatal(err)
	}
	return func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err }
}

func (s *site) mustAdd(t *testing.T, group, name string, version uint64) Held {
	t.Helper()
	h, err := s.Add(group, s.archive(t, name, version, pack.RoleVendor))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAddRefuses(t *testing.T) {
	s := newSite(t)
	s.mustAdd(t, All, "sallyport", 2)
	other := newSite(t)
	tests := []struct {
		name, group string
		source      func(io.Writer) error
		want        error
	}{
		{"unsigned", All, s.archive(t, "sallyport", 3, ""), pack.ErrUnsigned},
		{"under another root", All, other.archive(t, "sallyport", 3, pack.RoleVendor), pack.ErrUntrusted},
		{"older", All, s.archive(t, "sallyport", 1, pack.RoleVendor), pack.ErrOlder},
		{"a local pack that changes the vendor's", All, s.archive(t, "local", 1, pack.RoleLocal), pack.ErrLocalChanges},
		{"the same in a group", "web", s.archive(t, "local", 1, pack.RoleLocal), pack.ErrLocalChanges},
		{"no pack", All, func(w io.Writer) error { _, err := io.WriteString(w, "pack"); return err }, pack.ErrCorrupt},
		{"broken source", All, func(io.Writer) error { return io.ErrUnexpectedEOF }, io.ErrUnexpectedEOF},
		{"no group", "db", s.archive(t, "sallyport", 3, pack.RoleVendor), nil},
	}
	for _, tt := range tests {
		if _, err := s.Add(tt.group, tt.source); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Version != 2 {
		t.Errorf("list %+v, %v", list, err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "packs", "*", ".add-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := New(DefaultConfig(), s.dir, hclog.NewNullLogger()).Add(All, tests[0].source); !errors.Is(err, ErrNoRoot) {
		t.Errorf("without a root: %v", err)
	}
}

// get asks as an agent.
func (s *site) get(t *testing.T, agent, path, etag string) *httptest.ResponseRecorder {
	t.Helper()
	who := func(r *http.Request) (string, error) {
		if name := r.Header.Get("Agent"); name != "" {
			return name, nil
		}
		return "", identity.Refusal{Status: http.StatusForbidden, Code: rules.CodeUnknownAgent}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+rules.PathPacks, s.Offers(who))
	mux.HandleFunc("GET "+rules.PathPacks+"/{name}", s.Archive(who))
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Agent", agent)
	r.Header.Set("If-None-Match", etag)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func (s *site) offers(t *testing.T, agent string) map[string]uint64 {
	t.Helper()
	var list rules.PackList
	if err := json.Unmarshal(s.get(t, agent, rules.PathPacks, "").Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, o := range list.Packs {
		out[o.Name] = o.Version
	}
	return out
}

func TestGroupsAreOfferedTheirOwn(t *testing.T) {
	s := newSite(t)
	s.mustAdd(t, All, "sallyport", 1)
	s.mustAdd(t, "web", "sallyport", 7)
	for agent, want := range map[string]uint64{"web-1": 7, "db-1": 1} {
		if got := s.offers(t, agent); len(got) != 1 || got["sallyport"] != want {
			t.Errorf("%s is offered %v", agent, got)
		}
	}
	if err := s.Remove("web", "sallyport"); err != nil {
		t.Fatal(err)
	}
	if got := s.offers(t, "web-1"); got["sallyport"] != 1 {
		t.Errorf("web-1 is offered %v", got)
	}
	if err := s.Remove("web", "sallyport"); !errors.Is(err, ErrNotHeld) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := s.Add("web", s.archive(t, "sallyport", 6, pack.RoleVendor)); !errors.Is(err, pack.ErrOlder) {
		t.Errorf("an older one after removal: %v", err)
	}
}

func TestGroupsByLabel(t *testing.T) {
	s := newSite(t)
	s.cfg.Groups = []Group{
		{Name: "web", Agents: []string{"web-*"}}, {Name: "shops"}, {Name: "east", Labels: []string{"site=fra1", "canary"}},
		{Name: "either", Agents: []string{"db-9"}, Labels: []string{"kind=database"}},
	}
	if err := s.cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	labels := map[string]map[string]string{
		"till-1": {"group": "shops"}, "till-2": {"group": "Shops"}, "web-1": nil, "canary": {"site": "fra1", "canary": "yes"},
		"half": {"site": "fra1"}, "db-1": {"kind": "database"}, "db-9": nil,
	}
	s.Directory = func(context.Context) (map[string]map[string]string, error) { return labels, nil }
	for i, group := range []string{All, "web", "shops", "east", "either"} {
		s.mustAdd(t, group, "sallyport", uint64(i+1))
	}
	for agent, want := range map[string]uint64{"till-1": 3, "till-2": 1, "web-1": 2, "canary": 4, "half": 1, "db-1": 5, "db-9": 5, "unknown": 1} {
		if got := s.offers(t, agent); got["sallyport"] != want {
			t.Errorf("%s is offered %v, want %d", agent, got, want)
		}
	}
	labels["half"]["canary"] = "no" // given a label: the next look offers it the group's
	if got := s.offers(t, "half"); got["sallyport"] != 4 {
		t.Errorf("with a label more: %v", got)
	}
	list, err := s.Assignments(t.Context())
	if err != nil || len(list) != 5 {
		t.Fatalf("assignments %+v, %v", list, err)
	}
	for i, want := range []string{"web-1", "till-1", "canary half", "db-1 db-9", "canary db-1 db-9 half till-1 till-2 web-1"} {
		if got := strings.Join(list[i].Members, " "); got != want || len(list[i].Packs) != 1 {
			t.Errorf("group %s: members %q, %d packs", list[i].Name, got, len(list[i].Packs))
		}
	}
	s.Directory = func(context.Context) (map[string]map[string]string, error) { return nil, errors.New("store is away") }
	if got := s.get(t, "till-1", rules.PathPacks, ""); got.Code != http.StatusServiceUnavailable {
		t.Errorf("offered although its groups are not known: %d", got.Code)
	}
}

func TestServing(t *testing.T) {
	s := newSite(t)
	h := s.mustAdd(t, All, "sallyport", 1)
	first := s.get(t, "a", rules.PathPacks, "")
	if again := s.get(t, "a", rules.PathPacks, first.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("the list again: %d", again.Code)
	}
	path := rules.PathPacks + "/sallyport"
	whole := s.get(t, "a", path, "")
	if data, err := os.ReadFile(h.path); err != nil || whole.Code != http.StatusOK || !bytes.Equal(whole.Body.Bytes(), data) {
		t.Errorf("the pack: %d, %v", whole.Code, err)
	}
	if again := s.get(t, "a", path, `"`+h.SHA256+`"`); again.Code != http.StatusNotModified {
		t.Errorf("the pack again: %d", again.Code)
	}
	s.mustAdd(t, All, "sallyport", 2)
	if changed := s.get(t, "a", rules.PathPacks, first.Header().Get("ETag")); changed.Code != http.StatusOK {
		t.Errorf("the list after a change: %d", changed.Code)
	}
	for name, want := range map[string]int{"/other": http.StatusNotFound, "/..%2Fseen.json": http.StatusNotFound} {
		if got := s.get(t, "a", rules.PathPacks+name, ""); got.Code != want {
			t.Errorf("%s: %d", name, got.Code)
		}
	}
	if got := s.get(t, "", path, ""); got.Code != http.StatusForbidden || !strings.Contains(got.Body.String(), rules.CodeUnknownAgent) {
		t.Errorf("a stranger: %d %s", got.Code, got.Body)
	}
}

// TestWhatSomebodyPutThereIsNotOffered writes past Add.
func TestWhatSomebodyPutThereIsNotOffered(t *testing.T) {
	s := newSite(t)
	h := s.mustAdd(t, All, "sallyport", 1)
	f, err := os.Create(filepath.Join(filepath.Dir(h.path), "other.pack"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.archive(t, "other", 1, "")(f); err != nil {
		t.Fatal(err)
	}
	if got := s.offers(t, "a"); len(got) != 1 {
		t.Errorf("offered %v", got)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || !strings.Contains(list[0].Refused, "not signed") {
		t.Errorf("list %+v, %v", list, err)
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"relative folder": {Folder: "x"},
		"relative root":   {Root: "x"},
		"group's name":    {Groups: []Group{{Name: "../x"}}},
		"group of all":    {Groups: []Group{{Name: All}}},
		"twice":           {Groups: []Group{{Name: "a"}, {Name: "a"}}},
		"pattern":         {Groups: []Group{{Name: "a", Agents: []string{"["}}}},
		"label":           {Groups: []Group{{Name: "a", Labels: []string{"=x"}}}},
		"label's value":   {Groups: []Group{{Name: "a", Labels: []string{"x="}}}},
	} {
		if c.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

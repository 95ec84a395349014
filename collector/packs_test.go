package collector

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"sallyport/collector/admin"
	"sallyport/collector/feeds"
	"sallyport/collector/packs"
	"sallyport/rules"
	"sallyport/rules/pack"
)

// TestExampleFeedsShowEverySetting keeps deploy/feeds.yaml in step.
func TestExampleFeedsShowEverySetting(t *testing.T) {
	cfg, err := LoadConfig(filepath.Join("..", "deploy", "feeds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "deploy", "feeds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var every map[string]any
	shown, err := yaml.Marshal(cfg.Feeds.Sources[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(shown, &every); err != nil {
		t.Fatal(err)
	}
	for key := range every {
		if !strings.Contains(string(text), key+":") {
			t.Errorf("deploy/feeds.yaml does not show %q", key)
		}
	}
}

func TestFeedsNeedPacks(t *testing.T) {
	source := feeds.Source{Name: "a", Kind: "list", URL: "https://feeds.example/a"}
	for name, edit := range map[string]func(*Config){
		"no root":  func(c *Config) { c.Packs.Root = "" },
		"no group": func(c *Config) { c.Feeds.Sources[0].Group = "web" },
	} {
		c := DefaultConfig()
		c.Packs.Root, c.Feeds.Key, c.Feeds.Chain, c.Feeds.Sources = "/r", "/k", "/c", []feeds.Source{source}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		edit(&c)
		if c.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// keys makes a root and a local key that it lets sign, in dir.
func keys(t *testing.T, dir string) {
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
	if err := pack.WriteChain(filepath.Join(dir, "local.chain"), []pack.Signed{signed}); err != nil {
		t.Fatal(err)
	}
}

// TestFromFeedToAgent goes the whole way through a running collector: a list,
// fetched by hand, becomes a pack that an enrolled agent gets and can verify.
func TestFromFeedToAgent(t *testing.T) {
	cfg := testConfig(t)
	dir := t.TempDir()
	keys(t, dir)
	list := filepath.Join(dir, "list")
	if err := os.WriteFile(list, []byte("1.2.3.4\nnonsense here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Packs.Root = filepath.Join(dir, "root.pub")
	cfg.Feeds.Key, cfg.Feeds.Chain = filepath.Join(dir, "local.key"), filepath.Join(dir, "local.chain")
	cfg.Feeds.Sources = []feeds.Source{{Name: "one", Kind: "list", URL: list}}
	s := startSite(t, cfg)
	var o feeds.Outcome
	s.admin(t, "POST", "/feeds/one", nil, &o)
	if o.Failure != "" || o.Indicators != 1 || o.Report.Rejected != 1 {
		t.Fatalf("outcome %+v", o)
	}
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	if pem, err := os.ReadFile(cfg.Packs.Root); err != nil || !bytes.Equal(a.get(t, rules.PathPackRoot, http.StatusOK), pem) {
		t.Errorf("the root: %v", err)
	}
	var offers rules.PackList
	if err := json.Unmarshal(a.get(t, rules.PathPacks, http.StatusOK), &offers); err != nil || len(offers.Packs) != 1 {
		t.Fatalf("offers %+v, %v", offers, err)
	}
	got := filepath.Join(dir, "got.pack")
	if err := os.WriteFile(got, a.get(t, rules.PathPacks+"/local", http.StatusOK), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := pack.ReadPublicKey(cfg.Packs.Root)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := pack.Open(got, pack.Trust{Root: root}); err != nil || p.Manifest.Version != o.Version {
		t.Errorf("what the agent got: %v", err)
	}
	a.get(t, rules.PathPacks+"/sallyport", http.StatusNotFound)

	// By hand: what is no signed pack is refused, and what is offered can be seen
	// and taken back.
	client := admin.NewClient(cfg.Socket())
	var held packs.Held
	if err := client.Send(t.Context(), "/packs/all", strings.NewReader("pack"), &held); err == nil || !strings.Contains(err.Error(), "corrupt") {
		t.Errorf("no pack: %v", err)
	}
	data, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Send(t.Context(), "/packs/all", bytes.NewReader(data), &held); err != nil || held.Name != "local" {
		t.Errorf("the same again: %+v, %v", held, err)
	}
	var all []packs.Held
	s.admin(t, "GET", "/packs", nil, &all)
	if len(all) != 1 || all[0].Role != "local" {
		t.Errorf("list %+v", all)
	}
	res, err := http.Get("http://" + s.at.Health.String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(metrics); !strings.Contains(text, `sallyport_feed_rejected{feed="one"} 1`) || !strings.Contains(text, `sallyport_pack_offered{group="all",pack="local"} 1`) {
		t.Error("the metrics show neither feed nor pack")
	}
	s.admin(t, "DELETE", "/packs/all/local", nil, nil)
	a.get(t, rules.PathPacks+"/local", http.StatusNotFound)
}

// get asks for a path and returns the body.
func (a *agent) get(t testing.TB, path string, want int) []byte {
	t.Helper()
	res, err := a.client.Get(a.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != want {
		t.Fatalf("%s: status %d, want %d: %s, %v", path, res.StatusCode, want, body, err)
	}
	return body
}

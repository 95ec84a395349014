package collector

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/collector/admin"
	"sallyport/collector/packs"
	"sallyport/rules"
	"sallyport/rules/pack"
)

// TestPacksByLabel gives an agent a label, and with it a pack: seen by the agent, by
// the operator's command and at the console.
func TestPacksByLabel(t *testing.T) {
	dir := t.TempDir()
	keys(t, dir)
	cfg := testConfig(t)
	cfg.Packs.Root = filepath.Join(dir, "root.pub")
	cfg.Packs.Groups = []packs.Group{{Name: "canary", Labels: []string{"site=fra1"}}, {Name: "shops"}}
	s := startSite(t, cfg)
	a := newAgent(t, s.at.Agents.String(), s.token(t), "till-7")
	archive := filepath.Join(dir, "local.pack")
	signPack(t, dir, archive)
	in, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := admin.NewClient(s.cfg.Socket()).Send(t.Context(), "/packs/shops", in, new(packs.Held)); err != nil {
		t.Fatal(err)
	}
	offered := func() int {
		t.Helper()
		res, err := a.client.Get(a.url + rules.PathPacks)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var list rules.PackList
		if err := json.NewDecoder(res.Body).Decode(&list); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v", res.Status, err)
		}
		return len(list.Packs)
	}
	if n := offered(); n != 0 {
		t.Errorf("%d packs without the label", n)
	}
	s.admin(t, "PUT", "/agents/till-7/labels", admin.Label{Name: "group", Value: "shops"}, nil)
	if n := offered(); n != 1 {
		t.Errorf("%d packs with the label", n)
	}
	var groups []packs.Assignment
	s.admin(t, "GET", "/packs/groups", nil, &groups)
	if len(groups) != 3 || groups[1].Name != "shops" || len(groups[1].Members) != 1 || len(groups[1].Packs) != 1 || len(groups[0].Members) != 0 {
		t.Errorf("groups %+v", groups)
	}
	page := s.signedIn(t).get("/packs").body
	for _, want := range []string{`<a href="/agents/till-7">till-7</a>`, `href="/agents?label=group=shops"`, "<td>local</td>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the console's page lacks %s: %s", want, page)
		}
	}
}

// signPack builds a local pack and signs it with the keys of dir.
func signPack(t *testing.T, dir, path string) {
	t.Helper()
	key, err := pack.ReadPrivateKey(filepath.Join(dir, "local.key"))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pack.ReadChain(filepath.Join(dir, "local.chain"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rule := "title: T\nid: 44444444-4444-4444-8444-444444444444\nlogsource: {category: network_connection, product: linux}\ndetection: {s: {DestinationPort: 1}, condition: s}\n"
	contents := pack.Contents{Name: "local", Version: 1, Created: time.Now().Add(-time.Hour), Expires: time.Now().AddDate(0, 1, 0), Detections: map[string][]byte{"d.yml": []byte(rule)}}
	if err := pack.Build(f, contents, &pack.Signer{Key: key, Chain: chain}); err != nil {
		t.Fatal(err)
	}
}

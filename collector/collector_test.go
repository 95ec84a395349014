package collector

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"sallyport/collector/fleet"
	"sallyport/collector/store"
	"sallyport/rules"
)

// withFile adds a file exporter.
func withFile(t testing.TB, cfg Config) (Config, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out", "findings.jsonl")
	text := fmt.Sprintf("exporters: [{name: file, type: file, settings: {path: %s}}]", path)
	if err := yaml.UnmarshalWithOptions([]byte(text), &cfg, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg, path
}

// exported reads the message ids of a JSON Lines file, in order.
func exported(t testing.TB, path string) []string {
	t.Helper()
	in, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var ids []string
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var f rules.Finding
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			t.Fatalf("exported line %d: %v", len(ids)+1, err)
		}
		ids = append(ids, f.MessageID())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestFindingFromAgentToStoreAndFile(t *testing.T) {
	cfg, path := withFile(t, testConfig(t))
	s := startSite(t, cfg)
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	f := a.finding("f1", 1)
	a.mustSend(t, a.envelope("e", 1, f))
	a.mustSend(t, a.envelope("e", 1, f)) // a repeat, its answer having been lost
	f.Revision, f.Count, f.State = 2, 5, rules.StateUpdated
	a.mustSend(t, a.envelope("e", 2, f))

	var page store.Page
	eventually(t, "the second revision in the store", func() bool {
		s.admin(t, "GET", "/findings", nil, &page)
		return len(page.Findings) == 1 && page.Findings[0].Finding.Revision == 2
	})
	if got := page.Findings[0]; got.Reporter != "web-1" || got.Finding.Count != 5 || len(got.Finding.Evidence.PCAPNG) != 0 {
		t.Fatalf("finding: %+v", got)
	}
	eventually(t, "two lines in the file", func() bool { return len(exported(t, path)) >= 2 })
	if got := strings.Join(exported(t, path), " "); got != "f1.1 f1.2" {
		t.Fatalf("exported %s", got)
	}
	for query, want := range map[string]int{
		"?q=203.0.113.9": 1, "?q=203.0.113": 1, "?q=203.0.114": 0, "?q=xfreerdp+example": 1, "?severity=critical": 0, "?severity=medium&protocol=rdp": 1,
		"?entity=example-entity": 1, "?entity=other": 0, "?test=false": 1, "?test=true": 0, "?remote=203.0.113.9": 1, "?from=2026-03-02": 0,
	} {
		s.admin(t, "GET", "/findings"+query, nil, &page)
		if len(page.Findings) != want {
			t.Errorf("findings%s: %d, want %d", query, len(page.Findings), want)
		}
	}
}

func TestGapsRejectsAndSilenceAreShown(t *testing.T) {
	s := startSite(t, testConfig(t))
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	bad := a.finding("f2", 1)
	bad.Severity = "terrible"
	status, body, err := a.send([]rules.Envelope{a.envelope("e", 1, a.finding("f1", 1)), a.envelope("e", 2, bad), a.envelope("e", 5, a.finding("f5", 1))})
	var receipt rules.Receipt
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &receipt) != nil {
		t.Fatalf("%d %s %v", status, body, err)
	}
	if receipt.Accepted != 2 || len(receipt.Rejected) != 1 || receipt.Rejected[0].Seq != 2 || !strings.Contains(receipt.Rejected[0].Reason, "severity") {
		t.Fatalf("receipt: %+v", receipt)
	}
	var agents []fleet.Agent
	eventually(t, "the whole batch in the store", func() bool {
		s.admin(t, "GET", "/agents", nil, &agents)
		return len(agents) == 1 && len(agents[0].Sequences) == 1 && agents[0].Sequences[0].High == 5
	})
	if got := agents[0]; got.Missing != 2 || got.Rejected != 1 || got.Sequences[0].High != 5 || got.Findings != 2 {
		t.Fatalf("agent: %+v", got)
	}
	now := time.Now()
	h := rules.Heartbeat{Agent: "web-1", Version: "1", At: now.Add(time.Hour), Lost: map[string]uint64{"ring_full": 3}}
	if status := a.post(t, rules.PathHeartbeat, h, nil); status != http.StatusNoContent {
		t.Fatalf("heartbeat: %d", status)
	}
	s.admin(t, "GET", "/agents", nil, &agents)
	if got := agents[0]; got.State != fleet.StateReporting || got.Lost != 3 || !got.SkewLarge {
		t.Fatalf("agent: %+v", got)
	}
}

func TestAgentReportsAsItselfOnly(t *testing.T) {
	s := startSite(t, testConfig(t))
	token := s.token(t)
	one, two := newAgent(t, s.at.Agents.String(), token, "one"), newAgent(t, s.at.Agents.String(), token, "two")
	problem := func(status int, body []byte, err error) string {
		t.Helper()
		var p rules.Problem
		if err != nil || json.Unmarshal(body, &p) != nil {
			t.Fatalf("%d %s %v", status, body, err)
		}
		return fmt.Sprint(status, " ", p.Code)
	}
	forged := one.envelope("e", 1, one.finding("f1", 1))
	if got := problem(two.send([]rules.Envelope{forged})); got != "403 other_agent" {
		t.Errorf("another's envelope: %s", got)
	}
	forged.Agent = "two" // the finding inside is still one's
	status, body, err := two.send([]rules.Envelope{forged})
	if err != nil || status != http.StatusOK || !strings.Contains(string(body), "finding is of agent") {
		t.Errorf("another's finding: %d %s %v", status, body, err)
	}
	nobody := &agent{name: "one", url: one.url}
	nobody.connect()
	if got := problem(nobody.send([]rules.Envelope{forged})); got != "403 unknown_agent" {
		t.Errorf("no certificate: %s", got)
	}
	if status := two.post(t, rules.PathHeartbeat, rules.Heartbeat{Agent: "one"}, nil); status != http.StatusForbidden {
		t.Errorf("another's heartbeat: %d", status)
	}
}

func TestRevocationCutsConnections(t *testing.T) {
	s := startSite(t, testConfig(t))
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	a.mustSend(t, a.envelope("e", 1, a.finding("f1", 1)))
	var n int
	s.admin(t, "DELETE", "/agents/web-1", nil, &n)
	if n != 1 {
		t.Fatalf("%d certificates revoked", n)
	}
	eventually(t, "the agent told that it is revoked", func() bool {
		status, body, err := a.send([]rules.Envelope{a.envelope("e", 2, a.finding("f2", 1))})
		if err == nil && status == http.StatusOK {
			t.Fatal("a revoked agent was served")
		}
		return err == nil && strings.Contains(string(body), rules.CodeRevoked)
	})
}

func TestRestartKeepsEverything(t *testing.T) {
	cfg, path := withFile(t, testConfig(t))
	s := startSite(t, cfg)
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	for i := range uint64(20) {
		a.mustSend(t, a.envelope("e", i+1, a.finding(fmt.Sprintf("f%d", i), 1)))
	}
	s.stop()
	s.start(t)
	a.url = "https://" + s.at.Agents.String()
	a.mustSend(t, a.envelope("e", 21, a.finding("f20", 1)))
	eventually(t, "21 findings in store and file", func() bool { return s.counts(t).Findings == 21 && len(exported(t, path)) == 21 })
}

package collector

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sallyport/collector/admin"
	"sallyport/collector/api"
	"sallyport/collector/fleet"
	"sallyport/collector/record"
	"sallyport/collector/store"
	"sallyport/collector/triage"
	"sallyport/rules"
)

// openStore opens the running collector's store beside it, as commands do.
func (s *site) openStore(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), s.cfg.Store, s.cfg.State)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func (s *site) verify(t *testing.T, st *store.Store) record.Verification {
	t.Helper()
	key, err := record.ReadVerifier(s.cfg.State)
	if err != nil {
		t.Fatal(err)
	}
	v, err := record.Verify(t.Context(), record.Verifying{Store: st, Keys: []string{key}, Keep: s.cfg.Store.Keep, Wait: patience})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestEverythingAcceptedIsInTheRecord sends findings, heartbeats and decisions,
// and compares; then the signed checkpoint leaves through an exporter whose
// filter lets nothing else through.
func TestEverythingAcceptedIsInTheRecord(t *testing.T) {
	cfg, path := withFile(t, testConfig(t))
	cfg.Record.CheckpointEvery = time.Second
	cfg.Exporters[0].Filter.Severity = rules.SeverityCritical
	s := startSite(t, cfg)
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	const total = 30
	for i := range uint64(total) {
		a.mustSend(t, a.envelope("e", i+1, a.finding(fmt.Sprintf("f%d", i%10), 1+i/10)))
	}
	beat := rules.Heartbeat{Agent: "web-1", Version: "1", Started: time.Now(), At: time.Now(), Hooks: map[string]string{"connect": "ok", "udp": "ok"}}
	a.post(t, rules.PathHeartbeat, beat, nil)
	beat.Hooks = map[string]string{"connect": "ok"}
	a.post(t, rules.PathHeartbeat, beat, nil)
	eventually(t, "findings stored", func() bool { return s.counts(t).Findings >= 10 })
	var d store.Decision
	s.admin(t, "POST", "/findings/web-1/f1/triage", triage.Verdict{State: "closed", Decision: "benign", Note: "a test"}, &d)
	st := s.openStore(t)
	count := func(kind string) int {
		list, err := st.RecordOfKind(t.Context(), kind, time.Time{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range list {
			if e.Agent == "web-1" {
				n++
			}
		}
		return n
	}
	eventually(t, "everything in the record", func() bool {
		return count(record.KindFinding) == total && count(record.KindCoverage) == 1 && count(record.KindDecision) == 1
	})
	var notes []string
	eventually(t, "a checkpoint in the exported file", func() bool {
		for _, line := range exportedLines(t, path) {
			list, err := record.ReadCheckpoints(strings.NewReader(line))
			if err != nil {
				t.Fatal(err)
			}
			notes = append(notes, list...)
		}
		return len(notes) > 0
	})
	s.stop()
	v := s.verify(t, st)
	if len(v.Differences) > 0 || v.Decisions != 1 || v.Checkpoints == 0 {
		t.Fatalf("%+v", v)
	}
	key, err := record.ReadVerifier(cfg.State)
	if err != nil {
		t.Fatal(err)
	}
	out, err := record.Verify(t.Context(), record.Verifying{Store: st, Keys: []string{key}, Notes: notes, Keep: cfg.Store.Keep})
	if err != nil || len(out.Differences) > 0 || out.Checkpoints <= v.Checkpoints {
		t.Errorf("with the exported checkpoints: %+v, %v", out, err)
	}
}

// TestFleetFindings has an agent lose hooks, numbers and its clock, then mend.
func TestFleetFindings(t *testing.T) {
	cfg, path := withFile(t, testConfig(t))
	cfg.Fleet.CheckEvery, cfg.Fleet.BurstAgents = time.Second, 3
	s := startSite(t, cfg)
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	started := time.Now()
	beat := func(hooks map[string]string, skew time.Duration, lost uint64) {
		t.Helper()
		h := rules.Heartbeat{Agent: "web-1", Version: "1", Started: started, At: time.Now().Add(skew), Hooks: hooks, Lost: map[string]uint64{"ring_full": lost}}
		if status := a.post(t, rules.PathHeartbeat, h, nil); status != http.StatusNoContent {
			t.Fatalf("heartbeat: %d", status)
		}
	}
	state := func(rule string) string {
		var page store.Page
		s.admin(t, "GET", "/findings?host=web-1&rule="+rule, nil, &page)
		if len(page.Findings) == 0 {
			return ""
		}
		return page.Findings[0].Finding.State
	}
	beat(map[string]string{"connect": "ok"}, 0, 0)
	beat(map[string]string{"connect": "gone"}, time.Hour, 7)
	for _, rule := range []string{fleet.RuleTampered, fleet.RuleSkew, fleet.RuleLost} {
		eventually(t, rule+" opened", func() bool { return state(rule) == rules.StateOpened })
	}
	if got := state(fleet.RuleSilent); got != "" {
		t.Errorf("silent: %s", got)
	}
	beat(map[string]string{"connect": "ok"}, 0, 7)
	for _, rule := range []string{fleet.RuleTampered, fleet.RuleSkew} {
		eventually(t, rule+" closed", func() bool { return state(rule) == rules.StateClosed })
	}

	// Three agents report one indicator: from then on one finding stands for all.
	names := []string{"b-1", "b-2", "b-3", "b-4"}
	send := func(name string) {
		x := newAgent(t, s.at.Agents.String(), s.token(t), name)
		x.mustSend(t, x.envelope("e", 1, x.finding("f-"+name, 1)))
	}
	for _, name := range names[:3] {
		send(name)
	}
	has := func(text string) bool { return strings.Contains(strings.Join(exportedLines(t, path), "\n"), text) }
	eventually(t, "the burst exported", func() bool { return has(fleet.RuleBurst) })
	time.Sleep(2 * cfg.Fleet.CheckEvery) // the exporters hold back once the finding about the burst is in the stream
	send(names[3])
	eventually(t, "the last one stored", func() bool {
		var page store.Page
		s.admin(t, "GET", "/findings?agent=b-4", nil, &page)
		return len(page.Findings) == 1
	})
	eventually(t, "the exporter at the end", func() bool {
		var list []struct{ Pending uint64 }
		s.admin(t, "GET", "/exporters", nil, &list)
		return list[0].Pending == 0
	})
	if !has("f-b-1") || has("f-b-4") {
		t.Errorf("the first is exported: %t; the one in the burst: %t", has("f-b-1"), has("f-b-4"))
	}
	st := s.openStore(t)
	if _, err := st.RecordEntry(t.Context(), record.KindFinding, "b-4", "f-b-4", 1); err != nil {
		t.Errorf("the record is not complete: %v", err)
	}
}

func TestLabels(t *testing.T) {
	s := startSite(t, testConfig(t))
	for _, name := range []string{"web-1", "web-2"} {
		newAgent(t, s.at.Agents.String(), s.token(t), name)
	}
	s.admin(t, "PUT", "/agents/web-1/labels", admin.Label{Name: "group", Value: "shops"}, nil)
	names := func(query string) string {
		var list []fleet.Agent
		s.admin(t, "GET", "/agents"+query, nil, &list)
		var names []string
		for _, a := range list {
			names = append(names, a.Name)
		}
		return strings.Join(names, " ")
	}
	for query, want := range map[string]string{"": "web-1 web-2", "?label=group": "web-1", "?label=group=shops": "web-1", "?label=group=banks": "", "?label=group&label=x": ""} {
		if got := names(query); got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
	s.admin(t, "PUT", "/agents/web-1/labels", admin.Label{Name: "group"}, nil)
	if got := names("?label=group"); got != "" {
		t.Errorf("taken away: %q", got)
	}
	for _, bad := range []admin.Label{{Name: "A", Value: "x"}, {Name: "", Value: "x"}, {Name: "a", Value: "<b>"}} {
		if err := admin.NewClient(s.cfg.Socket()).Do(t.Context(), "PUT", "/agents/web-1/labels", bad, nil); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestFindingsAreStreamed(t *testing.T) {
	s := startSite(t, testConfig(t))
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	client, token := insecureClient(), s.apiToken(t, "v", "viewer", false)
	read := func(last string, want int) (ids []string, place string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "https://"+s.at.People.String()+api.Prefix+"/findings/stream?agent=web-1&since=2020-01-01", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Last-Event-ID", last)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s %v", res.Status, res.Header)
		}
		for lines := bufio.NewScanner(res.Body); len(ids) < want && lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				place = id
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var f store.Finding
				if err := json.Unmarshal([]byte(data), &f); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, f.Finding.ID)
			}
		}
		return ids, place
	}
	a.mustSend(t, a.envelope("e", 1, a.finding("f1", 1)))
	eventually(t, "stored", func() bool { return s.counts(t).Findings == 1 })
	ids, place := read("", 1)
	if strings.Join(ids, " ") != "f1" {
		t.Fatalf("%q", ids)
	}
	go func() {
		time.Sleep(100 * time.Millisecond) // while the stream is open; nothing depends on it
		_, _, _ = a.send([]rules.Envelope{a.envelope("e", 2, a.finding("f2", 1)), a.envelope("e", 3, a.finding("f1", 2))})
	}()
	if ids, _ := read(place, 2); len(ids) != 2 {
		t.Errorf("after the first: %q", ids)
	}
	if status, _, body := s.ask(t, client, token, "GET", "/findings/stream?cursor=x"); status != http.StatusBadRequest {
		t.Errorf("%d %s", status, body)
	}
}

// exportedLines reads the file of an exporter, which may not be there yet.
func exportedLines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	whole := string(text)
	end := strings.LastIndexByte(whole, '\n') // what is after it is being written
	if end < 0 {
		return nil
	}
	return strings.Split(whole[:end], "\n")
}

package main

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/collector"
	"sallyport/collector/record"
	"sallyport/collector/store"
	"sallyport/collector/stream"
)

// TestRecordCommands verifies and reports beside a stopped collector, then finds
// what was changed.
func TestRecordCommands(t *testing.T) {
	folder := t.TempDir()
	config, state := filepath.Join(folder, "c.yaml"), filepath.Join(folder, "state")
	if err := os.WriteFile(config, []byte("state_dir: "+state+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runCommand("record", "verify", "--config", config); code != 2 || !strings.Contains(errs, "state_dir") {
		t.Errorf("without a store: %d %s", code, errs)
	}
	cfg, err := collector.LoadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collector.Init(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), cfg.Store, state)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	finding := `{"version":1,"id":"f1","revision":1,"state":"opened","agent":{"name":"web-1"},"rule":{"id":"r"},"title":"t","severity":"high","confidence":"high","count":1,
"matches":[{"field":"remote.addr","value":"203.0.113.9","entity":{"id":"example-entity","name":"Example"},"indicator":{"type":"ip","value":"203.0.113.9"},"statement":"s"}],
"observation":{"flow_id":"1","host":"web-1","local":{"addr":"192.0.2.1"},"remote":{"addr":"203.0.113.9"},"first":"2026-03-01T12:00:00Z","last":"2026-03-01T12:00:01Z"},
"first":"2026-03-01T12:00:00Z","last":"2026-03-01T12:00:01Z","created":"2026-03-01T12:00:01Z"}`
	e := []stream.Entry{{Agent: "web-1", Epoch: "e", Seq: 1, ID: "f1.1", Received: at, Finding: []byte(finding)}}
	if err := st.Save(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := record.Append(t.Context(), st, e); err != nil {
		t.Fatal(err)
	}
	args := []string{"record", "report", "--entity", "example-entity", "--from", "2026-03-01", "--to", "2026-03-02", "--config", config}
	code, out, errs := runCommand(append(args, "-o", "json")...)
	var report record.Report
	if err := json.Unmarshal([]byte(out), &report); code != 0 || err != nil || report.Totals.Contacts != 1 || !report.Contacts[0].Revisions[0].Proof.Signed {
		t.Fatalf("report: %d %s %s %v", code, out, errs, err)
	}
	page := filepath.Join(folder, "report.html")
	if code, _, errs := runCommand(append(args, "--file", page)...); code != 0 {
		t.Errorf("report: %d %s", code, errs)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "203.0.113.9") {
		t.Errorf("the page: %v", err)
	}
	if code, _, errs := runCommand(append(args, "--file", page)...); code != 2 || !strings.Contains(errs, "exists") {
		t.Errorf("over a report: %d %s", code, errs)
	}
	if code, out, errs := runCommand("record", "key", "--config", config); code != 0 || !strings.HasPrefix(out, "sallyport-record/") {
		t.Errorf("key: %d %s %s", code, out, errs)
	}
	verify := []string{"record", "verify", "--wait", "1s", "--config", config}
	if code, out, errs := runCommand(verify...); code != 0 || !strings.Contains(out, "everything agrees") || !strings.Contains(out, "checkpoints that agree 2") {
		t.Errorf("verify: %d %s %s", code, out, errs)
	}
	if code, _, errs := runCommand(append(verify, "--checkpoints", folder+"/none")...); code != 2 || !strings.Contains(errs, "none") {
		t.Errorf("no such file: %d %s", code, errs)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(state, store.SQLiteFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE findings SET document = REPLACE(document, '203.0.113.9', '203.0.113.8')"); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := runCommand(verify...); code != 1 || !strings.Contains(out, "difference: finding f1 of web-1") {
		t.Errorf("a changed finding: %d %s", code, out)
	}
}

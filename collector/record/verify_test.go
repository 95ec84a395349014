package record

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/collector/store"
	"sallyport/collector/store/postgrestest"
	"sallyport/collector/stream"
	"sallyport/rules"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bench is a store with a record, filled as the collector fills them.
type bench struct {
	t     *testing.T
	state string
	store *store.Store
	key   Key
	seq   map[string]uint64
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchOn(t, store.DefaultConfig())
}

func newBenchOn(t *testing.T, cfg store.Config) *bench {
	t.Helper()
	b := &bench{t: t, state: t.TempDir(), seq: map[string]uint64{}}
	var err error
	if b.store, err = store.Open(t.Context(), cfg, b.state); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.store.Close() })
	if b.key, err = OpenKey(b.state); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) take(entries ...stream.Entry) {
	b.t.Helper()
	b.must(b.store.Save(b.t.Context(), entries))
	b.must(Append(b.t.Context(), b.store, entries))
}

// sample is a finding about one entity.
func sample(agent, id string, revision uint64) rules.Finding {
	at := noon.Add(time.Duration(revision) * time.Minute)
	return rules.Finding{
		Version: rules.FindingVersion, ID: id, Revision: revision, State: rules.StateUpdated,
		Agent: rules.AgentInfo{Name: agent, Version: "1.2.3", Pack: "example 7"},
		Rule:  rules.RuleRef{ID: "rdp-attributed-remote", Title: "RDP with an attributed remote"},
		Title: "RDP with an attributed remote", Severity: rules.SeverityHigh, Confidence: "high", Why: []string{"data went both ways"},
		Matches: []rules.Match{{
			Field: "remote.addr", Value: "203.0.113.9", Entity: rules.EntityRef{ID: "example-entity", Name: "Example <Entity>"},
			Indicator: rules.IndicatorRef{
				Type: "ip", Value: "203.0.113.9", FirstSeen: "2025-01-01", LastSeen: "2026-02-01", Confidence: "high", Pack: "example 7",
				Sources: []rules.SourceRef{{Name: "Example report", Date: "2026-02-01", Reference: "https://example.org/r"}},
			},
			Designations: []rules.DesignationRef{{Authority: "OFAC", List: "SDN", Programme: "EXAMPLE", LegalBasis: "E.O. 0", ListID: "12345", Designated: "2025-06-01"}},
			Statement:    "a remote attributed to Example Entity, reported by Example report as used until 2026-02-01",
		}},
		Observation: rules.Observation{
			FlowID: id + "-flow", Host: agent, Sensor: "socket", Transport: rules.TCP, Direction: rules.Outbound,
			Local:  rules.Endpoint{Addr: netip.MustParseAddr("192.0.2.1"), Port: 51000},
			Remote: rules.Endpoint{Addr: netip.MustParseAddr("203.0.113.9"), Port: 3389}, Outcome: rules.OutcomeData,
			First: noon, Last: at, BytesOut: 1000 * revision, BytesIn: 5000 * revision,
			Owner: rules.Owner{Attribution: rules.AttributionExact, Process: &rules.Process{PID: 7, Executable: "/usr/bin/xfreerdp", User: "alice"}},
			TLS:   &rules.TLSFacts{SNI: "rdp.example", JA4: "t13d1516h2_8daaf6152771_e5627efa2ab1"}, Identification: rules.Identification{Protocol: "rdp", State: "confirmed"},
		},
		First: noon, Last: at, Count: revision, Created: at,
		Evidence: &rules.Evidence{PCAPNG: []byte("packets of " + id), Packets: 3, SHA256: "claimed"},
	}
}

func (b *bench) entry(f rules.Finding) stream.Entry {
	b.t.Helper()
	text, err := json.Marshal(f)
	b.must(err)
	b.seq[f.Agent.Name]++
	return stream.Entry{Agent: f.Agent.Name, Epoch: "e", Seq: b.seq[f.Agent.Name], ID: f.MessageID(), Received: f.Created.Add(2 * time.Second), Finding: text}
}

func (b *bench) decide(d store.Decision) {
	b.t.Helper()
	d, err := b.store.Decide(b.t.Context(), d)
	b.must(err)
	e, err := DecisionEntry(d)
	b.must(err)
	b.take(e)
}

// fill puts something of every kind into store and record, with a checkpoint in
// between and one at the end.
func (b *bench) fill() {
	b.t.Helper()
	b.take(b.entry(sample("web-1", "f1", 1)), b.entry(sample("web-1", "f2", 1)), b.entry(sample("db-1", "f1", 1)))
	b.sign(noon.Add(time.Hour))
	b.take(b.entry(sample("web-1", "f1", 2)))
	b.seq["web-1"]++
	b.take(stream.Entry{Agent: "web-1", Epoch: "e", Seq: b.seq["web-1"], Received: noon, Rejected: "too large"})
	b.take(coverageEntry(Coverage{Agent: "web-1", From: noon, To: noon.Add(time.Hour), Version: "1.2.3", Hooks: map[string]string{"connect": "ok"}}, noon.Add(time.Hour)))
	b.decide(store.Decision{Agent: "web-1", ID: "f1", At: noon.Add(2 * time.Hour), Author: "user:maria", State: store.TriageClosed, Decision: "licensed", Note: "licence 2026-1"})
	b.sign(noon.Add(3 * time.Hour))
}

func (b *bench) sign(at time.Time) store.Checkpoint {
	b.t.Helper()
	c, err := Sign(b.t.Context(), b.store, b.key, b.state, at)
	b.must(err)
	return c
}

func (b *bench) notes() []string {
	b.t.Helper()
	f, err := os.Open(filepath.Join(Folder(b.state), checkpointFile))
	b.must(err)
	defer f.Close()
	notes, err := ReadCheckpoints(f)
	b.must(err)
	return notes
}

func (b *bench) verify() Verification {
	b.t.Helper()
	v, err := Verify(b.t.Context(), Verifying{Store: b.store, Keys: []string{b.key.Verifier}, Notes: b.notes(), Keep: store.DefaultConfig().Keep})
	b.must(err)
	return v
}

func TestVerifyAgrees(t *testing.T) {
	b := newBench(t)
	b.fill()
	b.take(b.entry(sample("web-1", "f1", 3))) // not signed yet
	again := b.entry(sample("web-1", "f2", 1))
	b.must(Append(t.Context(), b.store, []stream.Entry{again, again})) // the stream may repeat itself
	v := b.verify()
	if len(v.Differences) > 0 {
		t.Fatalf("differences: %q", v.Differences)
	}
	// Two checkpoints in the store, the same two in the file.
	if v.Entries != 8 || v.Checkpoints != 4 || v.Findings != 3 || v.Packets != 3 || v.Decisions != 1 {
		t.Errorf("%+v", v)
	}
}

// TestPostgres runs the record, its verification, a report and retention on
// PostgreSQL.
func TestPostgres(t *testing.T) {
	cfg := store.DefaultConfig()
	cfg.Postgres = postgrestest.Start(t)
	b := newBenchOn(t, cfg)
	b.fill()
	v := b.verify()
	if len(v.Differences) > 0 || v.Entries != 7 || v.Findings != 3 || v.Decisions != 1 {
		t.Fatalf("%+v", v)
	}
	r, err := Build(t.Context(), b.store, Query{Entity: "example-entity", From: noon.Add(-time.Hour), To: noon.Add(time.Hour)}, "test", noon)
	b.must(err)
	if r.Totals.Contacts != 3 {
		t.Errorf("%+v", r.Totals)
	}
	list, err := b.store.Arrived(t.Context(), store.Query{Entity: "example-entity"}, store.Arrival{At: noon.AddDate(-10, 0, 0)})
	b.must(err)
	if len(list) > 3 { // fewer where what was stored has not settled yet
		t.Errorf("%d arrived", len(list))
	}
	if _, err := b.store.Retain(t.Context(), noon.Add(cfg.Keep+48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if v := b.verify(); len(v.Differences) > 0 || v.Removed != 7 {
		t.Errorf("after retention: %+v", v)
	}
	if _, err := b.store.Bursts(t.Context(), noon, 2); err != nil {
		t.Error(err)
	}
	b.must(b.store.AddSightings(t.Context(), []store.Sighting{{Rule: "r", Indicator: "i", Agent: "a", At: noon}}))
	b.must(b.store.SetLabel(t.Context(), "a", "group", "x"))
	b.must(b.store.SetLabel(t.Context(), "a", "group", ""))
}

// TestTamperingIsFound changes one stored thing at a time.
func TestTamperingIsFound(t *testing.T) {
	tests := []struct{ name, statement, want string }{
		{"document of an entry", "UPDATE record_entries SET document = REPLACE(document, 'alice', 'malice') WHERE n = 1", "entry 1"},
		{"document and digest", "UPDATE record_entries SET document = '{}', digest = 'x' WHERE n = 1", "entry 1"},
		{"digest alone", "UPDATE record_entries SET digest = digest || '00' WHERE n = 2", "entry 2"},
		{"salt", "UPDATE record_entries SET salt = salt || '00' WHERE n = 0", "entry 0"},
		{"time of an entry", "UPDATE record_entries SET received = received + 1 WHERE n = 0", "entry 0"},
		{"agent of an entry", "UPDATE record_entries SET agent = 'db-9' WHERE n = 0", "entry 0"},
		{"an entry gone", "DELETE FROM record_entries WHERE n = 1", "entry 1 is missing"},
		{"the last entry gone", "DELETE FROM record_entries WHERE n = 6", "has 6"},
		{"the end gone, and the size", "DELETE FROM record_entries WHERE n >= 4; UPDATE record_head SET size = 4", "its end is missing"},
		{"the record emptied", "DELETE FROM record_entries; DELETE FROM record_hashes; UPDATE record_head SET size = 0; DELETE FROM record_checkpoints", "its end is missing"},
		{"a document removed early", "UPDATE record_entries SET document = '', salt = '', removed = received + 1 WHERE n = 3", "before its time"},
		{"a hash of the tree", "UPDATE record_hashes SET hash = (SELECT hash FROM record_hashes WHERE place = 0) WHERE place = 2", "hashes"},
		{"a checkpoint's text", "UPDATE record_checkpoints SET note = REPLACE(note, 'time 2026', 'time 2025')", "checkpoint of"},
		{"a finding's document", "UPDATE findings SET document = REPLACE(document, 'alice', 'bob') WHERE id = 'f2'", "finding f2 of web-1"},
		{"a finding's column", "UPDATE findings SET severity = 1 WHERE id = 'f2'", "finding f2 of web-1"},
		{"a finding's test mark", "UPDATE findings SET test = 1 WHERE id = 'f2'", "finding f2 of web-1"},
		{"a finding's entity", "DELETE FROM finding_entities WHERE key = (SELECT MIN(key) FROM finding_entities)", "entities"},
		{"a finding's time of receipt", "UPDATE findings SET received = received + 1 WHERE id = 'f2'", "finding f2 of web-1"},
		{"a finding gone", "DELETE FROM findings WHERE id = 'f2'", "finding f2 of web-1"},
		{"a finding added", `INSERT INTO findings SELECT key + 1, agent, 'f9', revision, state, severity, test, retro, suppressed, host, rule, protocol, direction, outcome, remote,
 remote_port, executable, username, pod, first_seen, last_seen, received, legal_hold, triage, assignee, decision, stored, REPLACE(document, '"id":"f2"', '"id":"f9"') FROM findings WHERE id = 'f2'`, "finding f9 of web-1"},
		{"a finding's place", "UPDATE findings SET key = key / 2 WHERE id = 'f2'", "finding f2 of web-1"},
		{"packets", "UPDATE evidence SET pcapng = 'other' WHERE id = 'f2'", "packets of finding f2"},
		{"packets' claim", "UPDATE evidence SET sha256 = 'other' WHERE id = 'f2'", "packets of finding f2"},
		{"a revision", "UPDATE revisions SET flows = 9 WHERE id = 'f2'", "revision 1"},
		{"a revision gone", "DELETE FROM revisions WHERE id = 'f2'", "revision 1"},
		{"a revision added", "INSERT INTO revisions SELECT agent, id, 9, state, severity, flows, received, epoch, seq FROM revisions WHERE id = 'f2'", "revision 9"},
		{"a decision", "UPDATE decisions SET decision = 'benign'", "decision 1"},
		{"a decision gone", "DELETE FROM decisions", "decision 1"},
		{"a finding's triage", "UPDATE findings SET decision = 'benign' WHERE id = 'f1' AND agent = 'web-1'", "triage"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.fill()
			db, err := sql.Open("sqlite", "file:"+filepath.Join(b.state, store.SQLiteFile))
			b.must(err)
			defer db.Close()
			res, err := db.Exec(tt.statement)
			b.must(err)
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				t.Fatalf("the test changed nothing: %v", err)
			}
			v := b.verify()
			if len(v.Differences) == 0 || !strings.Contains(strings.Join(v.Differences, "\n"), tt.want) {
				t.Errorf("want %q, got %q", tt.want, v.Differences)
			}
		})
	}
}

func TestForeignCheckpointIsToldApart(t *testing.T) {
	b, other := newBench(t), newBench(t)
	b.fill()
	other.take(other.entry(sample("web-1", "f1", 1)))
	c := other.sign(noon)
	v, err := Verify(t.Context(), Verifying{Store: b.store, Keys: []string{b.key.Verifier}, Notes: []string{c.Note}})
	b.must(err)
	if len(v.Differences) != 1 || !strings.Contains(v.Differences[0], "not known here") {
		t.Errorf("%q", v.Differences)
	}
	v, err = Verify(t.Context(), Verifying{Store: b.store, Keys: []string{b.key.Verifier, other.key.Verifier}, Notes: []string{c.Note}})
	b.must(err)
	if len(v.Differences) != 1 || !strings.Contains(v.Differences[0], "first 1 entries are not those") {
		t.Errorf("%q", v.Differences)
	}
}

func TestRetentionKeepsTheTree(t *testing.T) {
	b := newBench(t)
	b.fill()
	b.must(b.store.SetLegalHold(t.Context(), "db-1", "f1", true))
	if _, err := b.store.Retain(t.Context(), noon.Add(store.DefaultConfig().Keep+48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	v := b.verify()
	if len(v.Differences) > 0 {
		t.Errorf("differences: %q", v.Differences)
	}
	if v.Entries != 7 || v.Removed != 6 || v.Findings != 1 {
		t.Errorf("%+v", v)
	}
}

func TestCheckpointsLeaveAsFindings(t *testing.T) {
	b := newBench(t)
	b.fill()
	e, err := checkpointEntry(b.sign(noon.Add(4*time.Hour)), "test")
	b.must(err)
	var f rules.Finding
	b.must(json.Unmarshal(e.Finding, &f))
	b.must(f.Validate())
	notes, err := ReadCheckpoints(strings.NewReader(string(e.Finding) + "\n" + `{"rule":{"id":"other"},"why":["x"]}` + "\n"))
	b.must(err)
	v, err := Verify(context.Background(), Verifying{Store: b.store, Keys: []string{b.key.Verifier}, Notes: notes})
	b.must(err)
	if len(notes) != 1 || len(v.Differences) != 0 {
		t.Errorf("%d notes, differences %q", len(notes), v.Differences)
	}
}

func TestKeyIsKept(t *testing.T) {
	state := t.TempDir()
	first, err := OpenKey(state)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenKey(state)
	if err != nil || first.Verifier != second.Verifier {
		t.Errorf("%q then %q, %v", first.Verifier, second.Verifier, err)
	}
	st, err := os.Stat(filepath.Join(Folder(state), keyFile))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func FuzzReadCheckpoints(f *testing.F) {
	f.Add([]byte(`{"size":1,"note":"x"}`))
	f.Add([]byte(origin + "\n1\nAAAA\n"))
	f.Add([]byte(`{"rule":{"id":"sallyport.record.checkpoint"},"why":["a","b"]}`))
	key, err := OpenKey(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	list, err := verifiers([]string{key.Verifier})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		notes, _ := ReadCheckpoints(strings.NewReader(string(text)))
		for _, n := range notes {
			if p, err := OpenCheckpoint(n, list); err == nil {
				t.Errorf("nobody signed %+v", p)
			}
		}
	})
}

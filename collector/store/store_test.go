package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/collector/store/postgrestest"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// TestStore runs every test of the schema against both databases.
func TestStore(t *testing.T) {
	tests := []struct {
		name string
		test func(*testing.T, *Store)
	}{
		{"keeps the highest revision", testHighestRevision},
		{"a batch of many", testBatch},
		{"the record", testRecord},
		{"keeps what it does not know", testNewerDocument},
		{"agents cannot touch each other's", testAgentsApart},
		{"searches", testSearch},
		{"pages", testPages},
		{"every question", testEveryQuestion},
		{"words", testWords},
		{"a crowded millisecond", testCrowd},
		{"numbers that never came", testSequences},
		{"retention and legal hold", testRetention},
		{"tokens and certificates", testTokens},
		{"accounts", testAccounts},
		{"parked", testParked},
		{"heartbeats", testHeartbeats},
		{"two writers", testTwoWriters},
		{"leases", testLeases},
		{"shared files", testSharedFiles},
	}
	databases := map[string]func(*testing.T) Config{
		"sqlite":   func(*testing.T) Config { return DefaultConfig() },
		"postgres": func(t *testing.T) Config { c := DefaultConfig(); c.Postgres = postgrestest.Start(t); return c },
	}
	for name, configure := range databases {
		t.Run(name, func(t *testing.T) {
			cfg := configure(t)
			state := t.TempDir()
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					if cfg.Postgres == "" {
						state = t.TempDir()
					}
					s, err := Open(t.Context(), cfg, state)
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					if cfg.Postgres != "" {
						empty(t, s)
					}
					tt.test(t, s)
				})
			}
		})
	}
}

// empty clears PostgreSQL, which the tests share.
func empty(t *testing.T, s *Store) {
	t.Helper()
	_, err := s.write.Exec(`TRUNCATE findings, finding_entities, evidence, revisions, sequences, agents, tokens, certificates, users, sessions, api_tokens, parked, access_log, leases, shared_files`)
	if err != nil {
		t.Fatal(err)
	}
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func finding(agent, id string, revision uint64) rules.Finding {
	return rules.Finding{
		Version: 1, ID: id, Revision: revision, State: rules.StateOpened, Agent: rules.AgentInfo{Name: agent}, Severity: rules.SeverityMedium, Confidence: "high",
		Rule: rules.RuleRef{ID: "r"}, Title: "Contact", First: start, Last: start.Add(time.Duration(revision) * time.Minute), Count: revision, Created: start,
		Observation: rules.Observation{Host: agent, Transport: rules.TCP, Direction: rules.Outbound, Outcome: rules.OutcomeData, Remote: rules.Endpoint{Addr: netip.MustParseAddr("203.0.113.9"), Port: 443}},
		Evidence:    &rules.Evidence{PCAPNG: []byte(fmt.Sprint("packets of ", revision)), Packets: 1, SHA256: "x"},
	}
}

func entry(seq uint64, f rules.Finding) stream.Entry {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return stream.Entry{Agent: f.Agent.Name, Epoch: "e", Seq: seq, ID: f.MessageID(), Received: start.Add(time.Duration(seq) * time.Second), Finding: text}
}

func save(t *testing.T, s *Store, entries ...stream.Entry) {
	t.Helper()
	if err := s.Save(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

func ids(t *testing.T, s *Store, q Query) string {
	t.Helper()
	page, err := s.Findings(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range page.Findings {
		list = append(list, f.Reporter+"/"+f.Finding.MessageID())
	}
	return strings.Join(list, " ")
}

func testHighestRevision(t *testing.T, s *Store) {
	save(t, s, entry(2, finding("a", "f", 2)), entry(1, finding("a", "f", 1)))
	bare := finding("a", "f", 3)
	bare.Evidence = nil
	save(t, s, entry(3, bare), entry(3, bare))
	save(t, s, entry(2, finding("a", "f", 2))) // again, much later
	if got := ids(t, s, Query{}); got != "a/f.3" {
		t.Errorf("findings %q", got)
	}
	if c, err := s.Counts(t.Context()); err != nil || c != (Counts{1, 3}) {
		t.Errorf("counts %+v, %v", c, err)
	}
	e, err := s.Evidence(t.Context(), "a", "f")
	if err != nil || string(e.PCAPNG) != "packets of 2" || e.Revision != 2 {
		t.Errorf("evidence %+v, %v: the last that came must stay", e, err)
	}
	r, err := s.Revisions(t.Context(), "a", "f", 10)
	if err != nil || len(r) != 3 || r[0].Revision != 3 {
		t.Errorf("revisions %+v, %v", r, err)
	}
	agents, err := s.Agents(t.Context())
	if err != nil || len(agents) != 1 || agents[0].Findings != 3 {
		t.Errorf("agents %+v, %v", agents, err)
	}
}

func testNewerDocument(t *testing.T, s *Store) {
	raw := `{"version":2,"id":"f1","revision":1,"state":"reopened","novelty":{"a":[1]},"evidence":{"pcapng":"eA==","sha256":"0","novelty":1}}`
	if err := s.Save(t.Context(), []stream.Entry{{Agent: "a", Epoch: "e", Seq: 1, ID: "f1.1", Received: start, Finding: json.RawMessage(raw)}}); err != nil {
		t.Fatal(err)
	}
	var kept string
	if err := s.read.QueryRow("SELECT document FROM findings").Scan(&kept); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(kept, `"novelty":{"a":[1]}`) || !strings.Contains(kept, `"novelty":1`) || strings.Contains(kept, "pcapng") {
		t.Errorf("kept %s", kept)
	}
	if e, err := s.Evidence(t.Context(), "a", "f1"); err != nil || string(e.PCAPNG) != "x" {
		t.Errorf("evidence %q, %v", e.PCAPNG, err)
	}
}

func testAgentsApart(t *testing.T, s *Store) {
	save(t, s, entry(1, finding("a", "same", 1)), entry(1, finding("b", "same", 9)))
	if got := ids(t, s, Query{Agent: "a"}); got != "a/same.1" {
		t.Errorf("a has %q", got)
	}
	if got := ids(t, s, Query{ID: "same"}); got != "b/same.9 a/same.1" { // the later flow first
		t.Errorf("both have %q", got)
	}
}

func testSearch(t *testing.T, s *Store) {
	f := finding("web-1", "f", 1)
	f.Title = "Fernzugriff über RDP"
	f.Observation.Owner.Process = &rules.Process{Executable: "/usr/bin/xfreerdp", User: "alice"}
	f.Observation.Names = []rules.Name{{Name: "gw.evil-corp.example"}}
	f.Matches = []rules.Match{
		{Entity: rules.EntityRef{ID: "one", Name: "Entity One"}}, {Entity: rules.EntityRef{ID: "two", Name: "Entity Two"}}, {Entity: rules.EntityRef{ID: "one"}},
	}
	save(t, s, entry(1, f), entry(2, finding("web-2", "g", 1)))
	for text, want := range map[string]int{
		"203.0.113.9": 2, "203.0.113": 2, "203.0.114": 0, "xfreerdp": 1, "/usr/bin/xfreerdp": 1, "evil-corp": 1, "gw.evil": 1, "evil.gw": 0, "ÜBER": 1,
		"entity two": 1, "entity three": 0, "alice web-1": 1, "alice web-2": 0, `"quoted" OR`: 0, "*": 2, "' ; --": 2, "": 2, "a:b|c&d!": 0, "NEAR(a b)": 0,
	} {
		page, err := s.Findings(t.Context(), Query{Text: text})
		if err != nil || len(page.Findings) != want {
			t.Errorf("search %q: %d findings, %v; want %d", text, len(page.Findings), err, want)
		}
	}
	yes, no := true, false
	for name, tt := range map[string]struct {
		q    Query
		want string
	}{
		"first entity":  {Query{Entity: "one"}, "web-1/f.1"},
		"second entity": {Query{Entity: "two"}, "web-1/f.1"},
		"severity":      {Query{Severity: rules.SeverityHigh}, ""},
		"executable":    {Query{Executable: "/usr/bin/xfreerdp", User: "alice"}, "web-1/f.1"},
		"test":          {Query{Test: &yes}, ""},
		"no test":       {Query{Test: &no, Host: "web-2"}, "web-2/g.1"},
		"from":          {Query{From: start.Add(time.Hour)}, ""},
		"to":            {Query{To: start.Add(time.Hour), Agent: "web-2"}, "web-2/g.1"},
	} {
		if got := ids(t, s, tt.q); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	f.Revision, f.Title, f.Matches = 2, "Quite another", f.Matches[:1]
	save(t, s, entry(3, f))
	if ids(t, s, Query{Text: "Fernzugriff"}) != "" || ids(t, s, Query{Entity: "two"}) != "" || ids(t, s, Query{Text: "quite"}) != "web-1/f.2" {
		t.Error("the old revision's words or entities are still found")
	}
}

func testPages(t *testing.T, s *Store) {
	var want []string
	for i := range 10 {
		f := finding("a", fmt.Sprintf("f%d", i), 1)
		f.Last = start.Add(time.Duration(i/3) * time.Hour) // ties, whose order is any
		save(t, s, entry(uint64(i+1), f))
		want = append(want, f.ID)
	}
	var got []string
	last := start.Add(24 * time.Hour)
	q := Query{Limit: 4}
	for range 10 {
		page, err := s.Findings(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range page.Findings {
			got = append(got, f.Finding.ID)
			if f.Finding.Last.After(last) {
				t.Errorf("%s of %s follows one of %s", f.Finding.ID, f.Finding.Last, last)
			}
			last = f.Finding.Last
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Findings(t.Context(), Query{Cursor: "nonsense"}); !errors.Is(err, ErrCursor) {
		t.Errorf("error %v", err)
	}
}

func testSequences(t *testing.T, s *Store) {
	rejected := stream.Entry{Agent: "a", Epoch: "e", Seq: 4, Received: start, Rejected: "too large"}
	save(t, s, entry(2, finding("a", "x", 1)), rejected, entry(7, finding("a", "y", 1)))
	save(t, s, rejected, entry(7, finding("a", "y", 1)))
	list, err := s.Sequences(t.Context(), "a")
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	want := Sequence{Agent: "a", Epoch: "e", Received: 3, High: 7, Missing: Ranges{{1, 1}, {3, 3}, {5, 6}}, Rejected: 1, Updated: start.Add(7 * time.Second), Begun: start}
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Error(diff)
	}
}

func testRetention(t *testing.T, s *Store) {
	save(t, s, entry(1, finding("a", "old", 1)), entry(2, finding("a", "held", 1)))
	latest := finding("a", "recent", 1)
	latest.Last = latest.Last.Add(time.Hour)
	recent := entry(3, latest)
	recent.Received = start.Add(40 * 24 * time.Hour)
	save(t, s, recent)
	if err := s.SetLegalHold(t.Context(), "a", "held", true); err != nil {
		t.Fatal(err)
	}
	s.cfg.Keep, s.cfg.KeepEvidence = 60*24*time.Hour, 30*24*time.Hour
	gone, err := s.Retain(t.Context(), start.Add(50*24*time.Hour))
	if err != nil || gone != (Expired{0, 1}) {
		t.Errorf("removed %+v, %v", gone, err)
	}
	gone, err = s.Retain(t.Context(), start.Add(70*24*time.Hour))
	if err != nil || gone != (Expired{1, 0}) {
		t.Errorf("removed %+v, %v", gone, err)
	}
	if got := ids(t, s, Query{}); got != "a/recent.1 a/held.1" {
		t.Errorf("left: %q", got)
	}
	if _, err := s.Evidence(t.Context(), "a", "held"); err != nil {
		t.Errorf("evidence under legal hold: %v", err)
	}
	if got := ids(t, s, Query{Text: "contact"}); got != "a/recent.1 a/held.1" {
		t.Errorf("found: %q", got)
	}
	if err := s.SetLegalHold(t.Context(), "a", "none", true); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

func testTokens(t *testing.T, s *Store) {
	ctx := t.Context()
	if err := s.AddToken(ctx, Token{ID: "t", Hash: "h", Pattern: "*", Uses: 2, Left: 2, Created: start, Expires: start.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	certificate := func(serial string, at time.Time) error {
		return s.AddCertificate(ctx, Certificate{Serial: serial, Agent: "a", Issued: at, Expires: at.Add(24 * time.Hour)}, "t", false)
	}
	if err := certificate("1", start); err != nil {
		t.Fatal(err)
	}
	if err := certificate("2", start.Add(2*time.Hour)); !errors.Is(err, ErrSpent) {
		t.Errorf("an expired token: %v", err)
	}
	if err := certificate("3", start); err != nil {
		t.Fatal(err)
	}
	if err := certificate("4", start); !errors.Is(err, ErrSpent) {
		t.Errorf("a spent token: %v", err)
	}
	if token, err := s.TokenByHash(ctx, "h"); err != nil || token.Left != 0 {
		t.Errorf("token %+v, %v", token, err)
	}
	if n, err := s.RevokeAgent(ctx, "a", start.Add(time.Minute)); err != nil || n != 2 {
		t.Errorf("revoked %d, %v", n, err)
	}
	if list, err := s.Revoked(ctx, start.Add(time.Hour)); err != nil || len(list) != 2 {
		t.Errorf("revoked %+v, %v", list, err)
	}
	if list, err := s.Revoked(ctx, start.Add(48*time.Hour)); err != nil || len(list) != 0 {
		t.Errorf("revoked and expired %+v, %v", list, err)
	}
	if _, err := s.RevokeAgent(ctx, "a", start); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if err := s.RevokeToken(ctx, "none", start); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

func testAccounts(t *testing.T, s *Store) {
	ctx := t.Context()
	u := User{Name: "u", PasswordHash: "h", Role: "viewer", MustChange: true, Created: start}
	if err := s.AddUser(ctx, u); err != nil {
		t.Fatal(err)
	}
	if err := s.AddUser(ctx, u); !errors.Is(err, ErrExists) {
		t.Errorf("error %v", err)
	}
	if err := s.AddSession(ctx, Session{Hash: "s", User: "u", Created: start, Seen: start, Expires: start.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetPassword(ctx, "u", "h2", false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Session(ctx, "s"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a session outlived its password: %v", err)
	}
	if got, err := s.User(ctx, "u"); err != nil || got.PasswordHash != "h2" || got.MustChange {
		t.Errorf("user %+v, %v", got, err)
	}
	if err := s.AddSession(ctx, Session{Hash: "s2", User: "u", Created: start, Expires: start.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveUser(ctx, "u"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Session(ctx, "s2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a session outlived its user: %v", err)
	}
	if err := s.AddAPIToken(ctx, APIToken{Name: "p", Hash: "x", Role: "viewer", Created: start, Expires: start.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeAPIToken(ctx, "p", start); err != nil {
		t.Fatal(err)
	}
	if got, err := s.APITokenByHash(ctx, "x"); err != nil || got.Revoked.IsZero() {
		t.Errorf("API token %+v, %v", got, err)
	}
	if err := s.LogAccess(ctx, Access{At: start, Actor: "u", Action: "read"}); err != nil {
		t.Fatal(err)
	}
	if list, err := s.AccessLog(ctx, 5); err != nil || len(list) != 1 {
		t.Errorf("access log %+v, %v", list, err)
	}
}

func testParked(t *testing.T, s *Store) {
	ctx := t.Context()
	e := entry(1, finding("a", "f", 1))
	p := Parked{Exporter: "x", Agent: "a", ID: "f", Revision: 1, Reason: "no", At: start, Entry: e}
	for range 2 {
		if err := s.Park(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Resend(ctx, "x"); err != nil || n != 1 {
		t.Errorf("resend %d, %v", n, err)
	}
	list, err := s.Resending(ctx, "x", 10)
	if err != nil || len(list) != 1 || string(list[0].Entry.Finding) != string(e.Finding) {
		t.Fatalf("resending %+v, %v", list, err)
	}
	if counts, err := s.CountParked(ctx); err != nil || counts["x"] != 1 {
		t.Errorf("counts %v, %v", counts, err)
	}
	if err := s.Unpark(ctx, list[0].Key); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Parked(ctx, "", 10); err != nil || len(list) != 0 {
		t.Errorf("parked %+v, %v", list, err)
	}
}

func testHeartbeats(t *testing.T, s *Store) {
	ctx := t.Context()
	for _, at := range []int{2, 1} { // the older came late
		if err := s.SaveHeartbeat(ctx, "a", "x", start.Add(time.Duration(at)*time.Minute), rules.Heartbeat{Agent: "a", Version: fmt.Sprint(at)}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.Agents(ctx)
	if err != nil || len(list) != 1 || list[0].Heartbeat.Version != "2" {
		t.Errorf("agents %+v, %v", list, err)
	}
}

// testTwoWriters is two collectors that store the same entries at once.
func testTwoWriters(t *testing.T, s *Store) {
	var batch []stream.Entry
	for i := range uint64(50) {
		batch = append(batch, entry(i+1, finding("a", fmt.Sprintf("f%d", i/2), 1+i%2)))
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := 0; i < len(batch); i += 5 {
				for try := 0; ; try++ {
					err := s.Save(context.Background(), batch[i:i+5])
					if err == nil {
						break
					}
					if try == 20 {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if c, err := s.Counts(t.Context()); err != nil || c != (Counts{25, 50}) {
		t.Errorf("counts %+v, %v", c, err)
	}
	list, err := s.Sequences(t.Context(), "a")
	if err != nil || len(list) != 1 || list[0].Received != 50 || list[0].Missing != nil {
		t.Errorf("sequences %+v, %v", list, err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	state := t.TempDir()
	s, err := Open(t.Context(), DefaultConfig(), state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.write.Exec("INSERT INTO schema_version VALUES (99)"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(t.Context(), DefaultConfig(), state); err == nil || !strings.Contains(err.Error(), "at least as new") {
		t.Errorf("error %v", err)
	}
}

func TestCopyIsAStore(t *testing.T) {
	s, err := Open(t.Context(), DefaultConfig(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	save(t, s, entry(1, finding("a", "f", 1)))
	state := t.TempDir()
	if err := s.CopyTo(t.Context(), filepath.Join(state, SQLiteFile)); err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), DefaultConfig(), state)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := ids(t, c, Query{Text: "contact"}); got != "a/f.1" {
		t.Errorf("the copy holds %q", got)
	}
}

func TestRanges(t *testing.T) {
	for name, tt := range map[string]struct {
		add     []uint64
		want    Ranges
		missing Ranges
	}{
		"in order":  {[]uint64{1, 2, 3}, Ranges{{1, 3}}, nil},
		"backwards": {[]uint64{3, 2, 1}, Ranges{{1, 3}}, nil},
		"hole":      {[]uint64{1, 3}, Ranges{{1, 1}, {3, 3}}, Ranges{{2, 2}}},
		"filled":    {[]uint64{1, 3, 2}, Ranges{{1, 3}}, nil},
		"repeats":   {[]uint64{2, 2, 5, 2}, Ranges{{2, 2}, {5, 5}}, Ranges{{1, 1}, {3, 4}}},
		"largest":   {[]uint64{1, 1<<64 - 1}, Ranges{{1, 1}, {1<<64 - 1, 1<<64 - 1}}, Ranges{{2, 1<<64 - 2}}},
	} {
		var r Ranges
		for _, n := range tt.add {
			r.Add(n)
		}
		if diff := cmp.Diff(tt.want, r); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(tt.missing, r.Missing()); diff != "" {
			t.Errorf("%s: missing: %s", name, diff)
		}
	}
	var r Ranges
	for n := range uint64(3 * maxRanges) {
		r.Add(1 + 2*n)
	}
	if len(r) > maxRanges {
		t.Errorf("%d ranges kept", len(r))
	}
}

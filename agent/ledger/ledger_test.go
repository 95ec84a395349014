package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"sallyport/rules"
)

// memory is a spool that can refuse.
type memory struct {
	got []rules.Finding
	err error
}

func (m *memory) Append(_ context.Context, f rules.Finding) error {
	if m.err != nil {
		return m.err
	}
	m.got = append(m.got, f)
	return nil
}

// said is "id.revision state count" of all that came.
func (m *memory) said() (out []string) {
	for _, f := range m.got {
		out = append(out, fmt.Sprintf("%s %s %d", f.MessageID(), f.State, f.Count))
	}
	return out
}

func openLedger(t *testing.T, path string, spool Appender, change func(*Config)) *Ledger {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Path = path
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	l, err := Open(cfg, spool, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.db.close() })
	return l
}

func draft(id, flow string, closed bool) rules.Finding {
	now := time.Now()
	return rules.Finding{ID: id, State: "whatever", Revision: 77, Severity: rules.SeverityMedium, First: now, Last: now, Count: 1,
		Observation: rules.Observation{FlowID: flow, Closed: closed, Outcome: rules.OutcomeEstablished}}
}

func observe(t *testing.T, l *Ledger, d rules.Finding) {
	t.Helper()
	if err := l.Observe(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, spool *memory, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, spool.said()); diff != "" {
		t.Fatal(diff)
	}
}

// passes lets time go by as Run would.
func (l *Ledger) passes(t *testing.T, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(tick)
		l.sweep(t.Context(), time.Now())
	}
}

func TestRevisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := &memory{}
		l := openLedger(t, filepath.Join(t.TempDir(), "l.db"), spool, nil)
		observe(t, l, draft("a", "1", false))
		check(t, spool, "a.1 opened 1") // the first at once
		observe(t, l, draft("a", "1", false))
		observe(t, l, draft("a", "2", false))
		observe(t, l, draft("a", "3", true))
		check(t, spool, "a.1 opened 1") // repeats wait
		l.passes(t, l.cfg.Interval)
		check(t, spool, "a.1 opened 1", "a.2 updated 3")
		l.passes(t, 2*l.cfg.Interval)
		check(t, spool, "a.1 opened 1", "a.2 updated 3") // nothing new, nothing said

		worse := draft("a", "2", true)
		worse.Severity = rules.SeverityCritical
		observe(t, l, worse)
		check(t, spool, "a.1 opened 1", "a.2 updated 3", "a.3 updated 3") // worse goes at once
		milder := draft("a", "1", true)
		milder.Severity = rules.SeverityLow
		observe(t, l, milder)
		l.passes(t, l.cfg.CloseAfter+l.cfg.Interval)
		check(t, spool, "a.1 opened 1", "a.2 updated 3", "a.3 updated 3", "a.4 updated 3", "a.5 closed 3")
		if got := spool.got[4].Severity; got != rules.SeverityCritical {
			t.Errorf("closed at severity %s: a milder flow must not hide the worst", got)
		}
		if n := l.Stats().Open; n != 0 {
			t.Errorf("%d open", n)
		}
		observe(t, l, draft("a", "9", true)) // it comes back: numbers go on
		check(t, spool, "a.1 opened 1", "a.2 updated 3", "a.3 updated 3", "a.4 updated 3", "a.5 closed 3", "a.6 opened 1")
	})
}

// A flow of which more is said after its end is not counted again.
func TestFlowSaidAgainAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := &memory{}
		l := openLedger(t, filepath.Join(t.TempDir(), "l.db"), spool, nil)
		observe(t, l, draft("a", "1", false))
		observe(t, l, draft("a", "1", true))
		again := draft("a", "1", true)
		again.Observation.Owner.Intermediary = "proxy"
		observe(t, l, again)
		l.passes(t, l.cfg.Interval)
		check(t, spool, "a.1 opened 1", "a.2 updated 1")
		if got := spool.got[1].Observation.Owner.Intermediary; got != "proxy" {
			t.Errorf("the owner is a %q: what is said last counts", got)
		}
		for i := range 3 * maxEnded {
			observe(t, l, draft("a", fmt.Sprint("x", i), true))
		}
		if n := len(l.entries["a"].ended); n != maxEnded {
			t.Errorf("%d ended flows are remembered, the bound is %d", n, maxEnded)
		}
	})
}

// TestSelfTestTwice: the second self-test is reported too, and soon.
func TestSelfTestTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := &memory{}
		l := openLedger(t, filepath.Join(t.TempDir(), "l.db"), spool, nil)
		for _, flow := range []string{"1", "2"} {
			d := draft("a", flow, true)
			d.Test = true
			observe(t, l, d)
		}
		l.passes(t, 2*testInterval)
		check(t, spool, "a.1 opened 1", "a.2 updated 2")
	})
}

func TestWorse(t *testing.T) {
	base := draft("a", "1", false)
	suspected, confirmed, data := base, base, base
	suspected.Observation.Identification = rules.Identification{Protocol: "rdp", State: "suspected"}
	confirmed.Observation.Identification = rules.Identification{Protocol: "rdp", State: "confirmed"}
	data.Observation.Outcome = rules.OutcomeData
	for _, test := range []struct {
		name string
		a, b rules.Finding
		want bool
	}{
		{"same", base, base, false},
		{"suspected", suspected, base, true},
		{"confirmed", confirmed, suspected, true},
		{"less known", suspected, confirmed, false},
		{"data", data, base, true},
		{"less data", base, data, false},
	} {
		if got := isWorse(test.a, test.b); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestEvidenceGoesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := &memory{}
		path := filepath.Join(t.TempDir(), "l.db")
		l := openLedger(t, path, spool, nil)
		observe(t, l, draft("a", "1", false))
		d := draft("a", "1", false)
		d.Evidence = &rules.Evidence{PCAPNG: []byte("x")}
		observe(t, l, d) // it comes late
		l.passes(t, l.cfg.Interval)
		observe(t, l, d)
		l.passes(t, l.cfg.Interval)
		var got []bool
		for _, f := range spool.got {
			got = append(got, f.Evidence != nil)
		}
		if diff := cmp.Diff([]bool{false, true, false}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// A spool that takes nothing: what is promised goes first and unchanged when it
// takes again, over a restart as well.
func TestSpoolRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := &memory{err: errors.New("full")}
		path := filepath.Join(t.TempDir(), "l.db")
		l := openLedger(t, path, spool, nil)
		observe(t, l, draft("a", "1", true))
		observe(t, l, draft("a", "2", true))
		l.passes(t, 2*l.cfg.Interval)
		l.db.close() // as after kill -9

		l = openLedger(t, path, spool, nil)
		observe(t, l, draft("a", "3", true))
		check(t, spool)
		spool.err = nil
		l.passes(t, 2*l.cfg.Interval)
		// The count of flow 2 was only in memory, where Run would have saved it.
		check(t, spool, "a.1 opened 1", "a.2 updated 2")
	})
}

func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := &memory{}
		l := openLedger(t, filepath.Join(t.TempDir(), "l.db"), spool, func(c *Config) { c.MaxOpen, c.MaxRevisions = 3, 3 })
		for i := range 5 {
			observe(t, l, draft(fmt.Sprint("f", i), "x", true))
		}
		check(t, spool, "f0.1 opened 1", "f1.1 opened 1", "f2.1 opened 1", "f0.2 closed 1", "f3.1 opened 1", "f1.2 closed 1", "f4.1 opened 1")
		if s := l.Stats(); s.Open != 3 || s.Evicted != 2 {
			t.Errorf("stats = %+v", s)
		}
		spool.err = errors.New("full")
		var refused error
		for i := 5; i < 10 && refused == nil; i++ {
			refused = l.Observe(t.Context(), draft(fmt.Sprint("f", i), "x", true))
		}
		if !errors.Is(refused, ErrCrowded) || l.Stats().Dropped == 0 {
			t.Errorf("Observe = %v with %+v", refused, l.Stats())
		}
	})
}

// Forgetting a revision never lets its number be used again.
func TestPruneKeepsNumbersApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := &memory{}
		l := openLedger(t, filepath.Join(t.TempDir(), "l.db"), spool, func(c *Config) { c.MaxOpen, c.MaxRevisions = 1, 1 })
		for i := range 4 {
			observe(t, l, draft(fmt.Sprint("f", i), "x", true))
		}
		if err := l.db.save(nil); err != nil {
			t.Fatal(err)
		}
		if err := l.db.prune(1); err != nil {
			t.Fatal(err)
		}
		spool.got = nil
		observe(t, l, draft("f0", "x", true))
		if f := spool.got[len(spool.got)-1]; f.ID != "f0" || f.Revision <= 2 {
			t.Errorf("a forgotten finding came back as %s", f.MessageID())
		}
	})
}

func TestRestartGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	spool := &memory{}
	l := openLedger(t, path, spool, nil)
	observe(t, l, draft("a", "1", true))
	observe(t, l, draft("a", "2", true))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLedger(t, path, spool, nil)
	l.sweep(t.Context(), time.Now())
	worse := draft("a", "3", true)
	worse.Severity = rules.SeverityHigh
	observe(t, l, worse)
	check(t, spool, "a.1 opened 1", "a.2 updated 2", "a.3 updated 3")
}

func TestDamagedDatabaseIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	spool := &memory{}
	l := openLedger(t, path, spool, nil)
	observe(t, l, draft("a", "1", true))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("no database at all, but long enough to be read as one"), 0o600); err != nil {
		t.Fatal(err)
	}
	l = openLedger(t, path, spool, nil)
	observe(t, l, draft("a", "2", true))
	if r := spool.got[1].Revision; r < 1_000_000 {
		t.Errorf("revision %d may have been used before", r)
	}
}

func TestNoID(t *testing.T) {
	l := openLedger(t, filepath.Join(t.TempDir(), "l.db"), &memory{}, nil)
	if err := l.Observe(t.Context(), rules.Finding{}); !errors.Is(err, ErrNoID) {
		t.Errorf("Observe = %v", err)
	}
}

func sameContent(a, b rules.Finding) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestPruneOverADamagedRow(t *testing.T) {
	l := openLedger(t, filepath.Join(t.TempDir(), "ledger.db"), &memory{}, nil)
	err := l.db.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketRevisions)
		return errors.Join(b.Put([]byte("bad"), []byte{1}), b.Put([]byte("good"), encodeRevision(7, time.Now())))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.db.prune(1); err != nil {
		t.Fatal(err)
	}
	if n, err := l.db.revision("good"); err != nil || n != 7 {
		t.Errorf("the next number starts from %d, %v; want 7, kept by the floor", n, err)
	}
}

package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/rules"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bench is a watcher whose stream is a store, at a time of the test's own.
type bench struct {
	t     *testing.T
	store *store.Store
	fleet *Fleet
	watch *Watcher
	now   time.Time
	gone  []string
	came  []rules.Finding
}

func (b *bench) Append(ctx context.Context, entries []stream.Entry) error {
	for _, e := range entries {
		var f rules.Finding
		if err := json.Unmarshal(e.Finding, &f); err != nil {
			return err
		}
		if err := f.Validate(); err != nil {
			b.t.Errorf("%s: %v", f.Rule.ID, err)
		}
		b.came = append(b.came, f)
	}
	return b.store.Save(ctx, entries)
}

// Heartbeat is the coverage that a fleet keeps; the test gives gone hooks itself.
func (b *bench) Heartbeat(ctx context.Context, agent string, _ time.Time, _ rules.Heartbeat) error {
	return b.store.SaveCoverage(ctx, agent, "{}")
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: noon}
	var err error
	if b.store, err = store.Open(t.Context(), store.DefaultConfig(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.store.Close() })
	cfg := DefaultConfig()
	cfg.BurstAgents = 3
	b.fleet = New(cfg, b.store, b)
	b.watch = NewWatcher(cfg, b.fleet, b.store, b, func(string) ([]string, error) { return b.gone, nil }, "test", hclog.NewNullLogger())
	return b
}

// beat has the agent say something now.
func (b *bench) beat(h rules.Heartbeat) {
	b.t.Helper()
	h.Agent, h.Version = "web-1", "1"
	if h.At.IsZero() {
		h.At = b.now
	}
	if err := b.fleet.Heartbeat(b.t.Context(), "web-1", "192.0.2.1:1", b.now, h); err != nil {
		b.t.Fatal(err)
	}
}

// check lets time pass, looks, and tells which findings changed.
func (b *bench) check(d time.Duration) string {
	b.t.Helper()
	b.now, b.came = b.now.Add(d), nil
	if err := b.watch.Check(b.t.Context(), b.now); err != nil {
		b.t.Fatal(err)
	}
	var list []string
	for _, f := range b.came {
		list = append(list, strings.TrimPrefix(f.Rule.ID, "sallyport.fleet.")+" "+f.State)
	}
	return strings.Join(list, ", ")
}

func (b *bench) want(d time.Duration, want string) {
	b.t.Helper()
	if got := b.check(d); got != want {
		b.t.Errorf("at %s: %q, want %q", b.now.Format(time.TimeOnly), got, want)
	}
}

func TestSilenceIsAFinding(t *testing.T) {
	b := newBench(t)
	b.beat(rules.Heartbeat{})
	b.now = b.now.Add(time.Hour)
	b.want(0, "") // the collector was down itself
	b.want(3*time.Minute, "")
	b.want(2*time.Minute, "silent opened")
	b.want(time.Minute, "")
	b.beat(rules.Heartbeat{})
	b.want(0, "silent closed")
	b.want(time.Minute, "")
	b.want(5*time.Minute, "silent opened")
	if f := b.came[0]; f.Revision != 3 || f.Count != 2 || f.Observation.Host != "web-1" || f.Agent.Name != stream.Collector {
		t.Errorf("the second silence: %+v", f)
	}
}

func TestLossIsAFinding(t *testing.T) {
	b := newBench(t)
	lose := func(n uint64) { b.beat(rules.Heartbeat{Lost: map[string]uint64{"ring_full": n}}) }
	lose(0)
	b.want(0, "")
	lose(5)
	b.want(time.Minute, "lost opened")
	if why := b.came[0].Why; len(why) != 1 || why[0] != "5 more: ring full, lost on the host" {
		t.Errorf("%q", why)
	}
	lose(9)
	b.want(time.Minute, "") // renewed every ten minutes at most
	lose(12)
	b.now = b.now.Add(10 * time.Minute)
	lose(12)
	b.want(0, "lost updated")
	for range 11 {
		b.now = b.now.Add(time.Minute)
		lose(12)
	}
	b.want(0, "lost closed")
	lose(3) // it was started again
	b.want(time.Minute, "lost opened")
}

func TestMissingNumbersMayComeLate(t *testing.T) {
	b := newBench(t)
	line := func(seq uint64) {
		b.t.Helper()
		e := stream.Entry{Agent: "web-1", Epoch: "e", Seq: seq, Received: b.now, Rejected: ""}
		f := rules.Finding{Version: 1, ID: fmt.Sprint("f", seq), Revision: 1, State: rules.StateOpened, Agent: rules.AgentInfo{Name: "web-1"}, Rule: rules.RuleRef{ID: "r"}, Title: "t"}
		var err error
		if e.Finding, err = json.Marshal(f); err != nil {
			t.Fatal(err)
		}
		e.ID = f.MessageID()
		if err := b.store.Save(t.Context(), []stream.Entry{e}); err != nil {
			t.Fatal(err)
		}
	}
	line(1)
	line(3)
	b.beat(rules.Heartbeat{})
	b.want(0, "")
	line(2)
	line(9)
	b.want(2*time.Minute, "") // 2 came after all; 4 to 8 may
	b.beat(rules.Heartbeat{})
	b.want(2*time.Minute, "lost opened")
	if f := b.came[0]; f.Loss.Lost["sequence"] != 5 {
		t.Errorf("%+v", f.Loss)
	}
}

func TestTamperingAndSkew(t *testing.T) {
	b := newBench(t)
	b.beat(rules.Heartbeat{})
	b.want(0, "")
	b.gone = []string{"connect"}
	b.want(time.Minute, "tampered opened")
	b.beat(rules.Heartbeat{At: b.now.Add(-time.Hour)})
	b.want(time.Minute, "skew opened")
	b.gone = nil
	b.beat(rules.Heartbeat{})
	b.want(time.Minute, "skew closed, tampered closed")
	for _, epoch := range []string{"one", "two"} {
		err := b.store.Save(t.Context(), []stream.Entry{{Agent: "web-1", Epoch: epoch, Seq: 1, Received: b.now, Rejected: "too large"}})
		if err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(time.Minute)
		b.beat(rules.Heartbeat{})
	}
	if got := b.check(0); !strings.Contains(got, "tampered opened") {
		t.Errorf("a sequence begun anew: %q", got)
	}
	b.now = b.now.Add(2 * time.Hour)
	b.beat(rules.Heartbeat{})
	if got := b.check(0); !strings.Contains(got, "tampered closed") {
		t.Errorf("long after: %q", got)
	}
}

func TestBurstCollapses(t *testing.T) {
	b := newBench(t)
	match := []rules.Match{{Field: "remote.addr", Value: "203.0.113.9", Statement: "s", Entity: rules.EntityRef{ID: "example-entity", Name: "Example"}, Indicator: rules.IndicatorRef{Type: "ip", Value: "203.0.113.9"}}}
	f := rules.Finding{ID: "f", Revision: 1, State: rules.StateOpened, Severity: rules.SeverityCritical, Rule: rules.RuleRef{ID: "r"}, Matches: match}
	report := func(agent string) {
		t.Helper()
		x := f
		x.Agent.Name = agent
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		e := []stream.Entry{{Agent: agent, Epoch: "e", Seq: 1, ID: x.MessageID(), Received: b.now, Finding: text}}
		if err := b.store.Save(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if err := b.watch.Note(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	burst := func() string {
		for _, x := range b.came {
			if x.Rule.ID == RuleBurst {
				return x.State + " " + string(x.Severity)
			}
		}
		return ""
	}
	report("a-1")
	report("a-1") // one agent counts once
	report("a-2")
	b.check(time.Minute)
	if got := burst(); got != "" || b.watch.Held(&f) {
		t.Fatalf("two agents: %q, held %t", got, b.watch.Held(&f))
	}
	report("a-3")
	b.check(time.Minute)
	if got := burst(); got != "opened critical" || !b.watch.Held(&f) {
		t.Fatalf("three agents: %q, held %t", got, b.watch.Held(&f))
	}
	other, test := f, f
	other.Rule.ID, test.Test = "another", true
	if b.watch.Held(&other) || b.watch.Held(&test) || b.watch.Held(&b.came[0]) {
		t.Error("more is held than the burst's findings")
	}
	b.check(2 * time.Hour)
	if got := burst(); got != "closed critical" || b.watch.Held(&f) {
		t.Errorf("two hours later: %q, held %t", got, b.watch.Held(&f))
	}
}

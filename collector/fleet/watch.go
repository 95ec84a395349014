package fleet

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/rules"
)

const (
	// updateEvery bounds how often one finding is renewed while it is open.
	updateEvery = 10 * time.Minute
	// lossQuiet is how long without new loss ends a loss.
	lossQuiet = 10 * time.Minute
	// holeGrace is how long a number may come late before it is missing.
	holeGrace = time.Minute
)

// WatchStore is what the watcher reads.
type WatchStore interface {
	Finding(ctx context.Context, agent, id string) (store.Finding, error)
	Findings(context.Context, store.Query) (store.Page, error)
	AddSightings(context.Context, []store.Sighting) error
	Bursts(ctx context.Context, since time.Time, agents int) ([]store.Burst, error)
	Coverage(context.Context) (map[string]string, error)
}

// Stream takes the findings.
type Stream interface {
	Append(context.Context, []stream.Entry) error
}

// Watcher turns what is wrong with agents into findings, and closes them when it
// is over. Several collectors may watch one fleet: a revision that two make is
// one.
type Watcher struct {
	cfg     Config
	fleet   *Fleet
	store   WatchStore
	stream  Stream
	gone    func(coverage string) ([]string, error)
	version string
	logger  hclog.Logger
	bursts  atomic.Pointer[map[burstKey]bool]
	holes   map[string]hole // of Check alone
	started time.Time       // of Check alone
}

// hole is which numbers of an agent were missing at two times, by epoch.
type hole struct {
	at          time.Time // of recent
	old, recent map[string]store.Ranges
}

// NewWatcher makes a watcher. gone reads from an agent's open coverage which
// hooks were attached once and are not.
func NewWatcher(cfg Config, f *Fleet, s WatchStore, st Stream, gone func(string) ([]string, error), version string, logger hclog.Logger) *Watcher {
	w := &Watcher{cfg: cfg, fleet: f, store: s, stream: st, gone: gone, version: version, logger: logger.Named("fleet"), holes: map[string]hole{}}
	w.bursts.Store(&map[burstKey]bool{})
	return w
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(w.cfg.CheckEvery)
	defer tick.Stop()
	for {
		if err := w.Check(ctx, time.Now()); err != nil && ctx.Err() == nil {
			w.logger.Error("fleet not checked; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Check looks at every agent once. Calls come from one goroutine.
func (w *Watcher) Check(ctx context.Context, now time.Time) error {
	now = now.UTC().Truncate(time.Microsecond)
	if w.started.IsZero() {
		w.started = now
	}
	agents, err := w.fleet.Agents(ctx, now)
	if err != nil {
		return err
	}
	coverage, err := w.store.Coverage(ctx)
	if err != nil {
		return err
	}
	for _, a := range agents {
		if err := w.agent(ctx, a, coverage[a.Name], now); err != nil {
			return err
		}
	}
	return w.checkBursts(ctx, now)
}

func (w *Watcher) agent(ctx context.Context, a Agent, coverage string, now time.Time) error {
	var gone []string
	if coverage != "" {
		var err error
		if gone, err = w.gone(coverage); err != nil {
			return err
		}
	}
	if s := silent(a); !s.holds || now.Sub(w.started) >= w.cfg.SilentAfter {
		// A collector that was down itself waits for heartbeats first.
		if err := w.reconcile(ctx, s, now); err != nil {
			return err
		}
	}
	for _, c := range []condition{skew(a), tampered(a, gone, now)} {
		if err := w.reconcile(ctx, c, now); err != nil {
			return err
		}
	}
	about := condition{rule: RuleLost, about: a.Name}
	prev, err := w.known(ctx, about.id())
	if err != nil {
		return err
	}
	return w.reconcile(ctx, lost(a, w.missing(a, now), prev, lossQuiet, now), now)
}

// missing is how many numbers of an agent are missing and were some time ago: one
// batch may overtake another.
func (w *Watcher) missing(a Agent, now time.Time) uint64 {
	holes := map[string]store.Ranges{}
	for _, s := range a.Sequences {
		holes[s.Epoch] = s.Missing
	}
	h := w.holes[a.Name]
	if now.Sub(h.at) >= holeGrace {
		h = hole{at: now, old: h.recent, recent: holes}
		w.holes[a.Name] = h
	}
	var n uint64
	for epoch, r := range holes {
		n += overlap(h.old[epoch], r)
	}
	return n
}

// overlap is how many numbers are in both.
func overlap(a, b store.Ranges) uint64 {
	var n uint64
	for len(a) > 0 && len(b) > 0 {
		if from, to := max(a[0][0], b[0][0]), min(a[0][1], b[0][1]); from <= to {
			n += to - from + 1
		}
		if a[0][1] < b[0][1] {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return n
}

// known is the last revision of a finding of ours, nil where there is none.
func (w *Watcher) known(ctx context.Context, id string) (*rules.Finding, error) {
	f, err := w.store.Finding(ctx, stream.Collector, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return &f.Finding, err
}

// reconcile appends a revision where the finding does not say what is so.
func (w *Watcher) reconcile(ctx context.Context, c condition, now time.Time) error {
	prev, err := w.known(ctx, c.id())
	if err != nil {
		return err
	}
	isOpen := prev != nil && prev.State != rules.StateClosed
	switch {
	case !c.holds && !isOpen:
		return nil
	case c.holds && isOpen && (slices.Equal(c.why, prev.Why) || now.Sub(prev.Created) < updateEvery):
		return nil
	}
	f := c.finding(prev, w.version, now)
	e, err := entryOf(f, now)
	if err != nil {
		return err
	}
	if err := w.stream.Append(ctx, []stream.Entry{e}); err != nil {
		return err
	}
	w.logger.Info("finding about the fleet", "rule", c.rule, "host", c.host, "state", f.State)
	return nil
}

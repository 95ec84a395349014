// Package ledger stands between the matcher and the spool. It makes findings
// with a stable id, a count and revisions out of drafts, one draft a flow: the
// first is sent at once, repeats raise the revision at intervals or when matters
// get worse. What it has promised is on disk before it is sent, so that after
// any crash no revision number ever means two things.
package ledger

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
)

// Appender is the spool: Append returns when the finding is durable.
type Appender interface {
	Append(context.Context, rules.Finding) error
}

// Config is how findings are aggregated.
type Config struct {
	Path         string        `yaml:"path"`          // of the database
	Interval     time.Duration `yaml:"interval"`      // least time between revisions of a finding that does not get worse
	CloseAfter   time.Duration `yaml:"close_after"`   // a finding without open flows closes after so long
	ForgetFlows  time.Duration `yaml:"forget_flows"`  // one with flows that never closed, after so long
	MaxOpen      int           `yaml:"max_open"`      // findings open at a time; above it the one idle longest is closed
	MaxRevisions int           `yaml:"max_revisions"` // findings whose revision number is remembered
}

// DefaultConfig is what a host of any size can bear.
func DefaultConfig() Config {
	return Config{
		Path:         "/var/lib/sallyport/ledger.db",
		Interval:     time.Minute,
		CloseAfter:   15 * time.Minute,
		ForgetFlows:  2 * time.Hour,
		MaxOpen:      20_000,
		MaxRevisions: 1_000_000,
	}
}

// Validate says what is wrong and what to write instead.
func (c Config) Validate() error {
	switch {
	case c.Path == "":
		return errors.New("ledger.path is empty: name a file that survives a restart")
	case c.Interval < time.Second:
		return fmt.Errorf("ledger.interval is %s: use 1s or more", c.Interval)
	case c.CloseAfter < c.Interval:
		return fmt.Errorf("ledger.close_after is %s: use no less than ledger.interval (%s)", c.CloseAfter, c.Interval)
	case c.ForgetFlows < c.CloseAfter:
		return fmt.Errorf("ledger.forget_flows is %s: use no less than ledger.close_after (%s)", c.ForgetFlows, c.CloseAfter)
	case c.MaxOpen < 1:
		return fmt.Errorf("ledger.max_open is %d: use 1 or more", c.MaxOpen)
	case c.MaxRevisions < c.MaxOpen:
		return fmt.Errorf("ledger.max_revisions is %d: use no less than ledger.max_open (%d)", c.MaxRevisions, c.MaxOpen)
	}
	return nil
}

// Errors of Observe.
var (
	// ErrNoID is returned for a draft without an id.
	ErrNoID = errors.New("ledger: draft has no id")
	// ErrCrowded is returned while twice MaxOpen findings wait for a disk that takes
	// nothing. The draft is counted as dropped.
	ErrCrowded = errors.New("ledger: too many findings wait for the disk")
)

// Stats counts since Open.
type Stats struct {
	Open     int    // findings open now
	Sent     uint64 // revisions handed to the spool
	Evicted  uint64 // findings closed early because of MaxOpen
	Refused  uint64 // appends the spool refused; they are tried again
	Dropped  uint64 // drafts not kept: twice MaxOpen findings waited for the disk
	Unstored uint64 // writes the database refused; they are tried again
}

// Ledger aggregates drafts.
type Ledger struct {
	cfg   Config
	spool Appender
	log   hclog.Logger
	db    *store

	mu      sync.Mutex
	entries map[string]*entry
	idle    *list.List // of *entry, idle longest first
	stats   Stats
}

// Open reads the findings that were open, and what was promised and not sent.
func Open(cfg Config, spool Appender, log hclog.Logger) (*Ledger, error) {
	db, err := openStore(cfg.Path, log.Named("ledger"))
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{cfg: cfg, spool: spool, log: log.Named("ledger"), db: db, entries: map[string]*entry{}, idle: list.New()}
	err = db.load(func(e *entry) {
		e.seen = time.Now()
		if e.sent.After(e.seen) { // the clock was ahead when it was sent
			e.sent = e.seen
		}
		l.entries[e.f.ID] = e
		e.place = l.idle.PushBack(e)
	})
	if err != nil {
		db.close()
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return l, nil
}

// Observe takes one draft: one flow, or, from the history, draft.Count of them. It returns when
// a revision that is due is on disk. An error means that nothing is on disk yet;
// the draft is kept in memory and tried again by Run.
func (l *Ledger) Observe(ctx context.Context, draft rules.Finding) error {
	if draft.ID == "" {
		return ErrNoID
	}
	for {
		e, crowded, err := l.entry(draft.ID)
		if err != nil {
			return err
		}
		if crowded != nil {
			l.evict(ctx, crowded)
		}
		e.mu.Lock()
		if e.gone { // closed between look-up and lock
			e.mu.Unlock()
			continue
		}
		now := time.Now()
		e.merge(draft, now)
		if e.due(now, l.cfg.Interval) {
			err = l.send(ctx, e, now)
		}
		e.mu.Unlock()
		return err
	}
}

// entry finds or makes the entry of an id. crowded is one that should close to
// make room.
func (l *Ledger) entry(id string) (e, crowded *entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.entries[id]; ok {
		l.idle.MoveToBack(e.place)
		return e, nil, nil
	}
	if len(l.entries) >= 2*l.cfg.MaxOpen {
		l.stats.Dropped++
		return nil, nil, ErrCrowded
	}
	revision, err := l.db.revision(id)
	if err != nil {
		return nil, nil, fmt.Errorf("read ledger: %w", err)
	}
	e = &entry{revision: revision}
	if len(l.entries) >= l.cfg.MaxOpen {
		crowded = l.idle.Front().Value.(*entry)
	}
	l.entries[id] = e
	e.place = l.idle.PushBack(e)
	return e, crowded, nil
}

// send makes the entry's next revision durable and hands it to the spool. The
// caller holds the entry's lock.
func (l *Ledger) send(ctx context.Context, e *entry, now time.Time) error {
	if err := l.resend(ctx, e); err != nil {
		return nil // the older revision is on disk and goes first; this one is dirty
	}
	f := e.next(now)
	if err := l.db.promise(f, e.evidenceSent || f.Evidence != nil); err != nil {
		l.count(func(s *Stats) { s.Unstored++ })
		return fmt.Errorf("write ledger: %w", err)
	}
	e.promised(f, now)
	l.resend(ctx, e) // on disk already: Run tries again
	return nil
}

// resend hands over the revision that is promised and not yet in the spool.
func (l *Ledger) resend(ctx context.Context, e *entry) error {
	if e.unsent == nil {
		return nil
	}
	if err := l.spool.Append(ctx, *e.unsent); err != nil {
		l.count(func(s *Stats) { s.Refused++ })
		if l.log.IsDebug() {
			l.log.Debug("spool refused a finding", "id", e.unsent.ID, "revision", e.unsent.Revision, "error", err)
		}
		return err
	}
	l.db.kept(e.unsent.ID, e.unsent.Revision)
	e.unsent = nil
	l.count(func(s *Stats) { s.Sent++ })
	return nil
}

func (l *Ledger) count(change func(*Stats)) {
	l.mu.Lock()
	change(&l.stats)
	l.mu.Unlock()
}

// Stats gives the counts.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Open = len(l.entries)
	return s
}

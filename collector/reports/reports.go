// Package reports makes reports of the record for people and programs, one after
// the other and beside their requests: a long one takes minutes.
package reports

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"sallyport/collector/record"
	"sallyport/collector/store"
)

// States of a report.
const (
	Waiting = "waiting"
	Working = "working"
	Done    = "done"
	Failed  = "failed"
)

// Errors of those who ask.
var (
	ErrBusy     = errors.New("many reports wait already; ask again later")
	ErrNotReady = errors.New("the report is not ready yet")
)

// Report is a report that was asked for.
type Report struct {
	ID       string    `json:"id"`
	Entity   string    `json:"entity"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Asked    time.Time `json:"asked"`
	State    string    `json:"state"`
	Finished time.Time `json:"finished,omitzero"`
	Error    string    `json:"error,omitempty"`
	Contacts int       `json:"contacts"`
	Tests    int       `json:"excluded_test"` // findings of self-tests, which are left out
	Unsigned bool      `json:"unsigned"`      // this collector has no key, so that what came last is not signed
}

// FileName is what a report is called where it is kept.
func (r Report) FileName(format string) string {
	safe := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			return c
		}
		return '_'
	}, r.Entity)
	return fmt.Sprintf("record-%s-%s-%s.%s", safe, r.From.Format(time.DateOnly), r.To.Format(time.DateOnly), format)
}

// Desk makes reports. What it has made lies in a folder of the state's, and is
// gone when the collector starts again: the id says what to make anew.
type Desk struct {
	cfg     Config
	store   *store.Store
	state   string
	version string
	logger  hclog.Logger
	queue   chan string

	mu   sync.Mutex
	made map[string]*Report
}

// New makes a desk.
func New(cfg Config, s *store.Store, state, version string, logger hclog.Logger) *Desk {
	return &Desk{cfg: cfg, store: s, state: state, version: version, logger: logger.Named("reports"), queue: make(chan string, cfg.Waiting), made: map[string]*Report{}}
}

func (d *Desk) folder() string { return filepath.Join(d.state, "reports") }

// Run makes what is asked for until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	if err := os.RemoveAll(d.folder()); err != nil {
		return fmt.Errorf("clear reports: %w", err)
	}
	if err := os.MkdirAll(d.folder(), 0o700); err != nil {
		return fmt.Errorf("make folder of reports: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for range d.cfg.Concurrent {
		group.Go(func() error { d.work(ctx); return nil })
	}
	group.Go(func() error { d.forget(ctx); return nil })
	return group.Wait()
}

// Invalid is what is wrong with what was asked for, for the one who asks.
type Invalid struct{ text string }

func (i Invalid) Error() string { return i.text }

// Ask has a report made, and answers before it is.
func (d *Desk) Ask(q record.Query, now time.Time) (Report, error) {
	switch {
	case q.Entity == "" || len(q.Entity) > maxEntity:
		return Report{}, Invalid{"entity: give the id of an entity"}
	case q.From.IsZero() || q.To.IsZero() || !q.From.Before(q.To):
		return Report{}, Invalid{"from and to: from must lie before to"}
	}
	return d.enqueue(encodeID(q, now), q, now)
}

// Find says how a report does. One that another collector was asked for is made
// here too: its id says what it is of.
func (d *Desk) Find(id string) (Report, error) {
	d.mu.Lock()
	r, ok := d.made[id]
	if ok {
		defer d.mu.Unlock()
		return *r, nil
	}
	d.mu.Unlock()
	q, asked, err := decodeID(id)
	if err != nil || q.Validate() != nil || time.Since(asked) > d.cfg.Keep {
		return Report{}, fmt.Errorf("report: %w", store.ErrNotFound)
	}
	return d.enqueue(id, q, asked)
}

func (d *Desk) enqueue(id string, q record.Query, asked time.Time) (Report, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r, ok := d.made[id]; ok {
		return *r, nil
	}
	select {
	case d.queue <- id:
	default:
		return Report{}, ErrBusy
	}
	r := &Report{ID: id, Entity: q.Entity, From: q.From.UTC(), To: q.To.UTC(), Asked: asked.UTC().Truncate(time.Second), State: Waiting}
	d.made[id] = r
	return *r, nil
}

// List gives what this collector has made or is asked to make, the latest first.
func (d *Desk) List() []Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Report, 0, len(d.made))
	for _, r := range d.made {
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b Report) int { return b.Asked.Compare(a.Asked) })
	return list
}

// Open opens a report that is done. The format is json or html.
func (d *Desk) Open(id, format string) (*os.File, Report, error) {
	r, err := d.Find(id)
	if err != nil {
		return nil, r, err
	}
	if r.State != Done {
		return nil, r, ErrNotReady
	}
	f, err := os.Open(d.path(id, format))
	if err != nil {
		return nil, r, fmt.Errorf("open report: %w", err)
	}
	return f, r, nil
}

// forget removes what has lain here for long enough.
func (d *Desk) forget(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			d.expire(now)
		}
	}
}

func (d *Desk) expire(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, r := range d.made {
		if r.Finished.IsZero() || now.Sub(r.Finished) < d.cfg.Keep {
			continue
		}
		delete(d.made, id)
		for _, format := range []string{"json", "html"} {
			if err := os.Remove(d.path(id, format)); err != nil && !errors.Is(err, os.ErrNotExist) {
				d.logger.Warn("old report not removed", "error", err)
			}
		}
	}
}

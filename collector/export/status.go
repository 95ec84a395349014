package export

import (
	"context"
	"sync"
	"time"
)

// failing remembers since when, and why, an exporter has not got through.
type failing struct {
	mu    sync.Mutex
	since time.Time
	err   error
	last  time.Time // of the last success
}

func (f *failing) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if err == nil {
		f.since, f.err, f.last = time.Time{}, nil, now
		return
	}
	if f.err == nil {
		f.since = now
	}
	f.err = err
}

// Status is how an exporter does.
type Status struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"`
	Format   string    `json:"format"`
	Pending  uint64    `json:"pending"`            // entries not sent yet
	Behind   time.Time `json:"behind,omitzero"`    // when the oldest of them came
	Parked   int       `json:"parked"`             // refused for good
	LastSent time.Time `json:"last_sent,omitzero"` // since this collector started
	Failing  time.Time `json:"failing,omitzero"`   // since when
	Error    string    `json:"error,omitempty"`
}

// Status lists every exporter.
func (r *Runner) Status(ctx context.Context) ([]Status, error) {
	parked, err := r.store.CountParked(ctx)
	if err != nil {
		return nil, err
	}
	var out []Status
	for _, e := range r.exporters {
		s := Status{Name: e.cfg.Name, Type: e.cfg.Type, Format: e.cfg.Format, Parked: parked[e.cfg.Name]}
		if p, err := r.stream.Position(ctx, consumer(e.cfg.Name)); err != nil {
			s.Error = err.Error()
		} else {
			s.Pending, s.Behind = p.Pending, p.Behind
		}
		e.failing.mu.Lock()
		s.LastSent, s.Failing = e.failing.last, e.failing.since
		if e.failing.err != nil {
			s.Error = e.failing.err.Error()
		}
		e.failing.mu.Unlock()
		out = append(out, s)
	}
	return out, nil
}

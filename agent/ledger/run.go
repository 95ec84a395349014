package ledger

import (
	"context"
	"fmt"
	"time"
)

// Pace of Run.
const (
	tick       = time.Second
	saveEvery  = 5 * time.Second
	pruneEvery = time.Hour
)

// flushLimit bounds what Close waits for a spool that takes nothing.
const flushLimit = 10 * time.Second

// Run sends what becomes due with time until ctx ends.
func (l *Ledger) Run(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	now := time.Now()
	saved, pruned := now, now
	l.sweep(ctx, now)
	for {
		select {
		case <-ctx.Done():
			return nil
		case now = <-t.C:
		}
		l.sweep(ctx, now)
		if now.Sub(saved) >= saveEvery {
			saved = now
			if err := l.save(); err != nil {
				l.log.Warn("cannot save counts", "error", err)
			}
		}
		if now.Sub(pruned) >= pruneEvery {
			pruned = now
			if err := l.db.prune(l.cfg.MaxRevisions); err != nil {
				l.log.Warn("cannot prune revisions", "error", err)
			}
		}
	}
}

// all is the entries now.
func (l *Ledger) all() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*entry, 0, len(l.entries))
	for _, e := range l.entries {
		out = append(out, e)
	}
	return out
}

// sweep sends updates that are due, closes what has been quiet, and tries again
// what the spool refused. One refusal ends it: the next tick is soon.
func (l *Ledger) sweep(ctx context.Context, now time.Time) {
	for _, e := range l.all() {
		if ctx.Err() != nil {
			return
		}
		if !l.visit(ctx, e, now) {
			return
		}
	}
}

func (l *Ledger) visit(ctx context.Context, e *entry, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone || e.f.ID == "" {
		return true
	}
	if l.resend(ctx, e) != nil {
		return false
	}
	quiet := l.cfg.CloseAfter
	if len(e.flows) > 0 {
		quiet = l.cfg.ForgetFlows
	}
	switch {
	case e.closing || now.Sub(e.seen) >= quiet:
		return l.shut(ctx, e, now)
	case e.due(now, l.cfg.Interval):
		return l.send(ctx, e, now) == nil && e.unsent == nil
	}
	return true
}

// shut sends the closed state, if it is not sent, and lets the entry go once the
// spool has it. The caller holds the entry's lock.
func (l *Ledger) shut(ctx context.Context, e *entry, now time.Time) bool {
	e.closing = true
	if e.f.State != stateClosed {
		if err := l.send(ctx, e, now); err != nil || e.f.State != stateClosed {
			return false
		}
	}
	if e.unsent != nil {
		return false
	}
	e.gone = true
	l.mu.Lock()
	if l.entries[e.f.ID] == e {
		delete(l.entries, e.f.ID)
		l.idle.Remove(e.place)
	}
	l.mu.Unlock()
	return true
}

// evict closes a finding early to make room.
func (l *Ledger) evict(ctx context.Context, e *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone || e.f.ID == "" {
		return
	}
	if l.shut(ctx, e, time.Now()) {
		l.count(func(s *Stats) { s.Evicted++ })
	}
}

// save writes what changed without raising a revision.
func (l *Ledger) save() error {
	var records []record
	for _, e := range l.all() {
		e.mu.Lock()
		if e.unsaved && !e.gone && e.f.State != "" && e.f.State != stateClosed {
			records = append(records, record{e.f, e.evidenceSent, e.sent})
			e.unsaved = false
		}
		e.mu.Unlock()
	}
	if err := l.db.save(records); err != nil {
		return fmt.Errorf("save ledger: %w", err)
	}
	return nil
}

// Close sends what changed, and ends. Findings stay open over a restart.
func (l *Ledger) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	now := time.Now()
	for _, e := range l.all() {
		e.mu.Lock()
		if l.resend(ctx, e) == nil && e.dirty && !e.gone && e.f.ID != "" {
			if err := l.send(ctx, e, now); err != nil {
				l.log.Warn("a change is not sent", "id", e.f.ID, "error", err)
			}
		}
		e.mu.Unlock()
	}
	err := l.save()
	if cerr := l.db.close(); err == nil {
		err = cerr
	}
	return err
}

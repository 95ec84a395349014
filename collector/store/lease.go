package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// Lease is the right to do what only one collector may do at a time. It is over
// when it was not renewed for its life: a collector that has died holds nothing
// up. Times are the database's, so that clocks need not agree.
type Lease struct {
	Name string
	Life time.Duration

	store  *Store
	holder string
}

// Lease prepares a lease of a name, which nobody has yet.
func (s *Store) Lease(name string, life time.Duration) *Lease {
	return &Lease{Name: name, Life: life, store: s, holder: rand.Text()}
}

// EndLeases ends what a process before this one held. A store in SQLite has one
// collector: call it when that starts. In PostgreSQL it does nothing.
func (s *Store) EndLeases(ctx context.Context) error {
	if s.dialect.numbered {
		return nil
	}
	if _, err := s.exec(ctx, "DELETE FROM leases"); err != nil {
		return fmt.Errorf("end leases: %w", err)
	}
	return nil
}

// Hold takes the lease, or renews it; false where another collector has it.
func (l *Lease) Hold(ctx context.Context) (bool, error) {
	now := l.store.dialect.now
	n, err := l.store.exec(ctx, `INSERT INTO leases (name, holder, until) VALUES (?, ?, `+now+` + ?)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE leases.holder = excluded.holder OR leases.until < `+now,
		l.Name, l.holder, l.Life.Microseconds())
	if err != nil {
		return false, fmt.Errorf("take lease %s: %w", l.Name, err)
	}
	return n > 0, nil
}

// Release ends the lease, if we have it.
func (l *Lease) Release(ctx context.Context) error {
	if _, err := l.store.exec(ctx, "DELETE FROM leases WHERE name = ? AND holder = ?", l.Name, l.holder); err != nil {
		return fmt.Errorf("release lease %s: %w", l.Name, err)
	}
	return nil
}

// While runs f while the lease is ours, and renews it meanwhile. It waits for
// another collector that has it; the context that f gets ends where it is lost.
func (l *Lease) While(ctx context.Context, f func(context.Context) error) error {
	for {
		ours, err := l.Hold(ctx)
		if err != nil {
			return err
		}
		if ours {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(l.Life / 10):
		}
	}
	defer l.Release(context.WithoutCancel(ctx)) // an error: it is over by itself soon
	ctx, cancel := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	defer renewing.Wait()
	defer cancel(nil)
	renewing.Go(func() { l.renew(ctx, cancel) })
	return f(ctx)
}

func (l *Lease) renew(ctx context.Context, lost context.CancelCauseFunc) {
	tick := time.NewTicker(l.Life / 4)
	defer tick.Stop()
	for renewed := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ours, err := l.Hold(ctx)
		switch {
		case err == nil && ours:
			renewed = time.Now()
		case err == nil || time.Since(renewed) > l.Life*3/4: // another has it, or will soon
			lost(fmt.Errorf("lease %s is lost", l.Name))
			return
		}
	}
}

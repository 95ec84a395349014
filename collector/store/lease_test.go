package store

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func testLeases(t *testing.T, s *Store) {
	ctx := t.Context()
	one, two := s.Lease("x", time.Hour), s.Lease("x", time.Hour)
	hold := func(l *Lease, want bool) {
		t.Helper()
		if got, err := l.Hold(ctx); err != nil || got != want {
			t.Errorf("held %t, %v", got, err)
		}
	}
	hold(one, true)
	hold(one, true)
	hold(two, false)
	if err := two.Release(ctx); err != nil { // not its own
		t.Fatal(err)
	}
	hold(two, false)
	if err := one.Release(ctx); err != nil {
		t.Fatal(err)
	}
	two.Life = 10 * time.Millisecond
	hold(two, true)
	time.Sleep(50 * time.Millisecond) // it dies
	hold(one, true)
	hold(two, false)
	if err := one.Release(ctx); err != nil {
		t.Fatal(err)
	}

	var inside, most, turns atomic.Int32
	done := make(chan error, 3)
	for range cap(done) {
		go func() {
			done <- s.Lease("y", 2*time.Second).While(ctx, func(context.Context) error {
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(50 * time.Millisecond)
				inside.Add(-1)
				turns.Add(1)
				return nil
			})
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 1 || turns.Load() != 3 {
		t.Errorf("%d at once, %d turns", most.Load(), turns.Load())
	}

	thief := s.Lease("z", time.Hour)
	err := s.Lease("z", 400*time.Millisecond).While(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, "DELETE FROM leases WHERE name = 'z'"); err != nil {
			return err
		}
		hold(thief, true)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Minute):
			return errors.New("it never noticed")
		}
	})
	if err == nil || err.Error() != "lease z is lost" {
		t.Errorf("error %v", err)
	}
}

func testSharedFiles(t *testing.T, s *Store) {
	ctx := t.Context()
	for i, content := range []string{"a", "b"} {
		if version, err := s.Share(ctx, "x", []byte(content)); err != nil || version != uint64(i+1) {
			t.Errorf("version %d, %v", version, err)
		}
	}
	f, err := s.SharedFile(ctx, "x")
	if err != nil || f.Version != 2 || string(f.Content) != "b" {
		t.Errorf("file %+v, %v", f, err)
	}
	if list, err := s.SharedFiles(ctx); err != nil || len(list) != 1 || list[0].Name != "x" || list[0].Version != 2 {
		t.Errorf("files %+v, %v", list, err)
	}
	if _, err := s.SharedFile(ctx, "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

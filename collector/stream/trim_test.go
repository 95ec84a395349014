package stream

import (
	"context"
	"errors"
	"testing"
	"time"
)

// take has a consumer take exactly n entries.
func take(t *testing.T, s *Stream, name string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	taken := 0
	err := s.Consume(ctx, Consumer{Name: name, Batch: 1}, func(context.Context, []Entry) error {
		if taken++; taken == n {
			cancel()
		}
		return nil
	})
	if err != nil || taken != n {
		t.Fatalf("%s took %d, %v", name, taken, err)
	}
}

func TestTrimByAge(t *testing.T) {
	s := open(t, testConfig(), t.TempDir())
	var missed []Missed
	var refuse error
	s.Missed = func(_ context.Context, m Missed) error {
		missed = append(missed, m)
		return refuse
	}
	add := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := s.Append(t.Context(), []Entry{entry("a", i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func() uint64 {
		t.Helper()
		if err := s.trim(t.Context()); err != nil && refuse == nil {
			t.Fatal(err)
		}
		st, err := s.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Entries
	}
	const apart = 2 * time.Second // far more than trimming takes to look at the clock
	add(0, 10)
	time.Sleep(apart)
	between := time.Now()
	time.Sleep(apart)
	add(10, 13)

	if n := left(); n != 13 {
		t.Fatalf("%d entries left, none is old", n)
	}
	s.cfg.Keep = time.Since(between)
	take(t, s, StoreConsumer, 4)
	take(t, s, "export-fast", 10)
	take(t, s, "export-slow", 2)
	s.cfg.Keep = time.Since(between)
	refuse = errors.New("the store is down")
	if n := left(); n != 13 {
		t.Fatalf("%d entries left, nobody took over what an exporter has not", n)
	}
	missed, refuse = nil, nil
	s.cfg.Keep = time.Since(between)
	if n := left(); n != 9 {
		t.Fatalf("%d entries left: the store has 4 of 13", n)
	}
	if len(missed) != 1 || missed[0].Consumer != "export-slow" || missed[0].To.Before(missed[0].From) {
		t.Errorf("missed %+v", missed)
	}
	take(t, s, StoreConsumer, 9)
	s.cfg.Keep = time.Since(between)
	if n := left(); n != 3 {
		t.Fatalf("%d entries left: 3 are not old", n)
	}
}

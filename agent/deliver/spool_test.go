package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
)

func testConfig(t testing.TB) Config {
	cfg := DefaultConfig()
	cfg.Dir = filepath.Join(t.TempDir(), "spool")
	cfg.SegmentBytes = 8 << 10
	cfg.MaxBytes = 1 << 20
	cfg.Destinations = []string{"stdout"}
	return cfg
}

func open(t testing.TB, cfg Config) *Spool {
	t.Helper()
	s, err := Open(cfg, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func finding(id string) rules.Finding {
	return rules.Finding{Version: 1, ID: id, Revision: 1, State: rules.StateOpened, Title: "a title", Severity: rules.SeverityHigh}
}

func appendN(t testing.TB, s *Spool, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := s.Append(t.Context(), finding(fmt.Sprintf("f%d", i))); err != nil {
			t.Fatalf("append %d: %v", i, err)
		}
	}
}

// take reads n findings for a destination, acknowledges them, and checks that
// numbers do not fall within an epoch.
func take(t testing.TB, s *Spool, name string, n int) (ids []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := &reader{spool: s, name: name}
	for len(ids) < n {
		b, err := r.next(ctx, min(7, n-len(ids)), batchBytes)
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(ids), n, err)
		}
		for _, e := range b.envelopes {
			var f rules.Finding
			if err := json.Unmarshal(e.Finding, &f); err != nil || f.MessageID() != e.ID {
				t.Fatalf("envelope %s holds %s, %v", e.ID, f.MessageID(), err)
			}
			ids = append(ids, f.ID)
		}
		r.acknowledge(b)
	}
	return ids
}

func events(s *Spool) map[string]uint64 {
	got := map[string]uint64{}
	for {
		select {
		case e := <-s.Events():
			got[e.Kind] += e.Findings
			continue
		default:
			return got
		}
	}
}

func checkOrder(t *testing.T, ids []string, from, to int) {
	t.Helper()
	if len(ids) != to-from {
		t.Fatalf("%d findings, want %d", len(ids), to-from)
	}
	for i, id := range ids {
		if want := fmt.Sprintf("f%d", from+i); id != want {
			t.Fatalf("finding %d is %s, want %s", i, id, want)
		}
	}
}

func TestSpoolKeepsOrderOverRestarts(t *testing.T) {
	cfg := testConfig(t)
	s := open(t, cfg)
	appendN(t, s, 0, 100)
	checkOrder(t, take(t, s, "stdout", 30), 0, 30)
	if st := s.State(); st.Findings != 70 || st.NextSeq != 101 || st.Oldest.IsZero() || st.Bytes == 0 {
		t.Errorf("state = %+v", st)
	}
	epoch := s.epoch
	s.Close()

	s = open(t, cfg)
	if s.epoch != epoch {
		t.Error("a clean restart began a new epoch")
	}
	appendN(t, s, 100, 150)
	checkOrder(t, take(t, s, "stdout", 120), 30, 150)
	if st := s.State(); st.Findings != 0 || st.Bytes != 0 || st.NextSeq != 151 || !st.Oldest.IsZero() {
		t.Errorf("state = %+v", st)
	}
	if len(s.segments) > 1 {
		t.Errorf("%d segments remain after everything was acknowledged", len(s.segments))
	}
	if e := events(s); len(e) != 0 {
		t.Errorf("events = %v", e)
	}
}

func TestSpoolTwoDestinations(t *testing.T) {
	cfg := testConfig(t)
	cfg.Destinations = []string{"stdout", "file"}
	s := open(t, cfg)
	appendN(t, s, 0, 200)
	checkOrder(t, take(t, s, "stdout", 200), 0, 200)
	if st := s.State(); st.Findings != 200 {
		t.Errorf("%d wait for the slower destination, want 200", st.Findings)
	}
	checkOrder(t, take(t, s, "file", 200), 0, 200)
}

func TestSpoolInUse(t *testing.T) {
	cfg := testConfig(t)
	open(t, cfg)
	if _, err := Open(cfg, hclog.NewNullLogger()); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: %v, want ErrInUse", err)
	}
}

func TestGroupCommit(t *testing.T) {
	s := open(t, testConfig(t))
	const writers, each = 16, 50
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := s.Append(t.Context(), finding(fmt.Sprintf("w%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := map[string]bool{}
	for _, id := range take(t, s, "stdout", writers*each) {
		got[id] = true
	}
	if len(got) != writers*each {
		t.Errorf("%d distinct findings, want %d", len(got), writers*each)
	}
}

func TestBoundBySize(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxBytes = 4 * cfg.SegmentBytes
	s := open(t, cfg)
	appendN(t, s, 0, 300)
	var total int64
	for _, seg := range s.segments {
		total += seg.size
	}
	if total > cfg.MaxBytes {
		t.Errorf("%d bytes, more than %d", total, cfg.MaxBytes)
	}
	kept := int(s.State().Findings)
	gone := events(s)[EventGivenUp]
	if gone == 0 || int(gone)+kept != 300 || s.Dropped()["spool_full"] != gone {
		t.Errorf("given up %d (counted %d), kept %d, of 300", gone, s.Dropped()["spool_full"], kept)
	}
	checkOrder(t, take(t, s, "stdout", kept), 300-kept, 300)
}

func TestBoundByAge(t *testing.T) {
	s := open(t, testConfig(t))
	appendN(t, s, 0, 10)
	s.Tidy(time.Now().Add(s.cfg.MaxAge - time.Minute))
	if n := s.State().Findings; n != 10 {
		t.Fatalf("%d findings before the bound, want 10", n)
	}
	s.Tidy(time.Now().Add(s.cfg.MaxAge + time.Minute)) // perhaps only a clock that jumped
	s.Tidy(time.Now())
	s.Tidy(time.Now().Add(s.cfg.MaxAge + ageGrace))
	if n := s.State().Findings; n != 10 {
		t.Fatalf("%d findings after a clock that jumped ahead and back, want 10", n)
	}
	s.Tidy(time.Now().Add(s.cfg.MaxAge + 2*ageGrace + time.Minute))
	if n, gone := s.State().Findings, events(s)[EventGivenUp]; n != 0 || gone != 10 {
		t.Errorf("%d findings stay and %d are given up, want 0 and 10", n, gone)
	}
	appendN(t, s, 10, 12)
	checkOrder(t, take(t, s, "stdout", 2), 10, 12)
	if s.State().NextSeq != 13 {
		t.Errorf("numbers went back to %d", s.State().NextSeq)
	}
}

// Damage of each class while the agent is down: it costs what it touches, is
// reported once, and no number is used twice.
func TestDamageAcrossRestart(t *testing.T) {
	for _, test := range []struct {
		name     string
		damage   func(t *testing.T, paths []string)
		lost     int // findings gone
		known    bool
		newEpoch bool
	}{
		{"byte in the first segment", func(t *testing.T, p []string) { flip(t, p[0], 300) }, 1, true, false},
		{"mark in the first segment", func(t *testing.T, p []string) { flip(t, p[0], 0) }, 1, true, false},
		{"last byte of a middle segment", func(t *testing.T, p []string) { flip(t, p[1], -1) }, 1, true, false},
		{"last byte of the last segment", func(t *testing.T, p []string) { flip(t, p[len(p)-1], -1) }, 1, false, true},
		{"garbage after the last segment", func(t *testing.T, p []string) { extend(t, p[len(p)-1], []byte("garbage")) }, 0, false, true},
		{"zeros after the last segment", func(t *testing.T, p []string) { extend(t, p[len(p)-1], make([]byte, 4096)) }, 0, false, false},
		{"half a frame after the last segment", func(t *testing.T, p []string) {
			whole, _ := testFrames(1)
			extend(t, p[len(p)-1], whole[:len(whole)-3])
		}, 0, false, false},
		{"acknowledgements unreadable", func(t *testing.T, p []string) {
			if err := os.WriteFile(filepath.Join(filepath.Dir(p[0]), cursorFile), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, 0, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := testConfig(t)
			s := open(t, cfg)
			appendN(t, s, 0, 100)
			epoch := s.epoch
			var paths []string
			for _, seg := range s.segments {
				paths = append(paths, seg.path)
			}
			s.Close()
			if len(paths) < 3 {
				t.Fatalf("%d segments, the test needs 3", len(paths))
			}
			test.damage(t, paths)

			s = open(t, cfg)
			if got := s.epoch != epoch; got != test.newEpoch {
				t.Errorf("new epoch = %v, want %v", got, test.newEpoch)
			}
			if n := int(s.State().Findings); n != 100-test.lost {
				t.Errorf("%d findings are left, want %d", n, 100-test.lost)
			}
			appendN(t, s, 100, 110)
			ids := take(t, s, "stdout", 110-test.lost)
			if ids[len(ids)-1] != "f109" {
				t.Errorf("the last finding is %s", ids[len(ids)-1])
			}
			got, reported := events(s)[EventCorrupt]
			if want := test.lost > 0 || test.newEpoch; reported != want || test.known && int(got) != test.lost {
				t.Errorf("corrupt event = %v with %d findings, want %v with %d", reported, got, want, test.lost)
			}
		})
	}
}

// Damage while the agent runs is found by the reader and costs itself.
func TestDamageWhileRunning(t *testing.T) {
	s := open(t, testConfig(t))
	appendN(t, s, 0, 100)
	flip(t, s.segments[0].path, 400)
	if err := os.Remove(s.segments[1].path); err != nil {
		t.Fatal(err)
	}
	gone := int(s.segments[1].frames)
	ids := take(t, s, "stdout", 100-1-gone)
	if ids[len(ids)-1] != "f99" {
		t.Errorf("the last finding is %s", ids[len(ids)-1])
	}
	if got := int(events(s)[EventCorrupt]); got != 1+gone {
		t.Errorf("%d findings reported lost, want %d", got, 1+gone)
	}
}

func TestTooLargeShedsEvidence(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxFinding = 8 << 10
	s := open(t, cfg)
	f := finding("big")
	f.Evidence = &rules.Evidence{PCAPNG: make([]byte, 32<<10)}
	if err := s.Append(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	b, err := (&reader{spool: s, name: "stdout"}).next(t.Context(), 1, batchBytes)
	if err != nil {
		t.Fatal(err)
	}
	var got rules.Finding
	if err := json.Unmarshal(b.envelopes[0].Finding, &got); err != nil || got.Evidence != nil || len(got.Why) != 1 {
		t.Errorf("finding = %+v, %v; want one without evidence that says why", got, err)
	}
}

func flip(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0x20
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func extend(t *testing.T, path string, more []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(more); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkAppend(b *testing.B) {
	cfg := testConfig(b)
	cfg.SegmentBytes, cfg.MaxBytes = 4<<20, 1<<30
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			c := cfg
			c.Dir = filepath.Join(b.TempDir(), "spool")
			s := open(b, c)
			f := finding("bench")
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.Append(context.Background(), f); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

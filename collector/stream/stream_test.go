package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func open(t *testing.T, cfg Config, state string) *Stream {
	t.Helper()
	s := New(cfg, state, hclog.NewNullLogger())
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.Reserve = 0
	return cfg
}

func entry(agent string, n int) Entry {
	return Entry{Agent: agent, Epoch: "e", Seq: uint64(n), ID: fmt.Sprintf("f%d.1", n), Received: time.Now(), Finding: json.RawMessage(`{}`)}
}

// collect reads until want entries were seen, and returns how often each came.
func collect(t *testing.T, s *Stream, name string, want int) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	seen := map[string]int{}
	err := s.Consume(ctx, Consumer{Name: name, Batch: 7}, func(_ context.Context, batch []Entry) error {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range batch {
			seen[e.MessageID()]++
		}
		if len(seen) >= want {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestAppendAndConsumeAcrossRestart(t *testing.T) {
	state := t.TempDir()
	s := open(t, testConfig(), state)
	for i := range 20 {
		if err := s.Append(t.Context(), []Entry{entry("a", i), entry("a", i)}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = open(t, testConfig(), state)
	seen := collect(t, s, "store", 20)
	if len(seen) != 20 {
		t.Fatalf("%d entries, want 20", len(seen))
	}
	st, err := s.State(t.Context())
	if err != nil || st.Entries != 20 {
		t.Fatalf("state %+v, %v: a repeat was stored", st, err)
	}
}

func TestRepeatsAreOfOneAgent(t *testing.T) {
	s := open(t, testConfig(), t.TempDir())
	if err := s.Append(t.Context(), []Entry{entry("a", 1), entry("b", 1)}); err != nil {
		t.Fatal(err)
	}
	if seen := collect(t, s, "store", 2); len(seen) != 2 {
		t.Fatalf("an agent took another's id: %v", seen)
	}
}

func TestRefusedBatchComesAgain(t *testing.T) {
	s := open(t, testConfig(), t.TempDir())
	if err := s.Append(t.Context(), []Entry{entry("a", 1)}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tries := 0
	err := s.Consume(ctx, Consumer{Name: "x", Batch: 10}, func(context.Context, []Entry) error {
		if tries++; tries < 3 {
			return fmt.Errorf("not yet")
		}
		cancel()
		return nil
	})
	if err != nil || tries != 3 {
		t.Fatalf("%d tries, %v", tries, err)
	}
}

func TestFullStreamRefusesThenTrims(t *testing.T) {
	cfg := testConfig()
	cfg.MaxBytes = 1 << 20
	s := open(t, cfg, t.TempDir())
	big := entry("a", 0)
	big.Finding = json.RawMessage(`"` + string(make64k()) + `"`)
	full := false
	n := 0
	for ; n < 40 && !full; n++ {
		big.ID = fmt.Sprintf("f%d.1", n)
		full = s.Append(t.Context(), []Entry{big}) != nil
	}
	if !full {
		t.Fatal("a stream of 1 MiB took 40 times 64 KiB")
	}
	collect(t, s, StoreConsumer, n-1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go s.Run(ctx)
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		if s.Append(t.Context(), []Entry{big}) == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the stream never took entries again")
}

func make64k() []byte {
	b := make([]byte, 64<<10)
	for i := range b {
		b[i] = 'x'
	}
	return b
}

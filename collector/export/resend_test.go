package export

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/store"
	"sallyport/collector/store/postgrestest"
	"sallyport/rules"
)

// slow is a receiver that takes its time.
type slow struct {
	mu   sync.Mutex
	sent map[string]int
}

func (s *slow) Export(_ context.Context, items []Item) error {
	time.Sleep(200 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range items {
		s.sent[items[i].Finding.ID]++
	}
	return nil
}

func (s *slow) Close() error { return nil }

// TestResendOnce has three collectors with one store send again what an operator
// asked for: it goes out once.
func TestResendOnce(t *testing.T) {
	cfg := store.DefaultConfig()
	cfg.Postgres = postgrestest.Start(t)
	s, err := store.Open(t.Context(), cfg, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const parked = 60
	for i := range parked {
		e := entry(fmt.Sprint("f", i), rules.SeverityHigh, false)
		if err := s.Park(t.Context(), store.Parked{Exporter: "x", Agent: "a", ID: fmt.Sprint("f", i), Revision: 1, Reason: "no", At: time.Now(), Entry: e}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	receiver, ended := &slow{sent: map[string]int{}}, make(chan error, 3)
	for range cap(ended) {
		r, err := New(nil, nil, s, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		cfg := DefaultConfig()
		cfg.Name, cfg.Batch = "x", 10
		e := &running{cfg: cfg, exporter: receiver, logger: hclog.NewNullLogger(), turn: make(chan struct{}, 1)}
		go func() { ended <- r.resend(ctx, e) }()
	}
	if n, err := s.Resend(t.Context(), "x"); err != nil || n != parked {
		t.Fatalf("%d, %v", n, err)
	}
	eventually(t, "nothing parked", func() bool {
		left, err := s.CountParked(t.Context())
		return err == nil && left["x"] == 0
	})
	cancel()
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if len(receiver.sent) != parked {
		t.Errorf("%d findings sent of %d", len(receiver.sent), parked)
	}
	for id, n := range receiver.sent {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
}

package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// waiting is an exporter whose receiver answers nothing until its attempt ends.
type waiting struct{}

func (waiting) Close() error { return nil }

func (waiting) Export(ctx context.Context, _ []Item) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// dead is an exporter whose receiver is not there.
type dead struct{}

func (dead) Close() error                         { return nil }
func (dead) Export(context.Context, []Item) error { return errors.New("connection refused") }

// counting counts what it gets.
type counting struct {
	mu  sync.Mutex
	got map[string]int
}

func (c *counting) Close() error { return nil }

func (c *counting) Export(_ context.Context, items []Item) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range items {
		c.got[items[i].Finding.MessageID()]++
	}
	return nil
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

// TestASlowOrDeadReceiverDelaysNoOther runs four exporters on one real stream: the
// third and the fourth get everything while the others get nothing through.
func TestASlowOrDeadReceiverDelaysNoOther(t *testing.T) {
	const findings = 500
	cfg := stream.DefaultConfig()
	cfg.Reserve = 0
	s := stream.New(cfg, t.TempDir(), hclog.NewNullLogger())
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st, err := store.Open(t.Context(), store.DefaultConfig(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	r, err := New(nil, s, st, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	first, second := &counting{got: map[string]int{}}, &counting{got: map[string]int{}}
	for i, e := range []Exporter{waiting{}, dead{}, first, second} {
		c := DefaultConfig()
		c.Name, c.Batch, c.Timeout = fmt.Sprintf("x%d", i), 50, time.Hour
		r.exporters = append(r.exporters, &running{cfg: c, exporter: e, logger: hclog.NewNullLogger(), turn: make(chan struct{}, 1)})
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if err := s.Append(t.Context(), entriesOf(t, findings)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others to have everything", func() bool { return first.count() == findings && second.count() == findings })
	for i, want := range []bool{false, true, false, false} { // one is still in its first attempt
		failing := false
		eventually(t, "the status", func() bool {
			list, err := r.Status(t.Context())
			failing = err == nil && !list[i].Failing.IsZero()
			return err == nil && (failing || !want)
		})
		if failing != want {
			t.Errorf("exporter %d is failing: %v", i, failing)
		}
	}
	list, err := r.Status(t.Context())
	if err != nil || list[0].Pending < findings || list[1].Pending < findings {
		t.Errorf("status %+v, error %v: nothing may be lost to the slow and the dead", list, err)
	}
}

func entriesOf(t *testing.T, n int) []stream.Entry {
	t.Helper()
	var list []stream.Entry
	for i := range n {
		f := rules.Finding{ID: fmt.Sprintf("id-%d", i), Revision: 1, Severity: rules.SeverityHigh, Agent: rules.AgentInfo{Name: "a"}}
		raw, err := json.Marshal(&f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, stream.Entry{Agent: "a", Epoch: "e", Seq: uint64(i + 1), ID: f.MessageID(), Received: time.Now(), Finding: raw})
	}
	return list
}

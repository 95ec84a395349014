package sensor

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// patience is how long a test waits for what must come.
var patience = testenv.Patience()

// seen collects what a sensor tells.
type seen struct {
	mu        sync.Mutex
	records   []FlowRecord
	packets   []Packet
	processes []ProcessEvent
}

func (s *seen) Packet(p *Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := *p
	kept.Data = bytes.Clone(p.Data)
	s.packets = append(s.packets, kept)
}

func (s *seen) Record(r *FlowRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, *r)
}

func (s *seen) Process(e *ProcessEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes = append(s.processes, *e)
}

// wait returns the first of the list that matches.
func wait[T any](t *testing.T, s *seen, list *[]T, what string, match func(*T) bool) T {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		for i := range *list {
			if match(&(*list)[i]) {
				found := (*list)[i]
				s.mu.Unlock()
				return found
			}
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records[max(0, len(s.records)-20):] {
		t.Logf("%+v", r)
	}
	t.Fatalf("not seen in %s: %s", patience, what)
	panic("unreachable")
}

func (s *seen) record(t *testing.T, what string, match func(*FlowRecord) bool) FlowRecord {
	t.Helper()
	return wait(t, s, &s.records, what, match)
}

func (s *seen) packet(t *testing.T, what string, match func(*Packet) bool) Packet {
	t.Helper()
	return wait(t, s, &s.packets, what, match)
}

func (s *seen) process(t *testing.T, what string, match func(*ProcessEvent) bool) ProcessEvent {
	t.Helper()
	return wait(t, s, &s.processes, what, match)
}

// all returns a copy of the records that match.
func (s *seen) all(match func(*FlowRecord) bool) []FlowRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []FlowRecord
	for i := range s.records {
		if match(&s.records[i]) {
			out = append(out, s.records[i])
		}
	}
	return out
}

// start runs a sensor until the test ends.
func start(t *testing.T, change func(*SocketConfig)) (*Socket, *seen) {
	t.Helper()
	testenv.Exclusive(t)
	cfg := DefaultSocketConfig()
	if change != nil {
		change(&cfg)
	}
	s := NewSocket(cfg, hclog.NewNullLogger())
	h := &seen{}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, h, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("start sensor: %v", err)
	case <-time.After(patience):
		t.Fatal("sensor is not ready")
	}
	return s, h
}

// closed waits for the close record of the flow that src opened to dst, as its
// client or its server has it.
func closed(t *testing.T, h *seen, d rules.Direction, local, remote netip.AddrPort) FlowRecord {
	t.Helper()
	return h.record(t, fmt.Sprintf("close of %s flow %s %s", d, local, remote), func(r *FlowRecord) bool {
		return r.Kind == RecordClose && r.Local == local && r.Remote == remote && r.Direction == d
	})
}

func isSelf(o OwnerRef) bool { return o.Process.PID == uint32(os.Getpid()) }

func TestHooksProveThemselves(t *testing.T) {
	s, _ := start(t, nil)
	testenv.Run(t, "true") // exec is left to the host
	for _, h := range s.Hooks() {
		if !h.Attached || !h.Canary {
			t.Errorf("hook %s: attached %v, canary %v, error %q", h.Name, h.Attached, h.Canary, h.Error)
		}
	}
	names := []string{}
	for _, h := range s.Hooks() {
		names = append(names, h.Name)
	}
	if !slices.Contains(names, "egress") || !slices.Contains(names, "files") {
		t.Errorf("hooks are %v", names)
	}
}

package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
)

type agent struct{ reload error }

func (agent) Heartbeat() rules.Heartbeat                            { return rules.Heartbeat{Agent: "a"} }
func (a agent) Reload(_ context.Context, by string) (string, error) { return "1 added" + by, a.reload }

func serve(t *testing.T, dir string, a Agent) *Server {
	t.Helper()
	s := NewServer(dir, a, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	c := NewClient(dir)
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, err := c.Status(t.Context())
		if err == nil {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("the socket does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, agent{})
	for i := range keptFindings + 2 {
		s.Keep(rules.Finding{Revision: uint64(i)})
	}
	c := NewClient(dir)
	got, err := c.Findings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != keptFindings || got[0].Revision != keptFindings+1 || got[keptFindings-1].Revision != 2 {
		t.Errorf("%d findings, newest %d, oldest %d", len(got), got[0].Revision, got[len(got)-1].Revision)
	}
	if changed, err := c.Reload(t.Context(), false); err != nil || changed != "1 added" {
		t.Errorf("reload: %q, %v", changed, err)
	}
	st, err := os.Stat(s.path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket mode %v, %v", st.Mode(), err)
	}
}

// TestForcedReloadNamesItsOperator holds that the kernel says who forces, not the
// client.
func TestForcedReloadNamesItsOperator(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, agent{})
	said, err := NewClient(dir).Reload(t.Context(), true)
	want := fmt.Sprintf("1 addeduser %d on this host (process %d)", os.Getuid(), os.Getpid())
	if err != nil || said != want {
		t.Errorf("got %q, %v; want %q", said, err, want)
	}
}

// What is kept does not grow with the packets, and the finding that came in is
// left as it was.
func TestPacketsAreNotKept(t *testing.T) {
	s := NewServer(t.TempDir(), agent{}, hclog.NewNullLogger())
	f := rules.Finding{ID: "a", Evidence: &rules.Evidence{PCAPNG: make([]byte, 1<<20), Packets: 12, SHA256: "ab"}}
	s.Keep(f)
	kept := s.findings()[0].Evidence
	if kept == nil || kept.PCAPNG != nil || kept.Packets != 12 || kept.SHA256 != "ab" {
		t.Errorf("kept %+v", kept)
	}
	if len(f.Evidence.PCAPNG) != 1<<20 {
		t.Error("the finding lost its packets")
	}
}

func TestReloadErrorReachesTheOperator(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, agent{reload: errors.New("x.yaml:3: unknown field")})
	if _, err := NewClient(dir).Reload(t.Context(), false); err == nil || !strings.Contains(err.Error(), "x.yaml:3") {
		t.Errorf("reload: %v", err)
	}
}

func TestSecondAgentIsRefused(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, agent{})
	err := NewServer(dir, agent{}, hclog.NewNullLogger()).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("second run: %v", err)
	}
}

func TestNotRunning(t *testing.T) {
	if _, err := NewClient(t.TempDir()).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("status: %v", err)
	}
}

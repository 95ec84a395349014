package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// contacts makes connections to attributed remotes, each a finding of its own:
// the owner is the same, so the remotes differ.
func contacts(t *testing.T, l *lab, from, to byte) {
	t.Helper()
	for i := from; i < to; i++ {
		address := fmt.Sprintf("203.0.113.%d", i)
		l.server.Run(t, "ip", "addr", "add", address+"/32", "dev", "lo")
		serveHTTP(t, l.server, address+":80")
		if err := httpFlow(t, l.client, address+":80"); err != nil {
			t.Fatalf("contact %s: %v", address, err)
		}
	}
}

// reported are the remotes of outbound findings at the collector. After a kill
// -9 of the collector its file may hold a finding and revision twice, which a
// receiver knows by the id; two contents under one id would be a loss.
func reported(t *testing.T, s *site) map[string]bool {
	t.Helper()
	remotes := map[string]bool{}
	seen := map[string]rules.Finding{}
	for _, f := range s.exported(t) {
		if f.Observation.Direction == rules.Outbound && ours(&f) {
			remotes[f.Observation.Remote.Addr.String()] = true
		}
		if before, again := seen[f.MessageID()]; again {
			if diff := cmp.Diff(before, f, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("finding and revision %s has two contents:\n%s", f.MessageID(), diff)
			}
		}
		seen[f.MessageID()] = f
	}
	return remotes
}

// allReported waits until every contact has its finding at the collector.
func allReported(t *testing.T, s *site, from, to byte) {
	t.Helper()
	missing := ""
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		remotes := reported(t, s)
		missing = ""
		for i := from; i < to; i++ {
			if a := fmt.Sprintf("203.0.113.%d", i); !remotes[a] {
				missing += " " + a
			}
		}
		if missing == "" || time.Now().After(deadline) {
			break
		}
	}
	if missing != "" {
		t.Errorf("no finding at the collector for%s", missing)
	}
	sameInStore(t, s)
}

// sameInStore compares the store with what was exported: each finding once, at
// its highest revision.
func sameInStore(t *testing.T, s *site) {
	t.Helper()
	type row struct {
		ID       string `json:"id"`
		Revision uint64 `json:"revision"`
	}
	s.collector.until(t, "the store holds what was exported", func() bool {
		highest := map[string]uint64{}
		for _, f := range s.exported(t) {
			highest[f.ID] = max(highest[f.ID], f.Revision)
		}
		var page struct {
			Findings []struct {
				Finding row `json:"finding"`
			} `json:"findings"`
		}
		if err := json.Unmarshal([]byte(s.collect(t, "findings", "list", "--limit", "200", "-o", "json")), &page); err != nil {
			t.Fatalf("read findings list: %v", err)
		}
		seen := map[string]bool{}
		for _, found := range page.Findings {
			r := found.Finding
			if seen[r.ID] {
				t.Fatalf("finding %s is in the store twice", r.ID)
			}
			seen[r.ID] = true
			if r.Revision < highest[r.ID] {
				return false
			}
			delete(highest, r.ID)
		}
		return len(highest) == 0
	})
}

// settled waits until the agent has put every contact into its spool.
func settled(t *testing.T, s *site, from, to byte) {
	t.Helper()
	client := s.control()
	s.agent.until(t, "the agent's spool holds every contact", func() bool {
		found, err := client.Findings(t.Context())
		if err != nil {
			return false
		}
		have := map[string]bool{}
		for _, f := range found {
			if !ours(&f) {
				continue
			}
			have[f.Observation.Remote.Addr.String()] = true
		}
		for i := from; i < to; i++ {
			if !have[fmt.Sprintf("203.0.113.%d", i)] {
				return false
			}
		}
		return true
	})
}

// TestCollectorDown: the collector is away for the whole session, then comes
// back.
func TestCollectorDown(t *testing.T) {
	s := newSite(t, "")
	l := newLab(t, 1)
	s.collector.kill(t)
	contacts(t, l, 10, 30)
	settled(t, s, 10, 30)
	s.startCollector(t)
	allReported(t, s, 10, 30)
}

// TestKillAgentAndCollector: both are killed with -9 between contacts; what was
// in the spool or acknowledged is at the collector in the end.
func TestKillAgentAndCollector(t *testing.T) {
	s := newSite(t, "")
	l := newLab(t, 1)
	const step = 8
	for round := byte(0); round < 4; round++ {
		from := 10 + round*step
		contacts(t, l, from, from+step)
		settled(t, s, from, from+step)
		if round%2 == 0 {
			s.collector.kill(t)
			s.agent.kill(t)
			s.startCollector(t)
		} else {
			s.agent.kill(t)
		}
		s.startAgent(t)
	}
	allReported(t, s, 10, 10+4*step)
}

// TestDiskFull: the agent's state lies on a small file system that somebody
// fills. It says so, and goes on when there is room again.
func TestDiskFull(t *testing.T) {
	testenv.Privileged(t)
	small := t.TempDir()
	testenv.Run(t, "mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", small)
	t.Cleanup(func() { testenv.Run(t, "umount", "-l", small) })
	s := newSiteIn(t, small, "")
	l := newLab(t, 1)
	contacts(t, l, 10, 15)
	allReported(t, s, 10, 15)
	filler := small + "/filler"
	fill(t, filler)
	contacts(t, l, 15, 30)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	allReported(t, s, 10, 30)
}

// fill writes until the file system takes no more.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		if _, err := f.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
}

package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

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

// reported are the remotes of outbound findings at the collector, with how often
// each finding id and revision came.
func reported(t *testing.T, s *site) (remotes map[string]bool, repeats []string) {
	t.Helper()
	remotes = map[string]bool{}
	seen := map[string]int{}
	for _, f := range s.exported(t) {
		if f.Observation.Direction == rules.Outbound && ours(&f) {
			remotes[f.Observation.Remote.Addr.String()] = true
		}
		if seen[f.MessageID()]++; seen[f.MessageID()] == 2 {
			repeats = append(repeats, f.MessageID())
		}
	}
	return remotes, repeats
}

// allReported waits until every contact has its finding at the collector, and
// none twice.
func allReported(t *testing.T, s *site, from, to byte) {
	t.Helper()
	var remotes map[string]bool
	var repeats []string
	missing := ""
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		remotes, repeats = reported(t, s)
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
	if len(repeats) > 0 {
		t.Errorf("finding and revision more than once in the collector's file: %v", repeats)
	}
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

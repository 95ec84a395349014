package collector

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// TestFullDiskRefusesAndRecovers fills the file system under the state folder.
// What was acknowledged must be there when there is room again.
func TestFullDiskRefusesAndRecovers(t *testing.T) {
	testenv.Privileged(t)
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	for _, reserve := range []int64{0, 4 << 20} { // ENOSPC inside the stream; refusal before it
		t.Run(fmt.Sprintf("reserve %d", reserve), func(t *testing.T) {
			cfg := testConfig(t)
			cfg.State = filepath.Join(disk, fmt.Sprint("state", reserve))
			cfg.Stream.Reserve = reserve
			cfg.Stream.MaxBytes = 1 << 30
			t.Cleanup(func() { os.RemoveAll(cfg.State) })
			s := startSite(t, cfg)
			a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
			fillUp(t, s, a, filepath.Join(disk, "ballast"))
		})
	}
}

func fillUp(t *testing.T, s *site, a *agent, ballast string) {
	sent := uint64(0)
	next := func() rules.Envelope {
		f := a.finding(fmt.Sprintf("f%d", sent+1), 1)
		f.Evidence.PCAPNG = make([]byte, 200<<10)
		return a.envelope("e", sent+1, f)
	}
	send := func() (int, string) {
		status, body, err := a.send([]rules.Envelope{next()})
		if err != nil {
			t.Fatal(err)
		}
		if status == http.StatusOK {
			sent++
		}
		return status, string(body)
	}
	for range 5 {
		if status, body := send(); status != http.StatusOK {
			t.Fatalf("with room: %d %s", status, body)
		}
	}
	fill(t, ballast)
	refused := false
	for range 200 {
		status, body := send()
		if status != http.StatusOK {
			if status != http.StatusServiceUnavailable || !strings.Contains(body, rules.CodeNotAvailable) {
				t.Fatalf("full disk: %d %s", status, body)
			}
			refused = true
			break
		}
	}
	if !refused {
		t.Fatal("a full disk was not noticed")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "findings taken again", func() bool { status, _ := send(); return status == http.StatusOK })
	eventually(t, "everything acknowledged in the store", func() bool { return s.counts(t).Findings == int64(sent) })
}

// fill takes the room that is left but for a little.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		if _, err := f.Write(block); err != nil {
			return
		}
	}
}

package deliver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
)

// childEnv makes the test binary a process that appends until it is killed.
const childEnv = "SALLYPORT_SPOOL_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		appendForever(dir)
		return
	}
	os.Exit(m.Run())
}

// appendForever prints each id after Append has promised it.
func appendForever(dir string) {
	cfg := DefaultConfig()
	cfg.Dir, cfg.SegmentBytes, cfg.Destinations = dir, 32<<10, []string{"stdout"}
	s, err := Open(cfg, hclog.NewNullLogger())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var out sync.Mutex
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("p%d-w%d-%d", os.Getpid(), w, i)
				if err := s.Append(context.Background(), finding(id)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(id)
				out.Unlock()
			}
		}()
	}
	select {}
}

// Killed with -9 at random moments, over and over: all that was promised is
// there, in one epoch, with numbers that have no gap.
func TestKilledAppending(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	promised := map[string]bool{}
	for range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		want := 1 + rand.N(200)
		for n := 0; lines.Scan(); n++ {
			promised[lines.Text()] = true
			if n == want {
				cmd.Process.Kill() // what is still in the pipe is read on
			}
		}
		cmd.Wait()
		if stderr.Len() > 0 {
			t.Fatalf("child: %s", stderr.String())
		}
	}
	cfg := DefaultConfig()
	cfg.Dir, cfg.Destinations = dir, []string{"stdout"}
	s := open(t, cfg)
	if e := events(s); len(e) != 0 {
		t.Errorf("events = %v", e)
	}
	r := &reader{spool: s, name: "stdout"}
	epochs, next, total := map[string]bool{}, uint64(1), int(s.State().Findings)
	for got := 0; got < total; {
		b, err := r.next(t.Context(), 100, batchBytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.envelopes {
			if e.Seq != next {
				t.Fatalf("number %d follows %d", e.Seq, next-1)
			}
			next++
			epochs[e.Epoch] = true
			delete(promised, strings.TrimSuffix(e.ID, ".1"))
		}
		got += len(b.envelopes)
		r.acknowledge(b)
	}
	if len(promised) > 0 {
		t.Errorf("%d promised findings are lost of %d", len(promised), total)
	}
	if len(epochs) != 1 {
		t.Errorf("%d epochs, want 1", len(epochs))
	}
}

// A full disk is said, loses nothing that was promised, and is over when there
// is room.
func TestDiskFull(t *testing.T) {
	testenv.Privileged(t)
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })
	ballast := filepath.Join(mount, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 700<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	cfg.Dir = filepath.Join(mount, "spool")
	cfg.MaxBytes = 64 << 20
	s := open(t, cfg)
	n := 0
	for ; n < 10_000; n++ {
		err := s.Append(t.Context(), finding(fmt.Sprintf("f%d", n)))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n == 10_000 {
		t.Fatal("the disk never filled")
	}
	for range 3 {
		if err := s.Append(t.Context(), finding("refused")); !errors.Is(err, ErrFull) {
			t.Fatalf("append on a full disk: %v", err)
		}
	}
	if _, said := events(s)[EventDiskFull]; !said {
		t.Error("the full disk was not reported")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	appendN(t, s, n, n+20)
	if refused := events(s)[EventDiskWrites]; refused != 4 {
		t.Errorf("recovery reports %d refused writes, want 4", refused)
	}
	s.Close()
	s = open(t, cfg)
	checkOrder(t, take(t, s, "stdout", n+20), 0, n+20)
	if next := s.State().NextSeq; next != uint64(n+21) {
		t.Errorf("next number %d, want %d: refused writes must leave no gap", next, n+21)
	}
	if e := events(s); len(e) != 0 {
		t.Errorf("events after restart = %v", e)
	}
}

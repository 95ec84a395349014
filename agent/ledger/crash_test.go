package ledger

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
)

const childEnv = "SALLYPORT_LEDGER_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		observeForever(dir)
		return
	}
	os.Exit(m.Run())
}

// lines is a spool that is a file: one write a finding, which a kill does not
// tear.
type lines struct{ f *os.File }

func (l lines) Append(_ context.Context, f rules.Finding) error {
	raw, err := json.Marshal(f)
	if err == nil {
		_, err = l.f.Write(append(raw, '\n'))
	}
	return err
}

// observeForever prints the ids that Observe has promised.
func observeForever(dir string) {
	f, err := os.OpenFile(filepath.Join(dir, "spool"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	cfg := DefaultConfig()
	cfg.Path = filepath.Join(dir, "l.db")
	l, err := Open(cfg, lines{f}, hclog.NewNullLogger())
	if err != nil {
		panic(err)
	}
	go l.Run(context.Background())
	ranks := []rules.Severity{rules.SeverityLow, rules.SeverityMedium, rules.SeverityHigh, rules.SeverityCritical}
	for i := 0; ; i++ {
		d := rules.Finding{ID: fmt.Sprint("f", rand.N(20)), Severity: ranks[rand.N(4)], First: time.Now(), Last: time.Now(),
			Observation: rules.Observation{FlowID: fmt.Sprintf("%d-%d", os.Getpid(), i)}}
		if err := l.Observe(context.Background(), d); err != nil {
			panic(err)
		}
		fmt.Println(d.ID)
	}
}

// Killed with -9 over and over: a revision number never means two things, none
// is missing, and every finding that was promised has come out.
func TestKilledObserving(t *testing.T) {
	dir := t.TempDir()
	promised := map[string]bool{}
	for range 8 {
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
		sc, want := bufio.NewScanner(out), 1+rand.N(60)
		for n := 0; sc.Scan(); n++ {
			promised[sc.Text()] = true
			if n == want {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		if stderr.Len() > 0 {
			t.Fatal(stderr.String())
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "spool"), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	last := openLedger(t, filepath.Join(dir, "l.db"), lines{f}, nil)
	last.sweep(t.Context(), time.Now()) // what was promised last
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	seen := map[string]rules.Finding{}
	highest := map[string]uint64{}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var f rules.Finding
		if err := json.Unmarshal(sc.Bytes(), &f); err != nil {
			t.Fatal(err)
		}
		if old, ok := seen[f.MessageID()]; ok && !sameContent(old, f) {
			t.Fatalf("%s means two things", f.MessageID())
		}
		seen[f.MessageID()] = f
		highest[f.ID] = max(highest[f.ID], f.Revision)
		delete(promised, f.ID)
	}
	for id := range promised {
		t.Errorf("%s was promised and never came", id)
	}
	for id, n := range highest {
		for r := uint64(1); r <= n; r++ {
			if _, ok := seen[fmt.Sprintf("%s.%d", id, r)]; !ok {
				t.Errorf("revision %d of %s is missing", r, id)
			}
		}
	}
}

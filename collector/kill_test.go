package collector

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
)

// childEnv has the test binary run a collector, so that it can be killed.
const childEnv = "SALLYPORT_COLLECTOR_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		os.Exit(child(path))
	}
	if path := os.Getenv(natsEnv); path != "" {
		os.Exit(natsChild(path))
	}
	os.Exit(m.Run())
}

func child(path string) int {
	cfg, err := LoadConfig(path)
	if err == nil {
		err = New(cfg, "test", hclog.New(&hclog.LoggerOptions{Level: hclog.Warn})).Run(context.Background(), func(a Addresses) { fmt.Println(a.Agents) })
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// process is a collector in a process of its own.
type process struct {
	cmd    *exec.Cmd
	agents string // address
}

// again has the test binary run as something else, with the file at path.
func again(t testing.TB, env, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), env+"="+path)
	cmd.Stderr = testLog{t}
	return cmd
}

func startProcess(t testing.TB, configFile string, at ...place) *process {
	t.Helper()
	p := &process{cmd: again(t, childEnv, configFile)}
	if len(at) > 0 {
		p.cmd = at[0].inside(p.cmd)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the collector did not start: %v", err)
	}
	p.agents = strings.TrimSpace(line)
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill() // an error means that it has ended
	p.cmd.Wait()
}

// writeConfig writes what a child needs.
func writeConfig(t *testing.T, cfg Config, exportPath string) string {
	t.Helper()
	text, err := yaml.Marshal(map[string]any{
		"state_dir": cfg.State, "url": cfg.URL,
		"listen":    map[string]any{"agents": "127.0.0.1:0", "people": "127.0.0.1:0", "health": "127.0.0.1:0"},
		"stream":    map[string]any{"reserve": cfg.Stream.Reserve, "max_bytes": cfg.Stream.MaxBytes},
		"exporters": []any{map[string]any{"name": "file", "type": "file", "settings": map[string]any{"path": exportPath}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "collector.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKillLosesNothing kills the collector again and again while an agent sends,
// and sends again what was not acknowledged, as an agent does.
func TestKillLosesNothing(t *testing.T) {
	const kills, batch = 6, 20
	cfg := testConfig(t)
	if _, err := Init(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	exportPath := filepath.Join(t.TempDir(), "out.jsonl")
	file := writeConfig(t, cfg, exportPath)
	s := &site{cfg: cfg}
	p := startProcess(t, file)
	a := newAgent(t, p.agents, s.token(t), "web-1")

	acknowledged, seq := 0, uint64(1)
	send := func() bool {
		var lines []rules.Envelope
		for i := range uint64(batch) {
			n := seq + i
			// Every third finding comes again with a higher revision.
			lines = append(lines, a.envelope("e", n, a.finding(fmt.Sprintf("f%d", n-n%3), 1+n%3)))
		}
		status, body, err := a.send(lines)
		var receipt rules.Receipt
		if err != nil || status != http.StatusOK {
			return false
		}
		if err := json.Unmarshal(body, &receipt); err != nil || receipt.Accepted != batch {
			t.Fatalf("receipt %s", body)
		}
		seq += batch
		acknowledged += batch
		return true
	}
	for k := range kills {
		target := acknowledged + batch*(k+1)
		for acknowledged < target {
			if !send() {
				t.Fatal("the collector refused findings")
			}
		}
		go func(d time.Duration) { time.Sleep(d); p.cmd.Process.Kill() }(time.Duration(k*7) * time.Millisecond)
		for send() { // until it is dead, in the middle of a batch
		}
		p.kill()
		p = startProcess(t, file)
		a.url = "https://" + p.agents
	}
	if !send() {
		t.Fatal("the collector refused findings after the last restart")
	}
	t.Logf("%d findings acknowledged over %d kills", acknowledged, kills)
	eventually(t, "every acknowledged revision in the store", func() bool { return s.counts(t).Revisions >= int64(acknowledged) })
	c := s.counts(t)
	if c.Revisions != int64(acknowledged) {
		t.Fatalf("%d revisions in the store, %d acknowledged and no other sent", c.Revisions, acknowledged)
	}
	ids := map[string]bool{}
	eventually(t, "every acknowledged revision in the exported file", func() bool {
		for _, id := range exported(t, exportPath) {
			ids[id] = true
		}
		return len(ids) >= acknowledged
	})
	if len(ids) != acknowledged {
		t.Fatalf("%d revisions exported, %d acknowledged", len(ids), acknowledged)
	}
}

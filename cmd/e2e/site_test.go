package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/agent/control"
	"sallyport/agent/testenv"
	"sallyport/rules"
)

// patience bounds every wait: long, since two loaded cores are slow, and paid
// only by a test that fails.
const patience = 60 * time.Second

// binaries is where TestMain built both programs.
var binaries string

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role))
	}
	if os.Getenv(pcapsEnv) != "" { // no program of ours runs
		os.Exit(m.Run())
	}
	os.Exit(build(m))
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sallyport-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-o", dir+"/", "sallyport/cmd/sallyport", "sallyport/cmd/sallyport-collector")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	binaries = dir
	return m.Run()
}

// site is one collector and one agent, with their state in a folder.
type site struct {
	dir             string
	agentState      string
	agentAddr       string // of the collector's listener for agents
	agentConfig     string
	collectorConfig string
	agent           *process
	collector       *process
}

// process is a running program of ours.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan error
}

// newSite sets up and starts both. agentYAML is added to the agent's
// configuration.
func newSite(t testing.TB, agentYAML string) *site {
	t.Helper()
	return newSiteIn(t, t.TempDir(), agentYAML)
}

// newSiteIn is newSite with the agent's state in a folder of the caller's.
func newSiteIn(t testing.TB, agentState, agentYAML string) *site {
	t.Helper()
	testenv.Exclusive(t)
	s := &site{dir: t.TempDir(), agentState: agentState, agentAddr: freeAddr(t)}
	s.collectorConfig = s.write(t, "collector.yaml", fmt.Sprintf(collectorYAML,
		s.path("collector"), s.agentAddr, freeAddr(t), freeAddr(t), s.path("findings.jsonl")))
	s.agentConfig = s.write(t, "agent.yaml", fmt.Sprintf(agentYAMLFrame,
		agentState, freeAddr(t), s.path("token"), s.write(t, "entities.yaml", entities()), s.path("flows.jsonl"))+agentYAML)
	s.collect(t, "init")
	s.startCollector(t)
	s.write(t, "token", s.collect(t, "token", "create", "--uses", "1", "--ttl", "1h"))
	s.startAgent(t)
	t.Cleanup(func() {
		if t.Failed() {
			s.showLogs(t)
		}
	})
	return s
}

const collectorYAML = `state_dir: %[1]s
url: https://%[2]s
listen:
  agents: %[2]s
  people: %[3]s
  health: %[4]s
identity:
  names: [127.0.0.1]
exporters:
  - name: file
    type: file
    format: json
    filter: {test: true}
    settings: {path: %[5]s}
`

const agentYAMLFrame = `state_dir: %s
metrics: %s
enrolment:
  token_file: %s
rules:
  shipped: true
  entities: [%s]
flow_log:
  path: %s
ledger:
  interval: 1s
deliver:
  destinations: [collector]
`

// entityID is the entity whose findings the tests look at. Each of its
// addresses is an indicator of its own, so that each contact is a finding of its
// own; the shipped test entity holds them as one prefix.
const entityID = "e2e-test"

func entities() string {
	var b strings.Builder
	b.WriteString(`id: e2e-test
name: End-to-End Test Entity
kind: organisation
test: true
sources:
  - {id: tests, name: the end-to-end tests, date: "2026-11-27"}
designations:
  - {authority: end-to-end tests, list: no list, designated: "2020-01-01", confidence: high, sources: [tests]}
indicators:
`)
	for i := 1; i < 255; i++ {
		fmt.Fprintf(&b, "  - {type: ip, value: 203.0.113.%d, confidence: high, sources: [{source: tests}]}\n", i)
	}
	b.WriteString("  - {type: domain, value: test.sallyport.example, confidence: high, sources: [{source: tests}]}\n")
	return b.String()
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(t testing.TB, name, content string) string {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.path(name)
}

// collect runs one of the collector's commands and gives what it printed.
func (s *site) collect(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(binaries, "sallyport-collector"), append(args, "--config", s.collectorConfig)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("sallyport-collector %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

func (s *site) startCollector(t testing.TB) {
	t.Helper()
	s.collector = s.start(t, "sallyport-collector", "run", "--config", s.collectorConfig)
	s.collector.until(t, "collector answers", func() bool {
		conn, err := net.DialTimeout("tcp", s.agentAddr, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (s *site) startAgent(t testing.TB) {
	t.Helper()
	s.agent = s.start(t, "sallyport", "agent", "--config", s.agentConfig)
	client := s.control()
	s.agent.until(t, "agent answers", func() bool {
		_, err := client.Status(t.Context())
		return err == nil
	})
}

func (s *site) control() *control.Client { return control.NewClient(s.agentState) }

func (s *site) start(t testing.TB, program string, args ...string) *process {
	t.Helper()
	return s.launch(t, program, exec.Command(filepath.Join(binaries, program), args...))
}

// launch runs cmd, which is one of our programs or becomes it, until the test
// ends.
func (s *site) launch(t testing.TB, program string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, log: s.path(program + ".log"), done: make(chan error, 1)}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// No Pdeathsig: it fires when the thread that started the program ends, and
	// entering namespaces ends threads.
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() { p.end(t) })
	return p
}

// end stops the process in good order, if it still runs.
func (p *process) end(t testing.TB) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		p.done <- err
	case <-time.After(patience):
		t.Errorf("%s does not end within %s of SIGTERM", p.cmd.Path, patience)
		p.kill(t)
	}
}

// kill is kill -9.
func (p *process) kill(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	err := <-p.done
	p.done <- err
}

// until waits for a condition while the process lives.
func (p *process) until(t testing.TB, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !true(); time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-p.done:
			p.done <- err
			t.Fatalf("waiting until %s: %s ended: %v\n%s", what, filepath.Base(p.cmd.Path), err, tail(p.log))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting until %s: not within %s\n%s", what, patience, tail(p.log))
		}
	}
}

func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4000):])
}

func (s *site) showLogs(t testing.TB) {
	for _, p := range []*process{s.agent, s.collector} {
		if p != nil {
			t.Logf("--- %s\n%s", p.log, tail(p.log))
		}
	}
}

// freeAddr is a loopback address that nobody listens on at this moment.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// exported reads every finding the collector's file exporter has written, each
// revision in order.
func (s *site) exported(t testing.TB) []rules.Finding {
	t.Helper()
	return readLines[rules.Finding](t, s.path("findings.jsonl"))
}

// flows reads the agent's flow log: the flows that have ended.
func (s *site) flows(t testing.TB) []rules.Observation {
	t.Helper()
	return readLines[rules.Observation](t, s.path("flows.jsonl"))
}

// readLines reads a file of JSON lines; an unfinished last line is left for the
// next time.
func readLines[T any](t testing.TB, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []T
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return out
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s line %d: %v", path, len(out)+1, err)
		}
		out = append(out, v)
	}
}

// await waits for a finding at the collector that is as wanted, and gives its
// newest revision that is.
func (s *site) await(t testing.TB, what string, wanted func(*rules.Finding) bool) rules.Finding {
	t.Helper()
	return s.awaitOf(t, entityID, what, wanted)
}

// awaitOf is await for the findings about one entity.
func (s *site) awaitOf(t testing.TB, entity, what string, wanted func(*rules.Finding) bool) rules.Finding {
	t.Helper()
	var got rules.Finding
	var seen []string
	find := func() bool {
		seen = seen[:0]
		ok := false
		for _, f := range s.exported(t) {
			if isAbout(&f, entity) && wanted(&f) {
				got, ok = f, true
			}
			seen = append(seen, summary(&f))
		}
		return ok
	}
	deadline := time.Now().Add(patience)
	for !find() {
		if time.Now().After(deadline) {
			t.Fatalf("no finding that is %s within %s; the collector has:\n%s", what, patience, strings.Join(seen, "\n"))
		}
		time.Sleep(100 * time.Millisecond)
	}
	return got
}

// ours says whether a finding is about the tests' own entity.
func ours(f *rules.Finding) bool { return isAbout(f, entityID) }

func isAbout(f *rules.Finding, entity string) bool {
	return len(f.Matches) > 0 && f.Matches[0].Entity.ID == entity
}

func summary(f *rules.Finding) string {
	o := &f.Observation
	executable := "?"
	if p := o.Owner.Process; p != nil {
		executable = fmt.Sprintf("%s(%d)", p.Executable, p.PID)
	}
	return fmt.Sprintf("  %s.%d %s %s %s %s %v:%d %s %s owner %s (%s)", f.ID[:min(8, len(f.ID))], f.Revision, f.State, f.Rule.ID,
		f.Severity, o.Direction, o.Remote.Addr, o.Remote.Port, o.Identification.Protocol, o.Outcome, executable, o.Owner.Attribution)
}

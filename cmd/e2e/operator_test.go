package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/rules"
)

// sallyport runs one of the operator's commands against the site's agent.
func (s *site) sallyport(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(binaries, "sallyport"), append(args, "--config", s.agentConfig)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code = cmd.ProcessState.ExitCode(); code == 2 {
		t.Fatalf("sallyport %s: %s", strings.Join(args, " "), stderr.String())
	}
	return stdout.String(), code
}

// TestOperator: the live self-test, status, reload and doctor, beside a running
// agent and, the last, without one.
func TestOperator(t *testing.T) {
	s := newSite(t, "")
	out, code := s.sallyport(t, "selftest", "--port", "8443", "-o", "json")
	if code != 0 {
		t.Fatalf("selftest: exit %d", code)
	}
	var result struct {
		Finding rules.Finding `json:"finding"`
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatal(err)
	}
	f := s.awaitOf(t, "sallyport-test", "the self-test's", func(f *rules.Finding) bool {
		return f.ID == result.Finding.ID && f.Revision >= result.Finding.Revision
	})
	if !f.Test || f.Evidence == nil && result.Finding.Evidence == nil {
		t.Errorf("test %v, without evidence", f.Test)
	}
	if out, _ := s.sallyport(t, "status"); !strings.Contains(out, "socket/egress") || !strings.Contains(out, "pack") {
		t.Errorf("status:\n%s", out)
	}
	if out, _ := s.sallyport(t, "reload"); !strings.Contains(out, "indicators in force") {
		t.Errorf("reload: %s", out)
	}
	for _, running := range []bool{true, false} {
		if !running {
			s.agent.end(t)
		}
		out, code := s.sallyport(t, "doctor", "-o", "json")
		var checks []struct{ Name, Level, Found string }
		if err := json.Unmarshal([]byte(out), &checks); err != nil {
			t.Fatal(err)
		}
		failed := 0
		for _, c := range checks {
			if c.Level == "failed" || c.Level == "degraded" {
				failed++
				t.Logf("agent running %v: %+v", running, c)
			}
		}
		if (failed > 0) != (code == 1) || len(checks) < 5 {
			t.Errorf("agent running %v: exit %d with %d of %d checks not in order", running, code, failed, len(checks))
		}
	}
}

// TestBrokenInput: what is wrong is named by file and line, and nothing starts.
func TestBrokenInput(t *testing.T) {
	dir := t.TempDir()
	s := &site{dir: dir, agentState: dir}
	broken := s.write(t, "broken.yaml", "id: x\nname: X\nkind: organisation\nindicators:\n  - {type: ip, value: 300.1.1.1, confidence: high}\n")
	config := s.write(t, "agent.yaml", "state_dir: "+dir+"\nrules: {entities: ["+broken+"]}\n")
	garbage := s.write(t, "garbage.pcap", "\xd4\xc3\xb2\xa1 this is no capture")
	tests := []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"configuration", []string{"agent", "--check-config", "--config", s.write(t, "odd.yaml", "flows: {}\n")}, 2, []string{"odd.yaml", "[1:1]", "flows"}},
		{"entity", []string{"agent", "--check-config", "--config", config}, 2, []string{"broken.yaml:5", "300.1.1.1"}},
		{"capture", []string{"replay", "--flows", garbage}, 1, []string{"garbage.pcap", "offset"}},
		{"token", []string{"enrol", "--config", config, "--token-file", garbage}, 2, []string{"not an enrolment token"}},
		{"no agent", []string{"status", "--config", s.write(t, "plain.yaml", "state_dir: "+dir+"\n")}, 2, []string{"no agent is running"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command(filepath.Join(binaries, "sallyport"), test.args...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			if cmd.ProcessState.ExitCode() != test.code {
				t.Errorf("exit %v, want %d", err, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("the error does not hold %q:\n%s", want, stderr.String())
				}
			}
		})
	}
}

// TestWithoutCollector: a single server needs none; findings go to a file.
func TestWithoutCollector(t *testing.T) {
	s := newSite(t, "")
	s.agent.end(t)
	s.collector.end(t)
	s.agentConfig = s.write(t, "alone.yaml", "state_dir: "+t.TempDir()+"\nmetrics: \"\"\ndeliver:\n  destinations: [file, stdout]\n  file: {path: "+s.path("alone.jsonl")+"}\n")
	s.agent = s.start(t, "sallyport", "agent", "--config", s.agentConfig)
	s.agent.until(t, "agent answers", func() bool {
		cmd := exec.Command(filepath.Join(binaries, "sallyport"), "status", "--config", s.agentConfig)
		return cmd.Run() == nil
	})
	for range 2 { // twice at once, with the default interval between revisions
		if _, code := s.sallyport(t, "selftest"); code != 0 {
			t.Fatalf("selftest: exit %d", code)
		}
	}
	s.agent.until(t, "the finding is in the file and on stdout", func() bool {
		printed, err := os.ReadFile(s.agent.log)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range readLines[rules.Finding](t, s.path("alone.jsonl")) {
			if f.Test && f.Observation.Identification.Protocol == "rdp" && bytes.Contains(printed, []byte(f.ID)) {
				return true
			}
		}
		return false
	})
}

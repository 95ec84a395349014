package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"sallyport/agent"
	"sallyport/agent/testenv"
)

// deployed is where the example configurations and manifests are.
const deployed = "../../deploy"

func TestExampleConfigurationShowsEveryDefault(t *testing.T) {
	t.Setenv("SALLYPORT_HOST", "example")
	got, err := agent.LoadConfig(filepath.Join(deployed, "agent.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := agent.LoadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(effective(t, want), effective(t, got)); diff != "" {
		t.Errorf("deploy/agent.yaml differs from the defaults (-default +example):\n%s", diff)
	}
	data, err := os.ReadFile(filepath.Join(deployed, "agent.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var example map[string]any
	if err := yaml.Unmarshal(data, &example); err != nil {
		t.Fatal(err)
	}
	for _, key := range keysOf(t, want) {
		if _, ok := example[key]; !ok {
			t.Errorf("deploy/agent.yaml does not show %q", key)
		}
	}
}

func effective(t *testing.T, c agent.Config) string {
	t.Helper()
	text, err := c.Effective()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func keysOf(t *testing.T, c agent.Config) []string {
	t.Helper()
	var all map[string]any
	if err := yaml.Unmarshal([]byte(effective(t, c)), &all); err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Keys(all))
}

// documents reads every document of a YAML file.
func documents(t *testing.T, path string) []map[string]any {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := yaml.NewDecoder(f, yaml.Strict())
	var out []map[string]any
	for {
		var doc map[string]any
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, doc)
	}
}

// at follows a path of keys and indices.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok || m[s] == nil {
				t.Fatalf("no %q on the way %v", s, path)
			}
			v = m[s]
		case int:
			l, ok := v.([]any)
			if !ok || s >= len(l) {
				t.Fatalf("no element %d on the way %v", s, path)
			}
			v = l[s]
		}
	}
	return v
}

// capabilities is what the agent may hold; docs/privileges.md says why.
var capabilities = []string{"BPF", "PERFMON", "NET_ADMIN", "NET_RAW", "SYS_PTRACE", "DAC_READ_SEARCH"}

func TestDaemonSet(t *testing.T) {
	docs := documents(t, filepath.Join(deployed, "kubernetes", "agent.yaml"))
	var set, configMap map[string]any
	for _, d := range docs {
		switch d["kind"] {
		case "DaemonSet":
			set = d
		case "ConfigMap":
			configMap = d
		}
	}
	container := at(t, set, "spec", "template", "spec", "containers", 0)
	security := at(t, container, "securityContext")
	if at(t, security, "privileged") != false || at(t, security, "allowPrivilegeEscalation") != false || at(t, security, "readOnlyRootFilesystem") != true {
		t.Error("the pod is not least privileged")
	}
	if diff := cmp.Diff([]any{"ALL"}, at(t, security, "capabilities", "drop")); diff != "" {
		t.Error(diff)
	}
	var want []any
	for _, c := range capabilities {
		want = append(want, c)
	}
	if diff := cmp.Diff(want, at(t, security, "capabilities", "add")); diff != "" {
		t.Error(diff)
	}
	var args []string
	for _, a := range at(t, container, "args").([]any) {
		args = append(args, a.(string))
	}
	parses(t, args)
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(at(t, configMap, "data", "agent.yaml").(string)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.LoadConfig(path); err != nil {
		t.Errorf("the manifest's configuration: %v", err)
	}
}

// parses checks that a command line is one of ours, without running it.
func parses(t *testing.T, args []string) {
	t.Helper()
	root := newRoot(environment{strings.NewReader(""), io.Discard, io.Discard})
	cmd, rest, err := root.Find(args)
	if err != nil || cmd == root {
		t.Errorf("command line %q: %v", args, err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("command line %q: %v", args, err)
		return
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Errorf("command line %q: %v", args, err)
	}
}

func TestAgentUnit(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(deployed, "systemd", "sallyport.service"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ExecStart", "ExecReload":
			found++
			words := strings.Fields(value)
			if words[0] != "/usr/bin/sallyport" {
				t.Errorf("%s starts %s", key, words[0])
			}
			parses(t, words[1:])
		case "CapabilityBoundingSet":
			found++
			var want []string
			for _, c := range capabilities {
				want = append(want, "CAP_"+c)
			}
			if diff := cmp.Diff(want, strings.Fields(value)); diff != "" {
				t.Errorf("capabilities:\n%s", diff)
			}
		}
	}
	if found != 3 {
		t.Errorf("the unit lacks one of ExecStart, ExecReload, CapabilityBoundingSet")
	}
}

func TestUnitsVerify(t *testing.T) {
	analyze := testenv.Tool(t, "systemd-analyze")
	for _, unit := range []string{"sallyport.service", "sallyport-collector.service"} {
		// A copy whose programs exist: the verifier looks for them.
		data, err := os.ReadFile(filepath.Join(deployed, "systemd", unit))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, program := range []string{"sallyport", "sallyport-collector"} {
			if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, unit)
		if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte("/usr/bin/"), []byte(dir+"/")), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(out), unit+":") {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

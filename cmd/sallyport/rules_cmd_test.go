package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/rules"
)

// command runs sallyport and returns what it prints and its exit status.
func command(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, environment{strings.NewReader(stdin), &out, &errs})
	return out.String(), errs.String(), code
}

func TestCheckCommand(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"tied", []string{"114.255.70.20"}, 0, "attributed to INTEGRITY TECHNOLOGY GROUP", ""},
		{"the legal act", []string{"w8510.com"}, 0, "list id 50543, designated 2025-01-03", ""},
		{"test data says so", []string{"203.0.113.10"}, 0, "test data", ""},
		{"prefix", []string{"203.0.113.0/25"}, 0, "a prefix attributed to Sallyport Test Entity", ""},
		{"one of two", []string{"8.8.8.8", "youtubecard.com"}, 0, "8.8.8.8: not in packs sallyport", ""},
		{"not tied", []string{"8.8.8.8"}, 1, "8.8.8.8: not in packs sallyport 2026.11.23 as of 2026-11-23", ""},
		{"holder", []string{"AS203273"}, 0, "NetCrafters OU, which is not listed", ""},
		{"no value", []string{"what is this"}, 2, "", "not an address, prefix"},
		{"no argument", nil, 2, "", "requires at least 1 arg"},
		{"format", []string{"-o", "xml", "8.8.8.8"}, 2, "", "use text or json"},
		{"no such pack", []string{"--pack", "/nonexistent.yaml", "8.8.8.8"}, 2, "", "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := command(t, "", append([]string{"check"}, tt.args...)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
			}
			if strings.Contains(strings.ToLower(stdout), "clean") {
				t.Error("says clean")
			}
		})
	}
}

func TestCheckJSON(t *testing.T) {
	stdout, _, code := command(t, "", "check", "-o", "json", "114.255.70.20", "8.8.8.8")
	var answers []checkAnswer
	if err := json.Unmarshal([]byte(stdout), &answers); err != nil || code != 0 {
		t.Fatalf("exit %d, %v", code, err)
	}
	if len(answers) != 2 || !answers[0].Tied || answers[1].Tied || len(answers[0].Matches[0].Indicator.Sources) != 3 || answers[1].AsOf != "2026-11-23" {
		t.Errorf("got %+v", answers)
	}
}

func TestCheckPackIsSafeForATerminal(t *testing.T) {
	file := write(t, "evil.yaml", "id: e\nname: \"E\\e[31m\\u202e\"\nkind: organisation\nsources: [{id: s, name: S}]\nindicators: [{type: ip, value: 5.6.7.8, confidence: low, sources: [{source: s}]}]\n")
	stdout, _, code := command(t, "", "check", "--pack", file, "5.6.7.8")
	if code != 0 || strings.ContainsAny(stdout, "\x1b\u202e") {
		t.Errorf("exit %d: %q", code, stdout)
	}
	if _, _, code := command(t, "", "check", "--pack", file, "114.255.70.20"); code != 1 {
		t.Errorf("answered from packs other than the one given: exit %d", code)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLintCommand(t *testing.T) {
	stdout, stderr, code := command(t, "", "rules", "lint", "../../rules/designations", "../../rules/detections")
	if code != 0 || !strings.Contains(stdout, " 0 faults") {
		t.Errorf("what ships: exit %d\n%s\n%s", code, stdout, stderr)
	}
	tests := []struct{ name, text, want string }{
		{"entity", "id: e\nname: E\nkind: club\n", `file.yaml:3:7: kind "club" is unknown; use one of organisation, person, tool`},
		{"detection", "title: T\nlogsource: {category: network_connection, product: linux}\ndetection:\n  s: {NoSuchField: 1}\n  condition: s\n", "NoSuchField"},
		{"allow-list", "allow:\n  - {value: 5.6.7.8, reason: r, author: a}\n", "file.yaml:2:6: the entry has no expiry; write the last day it holds"},
		{"approved tools", "approved:\n  - {product: \"\", reason: r, author: a, until: \"2026\"}\n", "product is missing"},
		{"owner", "id: e\nname: E\nkind: person\nsources: [{id: s, name: S}]\nowners: [{entity: nobody, percent: 60, sources: [s]}]\n", "nobody"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stdout, _, code := command(t, "", "rules", "lint", write(t, "file.yaml", tt.text))
			if code != 1 || !strings.Contains(stdout, tt.want) {
				t.Errorf("exit %d: %s", code, stdout)
			}
		})
	}
	if _, stderr, code := command(t, "", "rules", "lint", "/nonexistent"); code != 2 || stderr == "" {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

func TestShowCommand(t *testing.T) {
	for _, name := range []string{"integrity-technology-group", "KRLab", "integrity technology group, incorporated"} {
		stdout, _, code := command(t, "", "rules", "show", name)
		for _, want := range []string{"list id 50543", "actor: RedJuliett, confidence medium", "seen from 2023-10-04 until 2024-06-28", "[US DOJ, case 24-1173"} {
			if code != 0 || !strings.Contains(stdout, want) {
				t.Errorf("%s: exit %d, lacks %q", name, code, want)
			}
		}
	}
	if _, stderr, code := command(t, "", "rules", "show", "nobody"); code != 1 || !strings.Contains(stderr, "nobody") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

func TestRulesTestCommand(t *testing.T) {
	stdout, stderr, code := command(t, "", "rules", "test", "testdata/rules/shipped.yaml")
	if code != 0 || !strings.Contains(stdout, "5 tests, 0 failed") {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	data, err := os.ReadFile("testdata/rules/shipped.yaml")
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.Replace(string(data), "severity: critical", "severity: low", 1)
	stdout, _, code = command(t, "", "rules", "test", write(t, "wrong.yaml", wrong))
	for _, want := range []string{"5 tests, 1 failed", `got, not expected: rule "RDP with an attributed remote"`, "expected, not got"} {
		if code != 1 || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, lacks %q\n%s", code, want, stdout)
		}
	}
	if _, stderr, code := command(t, "", "rules", "test", write(t, "bad.yaml", "tests: []\ncolour: red\n")); code != 2 || !strings.Contains(stderr, "colour") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

func TestExplainCommand(t *testing.T) {
	set, err := rules.ShippedSet(rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := rules.ShippedSigmaRules()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	o := rules.Observation{
		Host: "h1", Transport: rules.TCP, Direction: rules.Outbound, Outcome: rules.OutcomeData, First: now, Last: now,
		Identification: rules.Identification{Protocol: "rdp", State: "confirmed", Evidence: "X.224 \x1b[31mrequest"},
		Owner:          rules.Owner{Attribution: rules.AttributionExact, Process: &rules.Process{PID: 7, Executable: "/usr/bin/xfreerdp"}},
	}
	o.Remote.Addr = parseAddr(t, "203.0.113.10")
	o.Local.Addr = parseAddr(t, "198.18.0.1")
	findings := (&rules.Judge{Detections: rules.Enabled(list), Agent: rules.AgentInfo{Name: "h1"}}).Findings(&o, set.Match(&o, now), now)
	data, err := json.Marshal(findings[0])
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := command(t, string(data), "rules", "explain", "-")
	for _, want := range []string{"severity critical, confidence high", "TEST DATA", "/usr/bin/xfreerdp", "a remote attributed to Sallyport Test Entity", "an established RDP flow", "A finding is a lead"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, lacks %q\n%s%s", code, want, stdout, stderr)
		}
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("a control sequence came through")
	}
	if _, stderr, code := command(t, `{"version": 1}`, "rules", "explain", "-"); code != 2 || !strings.Contains(stderr, "invalid finding") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

func TestImportCommand(t *testing.T) {
	list := write(t, "list.txt", "5[.]6[.]7[.]8\n5.6.7.9\n10.0.0.1\nsoftether.net\n")
	out := filepath.Join(t.TempDir(), "out.yaml")
	stdout, stderr, code := command(t, "", "rules", "import", "list", list, "-o", out, "--entity", "KRLab")
	if code != 0 || !strings.Contains(stdout, "1 entities, 2 indicators") || !strings.Contains(stderr, "line 3") || !strings.Contains(stderr, "strangers share") {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	if stdout, _, code := command(t, "", "check", "--pack", out, "5.6.7.8"); code != 0 || !strings.Contains(stdout, "integrity-technology-group") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	empty := write(t, "empty.txt", "# nothing\n")
	if _, stderr, code := command(t, "", "rules", "import", "list", empty, "-o", out); code != 2 || !strings.Contains(stderr, "force it") {
		t.Errorf("an empty feed replaced a full one: exit %d, %q", code, stderr)
	}
	if _, stderr, code := command(t, "", "rules", "import", "smoke", list, "-o", out); code != 2 || !strings.Contains(stderr, "unknown kind of feed") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

func parseAddr(t *testing.T, text string) netip.Addr {
	t.Helper()
	addr, err := netip.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestPackCommands(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	steps := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"key", in("root")}, 0, "key "},
		{[]string{"key", in("vendor")}, 0, "key "},
		{[]string{"key", in("other")}, 0, "key "},
		{[]string{"delegate", "--root", in("root.key"), "--key", in("vendor.pub"), "--name", "sallyport", "-o", in("chain")}, 0, "may sign [sallyport]"},
		{[]string{"build", "-o", in("1.pack"), "--version", "1"}, 0, "not signed"},
		{[]string{"verify", in("1.pack"), "--root", in("root.pub")}, 2, "pack is not signed"},
		{[]string{"sign", in("1.pack"), "-o", in("1s.pack"), "--key", in("vendor.key"), "--chain", in("chain")}, 0, "digest "},
		{[]string{"verify", in("1s.pack"), "--root", in("root.pub")}, 0, "signed by the vendor key"},
		{[]string{"verify", in("1s.pack"), "--root", in("other.pub")}, 2, "not signed by"},
		{[]string{"build", "-o", in("2s.pack"), "--version", "2", "--key", in("vendor.key"), "--chain", in("chain"), "../../rules/designations/zservers.yaml"}, 0, "1 entities, 0 detections, signed"},
		{[]string{"diff", in("1s.pack"), in("2s.pack")}, 0, "entity INTEGRITY TECHNOLOGY GROUP, INCORPORATED is gone"},
		{[]string{"import", in("2s.pack"), "--root", in("root.pub"), "--seen", in("seen"), "--to", dir}, 0, "sallyport 2"},
		{[]string{"import", in("1s.pack"), "--root", in("root.pub"), "--seen", in("seen"), "--to", dir}, 2, "older than the one in force"},
	}
	for _, step := range steps {
		stdout, stderr, code := command(t, "", append([]string{"rules", "pack"}, step.args...)...)
		if code != step.code || !strings.Contains(stdout+stderr, step.want) {
			t.Fatalf("%v: exit %d\n%s%s", step.args, code, stdout, stderr)
		}
	}
	if stdout, _, code := command(t, "", "check", "--pack", in("sallyport.pack"), "zservers.ru"); code != 0 || !strings.Contains(stdout, "signature not checked") {
		t.Errorf("check: exit %d, %s", code, stdout)
	}
	if _, _, code := command(t, "", "check", "--pack", in("sallyport.pack"), "114.255.70.20"); code != 1 {
		t.Errorf("check of what the pack lacks: exit %d", code)
	}
	if stdout, _, code := command(t, "", "rules", "lint", in("1s.pack")); code != 0 || !strings.Contains(stdout, "81 entities, ") {
		t.Errorf("lint: exit %d, %s", code, stdout)
	}
}

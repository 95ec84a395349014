package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// made is a small corpus: every rule of the score has a flow.
const (
	madeLabels = `
{"capture":"a","proto":"udp","src":"192.0.2.1","sport":500,"dst":"192.0.2.2","dport":500,"payload_packets":4,"label":"ikev2"}
{"capture":"a","proto":"50","src":"192.0.2.1","sport":0,"dst":"192.0.2.2","dport":0,"payload_packets":4,"label":"esp"}
{"capture":"b","proto":"tcp","src":"192.0.2.1","sport":1,"dst":"192.0.2.2","dport":3389,"payload_packets":4,"label":"rdp"}
{"capture":"b","proto":"tcp","src":"192.0.2.1","sport":2,"dst":"192.0.2.2","dport":3389,"payload_packets":4,"label":"rdp"}
{"capture":"c","proto":"47","src":"192.0.2.1","sport":0,"dst":"192.0.2.2","dport":0,"payload_packets":1,"label":"gre","also":["pptp"]}
{"capture":"c","proto":"tcp","src":"2001:db8::1","sport":9,"dst":"2001:db8::2","dport":80,"payload_packets":3,"label":"none"}
{"capture":"c","proto":"tcp","src":"192.0.2.1","sport":9,"dst":"192.0.2.2","dport":81,"payload_packets":0,"label":"none"}
{"capture":"c","proto":"tcp","src":"192.0.2.1","sport":9,"dst":"192.0.2.2","dport":22,"payload_packets":3,"label":"ssh","ambiguous":true}
`
	madePredictions = `
{"capture":"a","proto":"17","src":"192.0.2.2","sport":500,"dst":"192.0.2.1","dport":500,"label":"ike"}
{"capture":"a","transport":"esp","src":"::ffff:192.0.2.1","sport":null,"dst":"192.0.2.2","label":"ipsec"}
{"capture":"b","proto":6,"src":"192.0.2.1","sport":1,"dst":"192.0.2.2","dport":3389,"label":"none"}
{"capture":"b","proto":6,"src":"192.0.2.1","sport":1,"dst":"192.0.2.2","dport":3389,"label":"vnc"}
{"capture":"b","proto":6,"src":"192.0.2.1","sport":1,"dst":"192.0.2.2","dport":3389,"label":"rdp"}
{"capture":"b","proto":6,"src":"192.0.2.1","sport":2,"dst":"192.0.2.2","dport":3389,"label":"vnc"}
{"capture":"c","proto":"gre","src":"192.0.2.1","dst":"192.0.2.2","label":"pptp"}
{"capture":"c","proto":"tcp","src":"2001:DB8:0::1","sport":9,"dst":"2001:db8::2","dport":80,"label":"ssh"}
{"capture":"c","proto":"tcp","src":"192.0.2.1","sport":9,"dst":"192.0.2.2","dport":81,"label":"rdp"}
{"capture":"c","proto":"tcp","src":"192.0.2.1","sport":9,"dst":"192.0.2.2","dport":22,"label":"rdp"}
{"capture":"d","proto":"tcp","src":"192.0.2.1","sport":9,"dst":"192.0.2.2","dport":22,"label":"rdp"}
{"capture":"d","proto":"tcp","src":"192.0.2.1","sport":8,"dst":"192.0.2.2","dport":22,"label":null}
`
)

func made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"labels.jsonl":              madeLabels,
		"predictions.perfect.jsonl": madeLabels,
		"ours.jsonl":                madePredictions,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMeasure(t *testing.T) {
	dir := made(t)
	truth, err := readTruth(filepath.Join(dir, "labels.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := scoreFile("ours", filepath.Join(dir, "ours.jsonl"), truth)
	if err != nil {
		t.Fatal(err)
	}
	type figures struct{ Flows, Right, Wrong, Missed int }
	got := map[string]figures{}
	for name, c := range s.categories {
		got[name] = figures{c.flows, c.right, c.wrong, c.missed}
	}
	want := map[string]figures{
		"ikev2": {1, 1, 0, 0}, // "ike" is right for both versions
		"esp":   {1, 1, 0, 0}, // mapped address, no ports, "ipsec"
		"rdp":   {2, 1, 1, 1}, // the right one of several answers counts
		"vnc":   {0, 0, 1, 0},
		"gre":   {1, 1, 0, 0}, // "also"
		"ssh":   {0, 0, 1, 0},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("categories (-want +got):\n%s", d)
	}
	// rdp: precision and recall 1/2; the other three are perfect.
	macro, n := s.macro()
	if n != 4 || macro != (3+0.5)/4 {
		t.Errorf("macro F1 = %v over %d, want 0.875 over 4", macro, n)
	}
	totals := []int{s.negatives, s.negativesPayload, s.falseOnNegatives, s.falseNoData, s.ambiguous, s.unmatched, s.unmatchedIdentified}
	if d := cmp.Diff([]int{2, 1, 2, 1, 1, 2, 1}, totals); d != "" {
		t.Errorf("totals (-want +got):\n%s", d)
	}
}

func TestRun(t *testing.T) {
	dir := made(t)
	var out strings.Builder
	if err := run([]string{"-errors", "1", dir, filepath.Join(dir, "ours.jsonl")}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| sallyport            | perfect",
		"rdp                         2     1/1     1     1     1 |  0.500  0.500  0.500 |  1.000  1.000  1.000",
		"sallyport: macro F1 0.8750 over 4 categories; micro precision 0.5714 recall 0.8000 F1 0.6667; false positives among 2 negatives (1 with payload): 2 (1 without payload): rdp 1, ssh 1",
		"perfect: macro F1 1.0000",
		"ambiguous: 1; predictions about flows without a label: 2 (1 identified)",
		"wrong: b protocol 6 192.0.2.1:2 192.0.2.2:3389: label rdp, said vnc",
		"and 2 more",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q in\n%s", want, out.String())
		}
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	tests := []struct{ name, text, want string }{
		{"not JSON", "\n{", ":2: read row"},
		{"no protocol", `{"capture":"a"}`, ":1: no proto"},
		{"unknown protocol", `{"proto":"ip"}`, ":1: read proto"},
		{"port", `{"proto":"tcp","sport":"x"}`, ":1: read port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readPredictions(write("p.jsonl", tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if err := run([]string{dir, "absent"}, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "labels.jsonl") {
		t.Errorf("missing labels: %v", err)
	}
	if err := run(nil, &strings.Builder{}); err == nil {
		t.Error("no arguments: no error")
	}
}

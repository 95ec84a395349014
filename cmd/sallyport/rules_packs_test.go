package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"sallyport/agent/history"
	"sallyport/rules"
	"sallyport/rules/pack"
)

func TestRulesTestWithCaptures(t *testing.T) {
	dir := t.TempDir()
	capture := filepath.Join(dir, "ssh.pcapng")
	if err := os.WriteFile(capture, sshCapture(t), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, test string
		code       int
		want       string
	}{
		{"as expected", "{name: a, capture: ssh.pcapng, expect: [{rule: Contact with an attributed remote, entity: sallyport-test}]}", 0, "1 tests, 0 failed"},
		{"seen from the other side", "{name: a, capture: ssh.pcapng, local: [203.0.113.0/24], expect: []}", 0, "1 tests, 0 failed"},
		{"not expected", "{name: a, capture: ssh.pcapng, expect: []}", 1, "got, not expected"},
		{"not got", "{name: a, capture: ssh.pcapng, expect: [{rule: RDP with an attributed remote}, {rule: Contact with an attributed remote}]}", 1, "expected, not got"},
		{"no capture", "{name: a, capture: missing.pcapng, expect: []}", 2, "missing.pcapng"},
		{"both", "{name: a, capture: ssh.pcapng, event: {host: h}, expect: []}", 2, "either an event or a capture"},
		{"neither", "{name: a, expect: []}", 2, "either an event or a capture"},
		{"bad prefix", "{name: a, capture: ssh.pcapng, local: [x], expect: []}", 2, "no prefix"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(dir, "test.yaml")
			if err := os.WriteFile(file, []byte("now: 2026-11-27T12:00:00Z\ntests:\n  - "+tt.test+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := command(t, "", "rules", "test", file)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
				t.Errorf("exit %d\n%s%s", code, stdout, stderr)
			}
		})
	}
}

// asnDatabase writes an ASN database of one prefix for each number.
func asnDatabase(t *testing.T, prefixes map[string]uint32) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-ASN", RecordSize: 24, IncludeReservedNetworks: true, BuildEpoch: time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	for text, asn := range prefixes {
		_, network, err := net.ParseCIDR(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(asn)}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "asn.mmdb")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPackBuildFillsTheRest(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "p.pack")
	db := asnDatabase(t, map[string]uint32{"9.9.12.0/24": 203273, "9.9.9.0/24": 203273, "9.9.7.0/24": 1, "10.0.0.0/24": 203273})
	allow := write(t, "allow.yaml", "allow: [{value: 9.9.9.9, reason: ours, author: me, until: \"2027-01-01\"}]")
	stdout, stderr, code := command(t, "", "rules", "pack", "build", "-o", out, "--version", "1", "--asn-db", db, "--allow", allow, "--own", "9.9.9.0/28")
	for _, want := range []string{"1 prefixes of 1 autonomous systems as of 2026-11-03 (asn.mmdb)", "left out: AS203273 9.9.9.0/24", "left out: AS203273 10.0.0.0/24"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, lacks %q\n%s%s", code, want, stdout, stderr)
		}
	}
	p, err := pack.OpenUnverified(out)
	if err != nil {
		t.Fatal(err)
	}
	if list, _, err := p.Policies(); err != nil || list == nil || len(list.Allow) != 1 {
		t.Errorf("policies %+v, %v", list, err)
	}
	for name, args := range map[string][]string{
		"another database": {"--asn-db", out},
		"prefix":           {"--own", "x"},
		"policy":           {"--allow", out},
	} {
		if _, _, code := command(t, "", append([]string{"rules", "pack", "build", "-o", filepath.Join(dir, "x"), "--version", "1"}, args...)...); code != 2 {
			t.Errorf("%s: exit %d", name, code)
		}
	}
}

func TestPackDiffAgainstTheHistory(t *testing.T) {
	dir := t.TempDir()
	cfg := history.DefaultConfig()
	cfg.Path = filepath.Join(dir, "history.db")
	h := history.New(cfg, hclog.NewNullLogger())
	at := time.Now().Add(-2 * time.Hour)
	for _, addr := range []string{"5.6.7.8", "5.6.7.9"} {
		h.Add(&rules.Observation{FlowID: addr, Transport: rules.TCP, Direction: rules.Outbound, Outcome: rules.OutcomeData, First: at, Last: at, Closed: true,
			Remote: rules.Endpoint{Addr: netip.MustParseAddr(addr), Port: 443}, Owner: rules.Owner{Attribution: rules.AttributionUnknown}})
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	entity := func(values ...string) string {
		text := "id: e\nname: E\nkind: organisation\nsources: [{id: s, name: S, date: \"2026-11-01\"}]\nindicators:\n"
		for _, v := range values {
			text += "  - {type: ip, value: " + v + ", confidence: high, sources: [{source: s, last_seen: \"2026-11-01\"}]}\n"
		}
		return write(t, "e.yaml", text)
	}
	for name, path := range map[string]string{"1": entity("5.6.7.8"), "2": entity("5.6.7.8", "5.6.7.9")} {
		if _, stderr, code := command(t, "", "rules", "pack", "build", "-o", filepath.Join(dir, name), "--name", "local", "--version", name, path); code != 0 {
			t.Fatal(stderr)
		}
	}
	diff := []string{"rules", "pack", "diff", filepath.Join(dir, "1"), filepath.Join(dir, "2")}
	stdout, stderr, code := command(t, "", append(diff, "--history", cfg.Path)...)
	for _, want := range []string{"E: 1 new indicators: 5.6.7.9", "would have found: Contact with an attributed remote: E, ", "5.6.7.9 port 443, 1 flows", "against the history: 1 findings about 1 flows"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, lacks %q\n%s%s", code, want, stdout, stderr)
		}
	}
	folder := t.TempDir()
	rule := "title: Anything to 443\nid: 11111111-5555-4555-8555-555555555555\nlogsource: {category: network_connection, product: linux}\ndetection: {s: {DestinationPort: 443}, condition: s}\n"
	if err := os.WriteFile(filepath.Join(folder, "d.yml"), []byte(rule), 0o600); err != nil {
		t.Fatal(err)
	}
	third := filepath.Join(dir, "3")
	if _, stderr, code := command(t, "", "rules", "pack", "build", "-o", third, "--name", "local", "--version", "3", "--detections", folder, entity("5.6.7.8", "5.6.7.9")); code != 0 {
		t.Fatal(stderr)
	}
	stdout, stderr, code = command(t, "", "rules", "pack", "diff", filepath.Join(dir, "2"), third, "--history", cfg.Path)
	for _, want := range []string{`new detection "Anything to 443"`, "would have found: Anything to 443, ", "against the history: 2 findings about 2 flows"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("a new detection: exit %d, lacks %q\n%s%s", code, want, stdout, stderr)
		}
	}
	if stdout, _, code := command(t, "", diff...); code != 0 || strings.Contains(stdout, "history") {
		t.Errorf("without a history: exit %d\n%s", code, stdout)
	}
	if _, _, code := command(t, "", append(diff, "--history", filepath.Join(dir, "none"))...); code != 2 {
		t.Errorf("a history that is not there: exit %d", code)
	}
}

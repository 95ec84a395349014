package rules

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// verifiedTags are the ATT&CK techniques checked against Enterprise v18.1, and
// the tactics they belong to.
var verifiedTags = []string{
	"attack.initial-access", "attack.persistence", "attack.command-and-control", "attack.lateral-movement",
	"attack.t1133", "attack.t1572", "attack.t1021.001", "attack.t1219", "attack.t1219.002",
}

func shippedRules(t *testing.T) []*SigmaRule {
	t.Helper()
	list, err := ShippedSigmaRules()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestShippedRules(t *testing.T) {
	for _, r := range shippedRules(t) {
		if r.Level == "" || r.Status == "" || len(r.FalsePositives) == 0 || r.Date == "" {
			t.Errorf("%s: a shipped rule needs level, status, date and false positives", r.File)
		}
		for _, tag := range r.Tags {
			if !slices.Contains(verifiedTags, tag) {
				t.Errorf("%s: tag %s was not verified", r.File, tag)
			}
		}
		words := strings.ToLower(r.Title + " " + r.Description + strings.Join(r.FalsePositives, " "))
		for _, bad := range []string{"violat", "sanctioned", "designated ip", "alert", "ioc", "hit ", "blacklist"} {
			if strings.Contains(words, bad) {
				t.Errorf("%s: says %q", r.File, bad)
			}
		}
	}
}

func TestShippedRulesFire(t *testing.T) {
	remote := []Match{{Field: FieldRemote, Entity: EntityRef{ID: "e"}}}
	question := []Match{{Field: FieldQuery, Entity: EntityRef{ID: "e"}}}
	for _, tt := range []struct {
		name     string
		protocol string
		query    string
		matches  []Match
		want     []string // files, without .yml; the unapproved rule included
	}{
		{"rdp", "rdp", "", remote, []string{"attributed_rdp"}},
		{"rdp over udp", "rdp-udp", "", remote, []string{"attributed_rdp"}},
		{"softether", "softether", "", remote, []string{"attributed_vpn"}},
		{"host evidence", "vpn-tunnel", "", remote, []string{"attributed_vpn"}},
		{"anydesk", "anydesk", "", remote, []string{"attributed_remote_access"}},
		{"unknown", "none", "", remote, []string{"attributed_contact"}},
		{"socks", "socks", "", remote, []string{"attributed_contact"}},
		{"question", "none", "bad.example", question, []string{"attributed_dns_query"}},
		{"question to an attributed resolver", "none", "bad.example", append(remote, question...), []string{"attributed_contact", "attributed_dns_query"}},
		{"rdp with anyone", "rdp", "", nil, []string{"unapproved_remote_access"}},
		{"teamviewer with anyone", "teamviewer", "", nil, []string{"unapproved_remote_access"}},
		{"ssh with anyone", "ssh", "", nil, nil},
		{"nothing", "none", "", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &Observation{Transport: TCP, Direction: Outbound, Query: tt.query, Identification: Identification{Protocol: tt.protocol}}
			var got []string
			for _, r := range shippedRules(t) {
				if r.Detects(o, tt.matches) {
					got = append(got, strings.TrimSuffix(r.File, ".yml"))
				}
			}
			if d := cmp.Diff(got, tt.want); d != "" {
				t.Errorf("fired (-got +want):\n%s", d)
			}
		})
	}
}

func TestUnapprovedShipsSwitchedOff(t *testing.T) {
	for _, r := range shippedRules(t) {
		if want := r.File != "unapproved_remote_access.yml"; r.Enabled != want {
			t.Errorf("%s: enabled %v, want %v", r.File, r.Enabled, want)
		}
	}
}

func TestDetectsAllocatesNothingOnAMiss(t *testing.T) {
	list := shippedRules(t)
	o := &Observation{Transport: TCP, Direction: Outbound, Remote: Endpoint{Addr: netip.MustParseAddr("203.0.113.1"), Port: 443},
		Identification: Identification{Protocol: "none"}, Names: []Name{{Name: "www.example", Source: "dns"}}}
	n := testing.AllocsPerRun(200, func() {
		for _, r := range list {
			if r.Detects(o, nil) {
				t.Fatal("fired")
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a flow", n)
	}
}

func TestParseSigmaRuleRefuses(t *testing.T) {
	rule := func(source, field, extra string) string {
		return "title: t\nid: 11111111-2222-4333-8444-555555555555\nlogsource: " + source + "\ndetection:\n    s:\n        " + field + ": x\n    condition: s\n" + extra
	}
	const linux = "{category: network_connection, product: linux}"
	for _, tt := range []struct{ name, rule, want string }{
		{"field", rule(linux, "DestinationPortt", ""), `r.yml:6: field "DestinationPortt" is not in the field table`},
		{"field of a reference", rule(linux, "Image|fieldref", ""), `r.yml:6: field "x" is not in the field table`},
		{"windows", rule("{category: network_connection, product: windows}", "Image", ""), "is not one Sallyport observes"},
		{"process", rule("{category: process_creation, product: linux}", "Image", ""), "is not one Sallyport observes"},
		{"unsupported", rule(linux, "Image", "status: unsupported\n"), "status unsupported"},
		{"own attribute", rule(linux, "Image", "sallyport: {off: true}\n"), "sallyport: off: true is not supported"},
		{"own class", rule(linux, "Image", "sallyport: {class: telnet}\n"), "class: telnet is not supported"},
		{"own form", rule(linux, "Image", "sallyport: off\n"), "must be a mapping"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseSigmaRule("r.yml", []byte(tt.rule), nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	old, err := ParseSigmaRule("r.yml", []byte(rule(linux, "Image", "status: deprecated\n")), nil)
	if err != nil || old.Enabled {
		t.Errorf("a deprecated rule is on, or refused: %v", err)
	}
	same := fstest.MapFS{
		"a.yml": {Data: []byte(rule(linux, "Image", ""))},
		"b.yml": {Data: []byte(rule(linux, "Image", ""))},
	}
	if _, err := LoadSigmaRules(same, nil); err == nil || !strings.Contains(err.Error(), "needs an id of its own") {
		t.Errorf("two rules of one id: %v", err)
	}
}

func BenchmarkDetectsMiss(b *testing.B) {
	list, err := ShippedSigmaRules()
	if err != nil {
		b.Fatal(err)
	}
	o := &Observation{Transport: TCP, Direction: Outbound, Remote: Endpoint{Addr: netip.MustParseAddr("203.0.113.1"), Port: 443},
		Identification: Identification{Protocol: "none"}}
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range list {
			r.Detects(o, nil)
		}
	}
}

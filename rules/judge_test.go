package rules

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const judgeEntity = `
id: e
name: E
kind: organisation
sources: [{id: s, name: S, date: "2026-11-01"}]
designations: [{authority: OFAC, designated: "2025-01-03", confidence: high, sources: [s]}]
actors: [{name: A, confidence: low, sources: [s]}]
indicators:
  - {type: ip, value: 5.6.7.8, confidence: high, sources: [{source: s, last_seen: "2026-11-01"}]}
  - {type: ip, value: 5.6.7.9, actor: A, confidence: high, sources: [{source: s, last_seen: "2026-11-01"}]}
  - {type: ip, value: 5.6.7.10, ports: [3389], confidence: high, sources: [{source: s, last_seen: "2026-11-01"}]}
  - {type: domain, value: evil.com, confidence: high, sources: [{source: s, last_seen: "2026-11-01"}]}
`

const toolEntity = `
id: tool
name: Tool
kind: tool
sources: [{id: s, name: S, date: "2026-11-01"}]
indicators:
  - {type: ja3, value: 00112233445566778899aabbccddeeff, scope: tool, confidence: medium, sources: [{source: s}]}
`

// judge judges by what ships.
func judge(t *testing.T, on ...string) *Judge {
	t.Helper()
	list, err := ShippedSigmaRules()
	if err != nil {
		t.Fatal(err)
	}
	return &Judge{Detections: Enabled(list, on...), Agent: AgentInfo{Name: "h1", Version: "test"}}
}

func TestFindings(t *testing.T) {
	set := compileTest(t, judgeEntity, toolEntity)
	tests := []struct {
		name string
		edit func(*Observation)
		want []string
	}{
		{"nothing", func(o *Observation) { o.Remote.Addr = netip.MustParseAddr("9.9.9.9") }, nil},
		{"contact", func(*Observation) {}, []string{"Contact with an attributed remote: E, high"}},
		{"RDP", identified("rdp", "confirmed"), []string{"RDP with an attributed remote: E, critical"}},
		{"suspected RDP", identified("rdp", "suspected"), []string{"RDP with an attributed remote: E, high"}},
		{"VPN", identified("softether", "confirmed"), []string{"VPN with an attributed remote: E, critical"}},
		{"tool", identified("anydesk", "confirmed"), []string{"Remote-access tool with an attributed remote: E, critical"}},
		{"attempt in", func(o *Observation) { o.Direction, o.Outcome = Inbound, OutcomeAttempted }, []string{"Contact with an attributed remote: E, low"}},
		{"weak actor", func(o *Observation) {
			o.Remote.Addr = netip.MustParseAddr("5.6.7.9")
			identified("rdp", "confirmed")(o)
		}, []string{"RDP with an attributed remote: E, medium"}},
		{"other port", func(o *Observation) {
			o.Remote.Addr = netip.MustParseAddr("5.6.7.10")
			identified("rdp", "confirmed")(o)
		}, []string{"RDP with an attributed remote: E, high"}},
		{"named port", func(o *Observation) {
			o.Remote = Endpoint{netip.MustParseAddr("5.6.7.10"), 3389}
			identified("rdp", "confirmed")(o)
		}, []string{"RDP with an attributed remote: E, critical"}},
		{"query", func(o *Observation) {
			o.Remote.Addr, o.Query = netip.MustParseAddr("9.9.9.9"), "www.evil.com"
		}, []string{"DNS query for an attributed name: E, medium"}},
		{"name alone", func(o *Observation) {
			o.Remote.Addr, o.TLS = netip.MustParseAddr("9.9.9.9"), &TLSFacts{SNI: "evil.com"}
			identified("sstp", "confirmed")(o)
		}, []string{"VPN with an attributed remote: E, high"}},
		{"a tool alone is no sign", func(o *Observation) {
			o.Remote.Addr, o.TLS = netip.MustParseAddr("9.9.9.9"), &TLSFacts{JA3: "00112233445566778899aabbccddeeff"}
		}, nil},
		{"a tool beside another", func(o *Observation) { o.TLS = &TLSFacts{JA3: "00112233445566778899aabbccddeeff"} }, []string{"Contact with an attributed remote: E, high"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := flowTo("5.6.7.8")
			tt.edit(o)
			var got []string
			for _, f := range judge(t).Findings(o, set.Match(o, testNow), testNow) {
				got = append(got, f.Title+", "+string(f.Severity))
				if err := f.Validate(); err != nil {
					t.Error(err)
				}
				if !slices.ContainsFunc(f.Why, func(s string) bool { return strings.Contains(s, "attributed to E") }) {
					t.Errorf("why %q lacks the statement", f.Why)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func identified(protocol, state string) func(*Observation) {
	return func(o *Observation) { o.Identification = Identification{Protocol: protocol, State: state} }
}

func TestToolGoesWithTheEntity(t *testing.T) {
	set := compileTest(t, judgeEntity, toolEntity)
	o := flowTo("5.6.7.8")
	o.TLS = &TLSFacts{JA3: "00112233445566778899aabbccddeeff"}
	f := judge(t).Findings(o, set.Match(o, testNow), testNow)
	if len(f) != 1 || len(f[0].Matches) != 2 || f[0].Matches[1].Entity.ID != "tool" {
		t.Fatalf("got %+v", f)
	}
	if !strings.Contains(f[0].Matches[1].Statement, "implies no entity") {
		t.Errorf("statement %q", f[0].Matches[1].Statement)
	}
}

func TestFindingIDIsStable(t *testing.T) {
	set := compileTest(t, judgeEntity)
	j := judge(t)
	id := func(edit func(*Observation)) string {
		o := flowTo("5.6.7.8")
		o.Owner.Process = &Process{PID: 10, Executable: "/usr/bin/curl", UID: 1000}
		edit(o)
		f := j.Findings(o, set.Match(o, testNow), testNow)
		if len(f) != 1 {
			t.Fatalf("%d findings", len(f))
		}
		return f[0].ID
	}
	first := id(func(*Observation) {})
	same := map[string]func(*Observation){
		"another process": func(o *Observation) { o.Owner.Process.PID = 11 },
		"another time":    func(o *Observation) { o.Last = o.Last.Add(time.Hour) },
		"another port":    func(o *Observation) { o.Local.Port++; o.Remote.Port++ },
		"a name, later":   func(o *Observation) { o.TLS = &TLSFacts{SNI: "evil.com"} },
	}
	for name, edit := range same {
		if id(edit) != first {
			t.Errorf("%s changes the id", name)
		}
	}
	other := map[string]func(*Observation){
		"another executable": func(o *Observation) { o.Owner.Process.Executable = "/bin/sh" },
		"another user":       func(o *Observation) { o.Owner.Process.UID = 0 },
		"another host":       func(o *Observation) { o.Host = "h2" },
		"another remote":     func(o *Observation) { o.Remote.Addr = netip.MustParseAddr("5.6.7.9") },
		"another workload":   func(o *Observation) { o.Owner.Container = &Container{Namespace: "n", Workload: "w"} },
		"another detection":  identified("rdp", "confirmed"),
	}
	for name, edit := range other {
		if id(edit) == first {
			t.Errorf("%s does not change the id", name)
		}
	}
}

const unapprovedRule = "39e92693-8565-4b51-b1a8-6ba20ee5cad8"

func TestUnapprovedToolShipsSwitchedOff(t *testing.T) {
	o := flowTo("9.9.9.9")
	identified("anydesk", "confirmed")(o)
	if f := judge(t).Findings(o, nil, testNow); f != nil {
		t.Errorf("got %+v from rules that ship", f)
	}
	f := judge(t, unapprovedRule).Findings(o, nil, testNow)
	if len(f) != 1 || f[0].Severity != SeverityMedium || f[0].Validate() != nil {
		t.Errorf("got %+v", f)
	}
}

// TestThirdPartyRulesGradeThemselves judges by rules that know nothing of
// entities.
func TestThirdPartyRulesGradeThemselves(t *testing.T) {
	tests := []struct {
		level string
		edit  func(*Observation)
		want  Severity
		why   string
	}{
		{"level: informational", func(*Observation) {}, SeverityInfo, "own level is informational"},
		{"level: low", func(*Observation) {}, SeverityLow, "own level is low"},
		{"level: high", func(*Observation) {}, SeverityHigh, "own level is high"},
		{"level: critical", func(*Observation) {}, SeverityCritical, "own level is critical"},
		{"level: critical", func(o *Observation) { o.Direction, o.Outcome = Inbound, OutcomeAttempted }, SeverityLow, "inbound attempt"},
		{"", func(*Observation) {}, SeverityMedium, "states no level"},
	}
	for _, tt := range tests {
		r, err := ParseSigmaRule("r.yml", []byte(`title: Port of somebody
id: 33333333-3333-4333-8333-333333333333
`+tt.level+`
logsource: {category: network_connection, product: linux}
detection:
  s: {DestinationIp: 9.9.9.9}
  condition: s
`), nil)
		if err != nil {
			t.Fatal(err)
		}
		o := flowTo("9.9.9.9")
		tt.edit(o)
		if o.Direction == Inbound {
			o.Local, o.Remote = o.Remote, o.Local
		}
		f := (&Judge{Detections: Enabled([]*SigmaRule{r})}).Findings(o, nil, testNow)
		if len(f) != 1 || f[0].Severity != tt.want || !strings.Contains(strings.Join(f[0].Why, " "), tt.why) || f[0].Title != "Port of somebody" {
			t.Errorf("%q: got %+v", tt.level, f)
		}
	}
}

func TestSuppression(t *testing.T) {
	set := compileTest(t, judgeEntity)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	exception := `, reason: agreed, author: jo, until: "2026-12-31"}` + "\n"
	tests := []struct {
		name, allow, approved string
		want                  string
	}{
		{"address", "{value: 5.6.7.8" + exception, "", "allow_list"},
		{"prefix", "{value: 5.6.0.0/16" + exception, "", "allow_list"},
		{"entity", "{entity: e" + exception, "", "allow_list"},
		{"name from DNS", "{value: partner.com" + exception, "", "allow_list"},
		{"name from SNI alone", "{value: sni.com" + exception, "", ""},
		{"executable", "{entity: e, executable: /usr/bin/*" + exception, "", "allow_list"},
		{"another executable", "{entity: e, executable: /opt/*" + exception, "", ""},
		{"another host", "{entity: e, host: db-*" + exception, "", ""},
		{"another entity", "{entity: f" + exception, "", ""},
		{"expired", `{value: 5.6.7.8, reason: r, author: a, until: "2026-11-26"}` + "\n", "", ""},
		{"last day", `{value: 5.6.7.8, reason: r, author: a, until: "2026-11-27"}` + "\n", "", "allow_list"},
		{"tool", "", "{product: anydesk" + exception, "approved_tool"},
		{"tool at an endpoint", "", "{product: AnyDesk, endpoint: 5.6.7.8, owner: /usr/bin/curl, user: jo" + exception, "approved_tool"},
		{"tool of another user", "", "{product: anydesk, user: root" + exception, ""},
		{"another tool", "", "{product: teamviewer" + exception, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := judge(t)
			var err error
			if tt.allow != "" {
				if j.Allow, err = LoadAllowList(write("allow.yaml", "allow:\n  - "+tt.allow)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.approved != "" {
				if j.Approved, err = LoadApprovedTools(write("approved.yaml", "approved:\n  - "+tt.approved)); err != nil {
					t.Fatal(err)
				}
			}
			o := flowTo("5.6.7.8")
			o.Owner.Process = &Process{Executable: "/usr/bin/curl", User: "jo"}
			o.Names = []Name{{Name: "www.partner.com", Source: "dns"}, {Name: "sni.com", Source: "sni"}}
			o.TLS = &TLSFacts{SNI: "sni.com"}
			identified("anydesk", "confirmed")(o)
			f := j.Findings(o, set.Match(o, testNow), testNow)
			if len(f) != 1 {
				t.Fatalf("%d findings: the record must be kept", len(f))
			}
			got := ""
			if f[0].Suppressed != nil {
				got = f[0].Suppressed.By
			}
			if got != tt.want {
				t.Errorf("suppressed by %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBrokenExceptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "allow.yaml")
	text := "allow:\n  - {reason: r}\n  - {value: \"a b\", executable: \"[\", reason: r, author: a, until: never}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadAllowList(file)
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{":2:", "blind the host", "author is missing", "no expiry", ":3:", `"a b" is none of these`, `"[" is no pattern`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// TestWording keeps verdicts out of what people read.
func TestWording(t *testing.T) {
	bad := regexp.MustCompile(`(?i)violat|sanctioned|designated ip|blacklist|\bioc\b|\bhit\b|malicious`)
	set := shippedSet(t)
	n := 0
	for i := range set.shared {
		for _, field := range []string{FieldRemote, FieldQuery, FieldSNI, FieldCertHash, FieldASN, FieldJA4, FieldAsked} {
			m := set.match(field, "x", "x", uint32(i), testNow)
			if n++; bad.MatchString(m.Statement) {
				t.Errorf("statement %q", m.Statement)
			}
		}
	}
	if n < 1000 {
		t.Errorf("only %d statements", n)
	}
}

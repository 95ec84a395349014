package rules

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/rules/sigma"
)

var updateDocs = flag.Bool("update", false, "write the generated documents of docs/ anew")

// checkDoc compares a generated document with the committed one, or writes it.
func checkDoc(t *testing.T, name, want string) {
	t.Helper()
	path := "../docs/" + name
	if *updateDocs {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(got), want); d != "" {
		t.Errorf("%s has drifted; run go test ./rules -update\n%s", path, d)
	}
}

func TestFieldsDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Rule fields\n\nGenerated from `rules/fields.go`; do not edit. What a Sigma rule can ask of an observation. A rule that asks for\nanything else is refused when it is loaded.\n")
	for _, s := range FieldSections {
		fmt.Fprintf(&b, "\n## %s\n\n| field | type | meaning |\n| --- | --- | --- |\n", s.Title)
		for _, f := range s.Fields {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Type, f.Doc)
		}
	}
	b.WriteString("\n## Log sources\n\n| category | product | service | what it is asked about |\n| --- | --- | --- | --- |\n")
	for _, s := range logSources {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.source.Category, s.source.Product, s.source.Service, s.events)
	}
	b.WriteString("\n## Not supported\n\nRefused by name: correlation rules, Sigma filters, aggregations and `near` in a condition, `timeframe`, a taxonomy other\nthan `sigma`, YAML anchors and aliases, several documents in a file, and the modifiers " + modifierList() + ".\n")
	b.WriteString("\n## The attribute `sallyport`\n\nA rule may hold `sallyport: {enabled: false, class: vpn, fallback: true}`. `enabled: false` ships a rule switched off.\n`class` (" + classList() + ") says what kind of contact the rule is about, for its severity;\n`contact` when it is left out. A `fallback` rule speaks only where no other does.\n")
	checkDoc(t, "fields.md", b.String())
}

func modifierList() string {
	return "`" + strings.Join(sigma.RefusedModifiers, "`, `") + "`"
}

func classList() string {
	var out []string
	for _, c := range classes {
		out = append(out, "`"+string(c)+"`")
	}
	return strings.Join(out, ", ")
}

// fullObservation holds something in every part of the model.
func fullObservation() (*Observation, []Match) {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	o := &Observation{
		FlowID: "f", Host: "web1", Sensor: "socket", Transport: TCP, Direction: Outbound,
		Local:       Endpoint{netip.MustParseAddr("192.0.2.1"), 40000},
		Remote:      Endpoint{netip.MustParseAddr("127.0.0.1"), 15001},
		RemoteAsked: &Endpoint{netip.MustParseAddr("203.0.113.9"), 443},
		Hidden:      &Hidden{Host: "hidden.example", By: "socks5"},
		Outcome:     OutcomeData, First: at, Last: at, BytesOut: 10, BytesIn: 20,
		Owner: Owner{
			Attribution: AttributionExact, Intermediary: "proxy",
			Process:   &Process{PID: 7, Executable: "/bin/bash", Name: "bash", Args: []string{"bash", "-c", "x"}, UID: 1000, User: "ann"},
			Parents:   []Process{{PID: 1, Executable: "/sbin/init", Args: []string{"init"}}},
			Container: &Container{ID: "c1", Runtime: "docker", PodUID: "u", Pod: "p", Namespace: "n", Workload: "w", Image: "i"},
		},
		Identification: Identification{Protocol: "softether", State: "confirmed", Product: "SoftEther", Evidence: "e", Source: "packets"},
		Names:          []Name{{Name: "www.example", Source: "dns"}},
		Query:          "asked.example",
		TLS: &TLSFacts{SNI: "sni.example", ALPN: []string{"h2"}, Version: "TLS 1.2", JA3: "j3", JA4: "j4",
			Certificates: []CertificateFact{{SHA1: "s1", SHA256: "s2", Subject: "su", Issuer: "is"}}},
		SSH:   &SSHFacts{ClientVersion: "cv", ServerVersion: "sv", HASSH: "h", HASSHServer: "hs"},
		Geo:   &Geo{Country: "NL", City: "Delft", ASN: 64496, Organisation: "Example"},
		Notes: []string{"split by NAT"},
	}
	m := []Match{{
		Field: FieldRemoteAsked, Value: "203.0.113.9", Entity: EntityRef{ID: "e1", Name: "E One"},
		Indicator:    IndicatorRef{Type: "ip", Value: "203.0.113.9", Role: "c2", Actor: "A", Confidence: "high", Age: "current"},
		Designations: []DesignationRef{{Authority: "OFAC", Programme: "CYBER2"}},
	}}
	return o, m
}

func TestEveryFieldReads(t *testing.T) {
	o, m := fullObservation()
	names := map[string]bool{}
	for _, s := range FieldSections {
		for _, f := range s.Fields {
			if names[f.Name] {
				t.Errorf("%s stands twice", f.Name)
			}
			names[f.Name] = true
			v, ok := f.Get(o, m)
			if !ok {
				t.Errorf("%s: absent from a full observation", f.Name)
			}
			want := map[FieldType]sigma.Kind{FieldText: sigma.Text, FieldNumber: sigma.Number, FieldBoolean: sigma.Bool, FieldAddress: sigma.IP, FieldList: sigma.List}[f.Type]
			if v.Kind != want {
				t.Errorf("%s: kind %d, the table says %s", f.Name, v.Kind, f.Type)
			}
			f.Get(&Observation{}, nil) // must not panic on nothing
		}
	}
	if len(names) < 80 {
		t.Errorf("%d fields", len(names))
	}
}

func TestFieldValues(t *testing.T) {
	out, m := fullObservation()
	in, _ := fullObservation()
	in.Direction, in.RemoteAsked, in.Hidden = Inbound, nil, nil
	in.Owner.Process.User = ""
	for _, tt := range []struct {
		o    *Observation
		name string
		want any
	}{
		{out, "DestinationIp", "203.0.113.9"},
		{out, "remote.ip", "127.0.0.1"},
		{out, "DestinationPort", "443"},
		{out, "SourceIp", "192.0.2.1"},
		{out, "Initiated", "true"},
		{out, "Protocol", "tcp"},
		{out, "network.protocol", "softether"},
		{out, "protocol.class", "vpn"},
		{out, "CommandLine", "bash -c x"},
		{out, "User", "ann"},
		{out, "DestinationHostname", []string{"www.example", "sni.example", "hidden.example"}},
		{out, "SourceHostname", []string{"web1"}},
		{out, "entity.id", []string{"e1"}},
		{out, "designation.programme", []string{"CYBER2"}},
		{out, "attributed", "true"},
		{in, "SourceIp", "127.0.0.1"},
		{in, "DestinationIp", "192.0.2.1"},
		{in, "DestinationPort", "40000"},
		{in, "Initiated", "false"},
		{in, "SourceHostname", []string{"www.example", "sni.example"}},
		{in, "User", "1000"},
	} {
		v, ok := NewEvent(tt.o, m).Field(tt.name)
		var got any = v.String()
		if v.Kind == sigma.List {
			got = v.List
		}
		if !ok || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %v (%v), want %v", tt.name, got, ok, tt.want)
		}
	}
	question := []Match{{Field: FieldQuery}}
	if v, _ := NewEvent(out, question).Field("attributed"); v.Bool {
		t.Error("a DNS question alone ties no remote")
	}
	if _, ok := NewEvent(out, m).Field("nonsense"); ok {
		t.Error("a field out of nowhere")
	}
}

func TestKeywordsSearchEveryField(t *testing.T) {
	o, m := fullObservation()
	found := map[string]bool{}
	for s := range NewEvent(o, m).Keywords() {
		found[s] = true
	}
	for _, want := range []string{"/bin/bash", "203.0.113.9", "h2", "E One", "split by NAT"} {
		if !found[want] {
			t.Errorf("keywords leave out %q", want)
		}
	}
}

package feed

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

func TestPatterns(t *testing.T) {
	for _, tt := range []struct{ pattern, want string }{ // want: values joined by spaces, or "! error"
		{"[ipv4-addr:value = '192.0.2.1']", "ip 192.0.2.1"},
		{"[ ipv4-addr:value == '192.0.2.1' ]", "ip 192.0.2.1"},
		{"[ipv4-addr:value = '198.51.100.0/24']", "cidr 198.51.100.0/24"},
		{"[ipv4-addr:value ISSUBSET '198.51.100.0/24']", "cidr 198.51.100.0/24"},
		{"[ipv6-addr:value = '2001:db8::1']", "ip 2001:db8::1"},
		{"[domain-name:value = 'a.example' OR ipv4-addr:value = '192.0.2.1']", "domain a.example ip 192.0.2.1"},
		{"[domain-name:value IN ('a.example', 'b.example')]", "domain a.example domain b.example"},
		{"[domain-name:value LIKE '%.a.example']", "domain a.example"},
		{"[url:value = 'https://a.example/x']", "url_host a.example"},
		{"[x509-certificate:hashes.'SHA-1' = '" + sha1 + "']", "tls_cert_sha1 " + sha1},
		{"[x509-certificate:hashes.\"SHA-1\" = 'x']", "! unexpected"},
		{"[network-traffic:dst_ref.value = '192.0.2.1' AND network-traffic:dst_port = 443]", "ip 192.0.2.1:443"},
		{"[ipv4-addr:value = '192.0.2.1' AND network-traffic:dst_port IN (80, 443)]", "ip 192.0.2.1:80:443"},
		{"[ipv4-addr:value='192.0.2.1'] OR [ipv4-addr:value='192.0.2.2']", "ip 192.0.2.1 ip 192.0.2.2"},
		{"[ipv4-addr:value='192.0.2.1'] AND [domain-name:value='a.example']", "ip 192.0.2.1 domain a.example"},
		{"([ipv4-addr:value='192.0.2.1'] OR [ipv4-addr:value='192.0.2.2']) AND [domain-name:value='a.example']", "ip 192.0.2.1 domain a.example ip 192.0.2.2 domain a.example"},
		{"[(ipv4-addr:value='192.0.2.1' OR ipv4-addr:value='192.0.2.2') AND network-traffic:dst_port = 22]", "ip 192.0.2.1:22 ip 192.0.2.2:22"},
		{"/* why */ [ipv4-addr:value /* here */ = '192.0.2.1'] // end", "ip 192.0.2.1"},
		{`[file:name = 'it\'s \\ here' OR ipv4-addr:value = '192.0.2.1']`, "! nothing that a flow shows"},
		{"[file:hashes.'SHA-256' = 'x']", "! nothing that a flow shows"},
		{"[ipv4-addr:value != '192.0.2.1']", "! operator !="},
		{"[ipv4-addr:value MATCHES '^192']", "! operator MATCHES"},
		{"[ipv4-addr:value ISSUPERSET '192.0.2.1']", "! operator ISSUPERSET"},
		{"[EXISTS ipv4-addr:value]", "! operator EXISTS"},
		{"[ipv4-addr:value > '192.0.2.1']", "! operator >"},
		{"[NOT ipv4-addr:value = '192.0.2.1']", "! NOT of a value"},
		{"[ipv4-addr:value NOT = '192.0.2.1']", "! NOT of a value"},
		{"[domain-name:value LIKE 'a%b']", "! LIKE with wildcards"},
		{"[ipv4-addr:value='192.0.2.1'] FOLLOWEDBY [ipv4-addr:value='192.0.2.2']", "! FOLLOWEDBY is not supported"},
		{"[ipv4-addr:value='192.0.2.1'] WITHIN 300 SECONDS", "! qualifier WITHIN"},
		{"[ipv4-addr:value='192.0.2.1'] REPEATS 5 TIMES", "! qualifier REPEATS"},
		{"[ipv4-addr:value='192.0.2.1'] START t'2020-01-01T00:00:00Z' STOP t'2021-01-01T00:00:00Z'", "! qualifier START"},
		{"([ipv4-addr:value='192.0.2.1'] FOLLOWEDBY [ipv4-addr:value='192.0.2.2'])", "! FOLLOWEDBY is not supported"},
		{"[ipv4-addr:value = '192.0.2.1'", "!"},
		{"[ipv4-addr:value = '192.0.2.1", "! a quote is not closed"},
		{"[ipv4-addr:value = ]", "! \"]\" stands where a value should"},
		{"[ipv4-addr = '192.0.2.1']", "!"},
		{"ipv4-addr:value = '192.0.2.1'", "!"},
		{"[]", "!"},
		{"", "!"},
		{"[ipv4-addr:value = '192.0.2.1'] x", "!"},
		{strings.Repeat("(", 100) + "[a:b = 1]", "! nested deeper"},
		{"[" + strings.Repeat("(", 100) + "a:b = 1", "! nested deeper"},
		{"[a:b[*].c.'d e'[0] = 1.5 AND a:b = true AND ipv4-addr:value = '192.0.2.1']", "ip 192.0.2.1"},
	} {
		t.Run(tt.pattern, func(t *testing.T) {
			var got []string
			options, err := parsePattern(tt.pattern)
			for _, o := range options {
				var l []rules.Indicator
				if l, err = o.values(); err != nil {
					break
				}
				got = append(got, brief([]rules.Entity{{Indicators: l}})...)
			}
			if want, bad := strings.CutPrefix(tt.want, "!"); bad {
				if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
					t.Errorf("got %v, %v, want an error with %q", got, err, want)
				}
				return
			}
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestPatternNarrowingLowersConfidence(t *testing.T) {
	options, err := parsePattern("[ipv4-addr:value='192.0.2.1' AND file:name='x']")
	if err != nil {
		t.Fatal(err)
	}
	in, err := options[0].values()
	if err != nil || in[0].Confidence != rules.ConfidenceLow || !strings.Contains(in[0].Note, "file:name") {
		t.Errorf("got %+v, %v", in, err)
	}
}

const stixBundle = `{"type": "bundle", "id": "bundle--1", "objects": [
{"type": "identity", "id": "identity--1", "name": "Lab"},
{"type": "intrusion-set", "id": "intrusion-set--1", "name": "Example Typhoon"},
{"type": "campaign", "id": "campaign--1", "name": "Omega"},
{"type": "indicator", "id": "indicator--1", "modified": "2024-01-01T00:00:00Z", "created_by_ref": "identity--1", "pattern_type": "stix", "pattern": "[ipv4-addr:value = '192.0.2.1']", "valid_from": "2024-01-02T00:00:00Z", "valid_until": "2025-01-02T00:00:00Z", "confidence": 80, "indicator_types": ["malicious-activity"], "object_marking_refs": ["marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"]},
{"type": "relationship", "id": "relationship--1", "relationship_type": "indicates", "source_ref": "indicator--1", "target_ref": "intrusion-set--1"},
{"type": "relationship", "id": "relationship--2", "relationship_type": "indicates", "source_ref": "indicator--1", "target_ref": "campaign--1"},
{"type": "indicator", "id": "indicator--2", "pattern_type": "stix", "pattern": "[ipv4-addr:value = '192.0.2.2']", "revoked": true},
{"type": "indicator", "id": "indicator--3", "modified": "2024-01-01T00:00:00Z", "pattern_type": "stix", "pattern": "[ipv4-addr:value = '192.0.2.3']"},
{"type": "indicator", "id": "indicator--3", "modified": "2024-06-01T00:00:00Z", "pattern_type": "stix", "pattern": "[ipv4-addr:value = '192.0.2.3']", "revoked": true},
{"type": "indicator", "id": "indicator--4", "pattern_type": "yara", "pattern": "rule x {}"},
{"type": "indicator", "id": "indicator--5", "pattern_type": "stix", "pattern": "[ipv4-addr:value='192.0.2.5'] FOLLOWEDBY [ipv4-addr:value='192.0.2.6']"},
{"type": "indicator", "id": "indicator--6", "pattern": 7},
{"type": "infrastructure", "id": "infrastructure--1", "name": "C2 farm", "infrastructure_types": ["command-and-control"]},
{"type": "ipv4-addr", "id": "ipv4-addr--1", "value": "192.0.2.9"},
{"type": "relationship", "id": "relationship--3", "relationship_type": "consists-of", "source_ref": "infrastructure--1", "target_ref": "ipv4-addr--1"},
{"type": "relationship", "id": "relationship--4", "relationship_type": "uses", "source_ref": "intrusion-set--1", "target_ref": "infrastructure--1"},
{"type": "relationship", "id": "relationship--5", "relationship_type": "indicates", "source_ref": "indicator--2", "target_ref": "intrusion-set--1", "revoked": true}
]}`

func TestSTIXBundle(t *testing.T) {
	res := mustImport(t, testRequest(t, "stix", "b.json", stixBundle))
	want := []string{"ip 192.0.2.1 Example Typhoon", "ip 192.0.2.9 Example Typhoon"}
	if d := cmp.Diff(brief(res.Entities), want); d != "" {
		t.Fatalf("indicators (-got +want):\n%s", d)
	}
	in := res.Entities[0].Indicators[0]
	if in.ValidFrom != "2024-01-02" || in.ValidTo != "2025-01-02" || in.Confidence != rules.ConfidenceHigh || in.TLP != "green" || in.Role != "malicious-activity" || !strings.Contains(in.Note, "campaign Omega") {
		t.Errorf("details %+v", in)
	}
	if !strings.Contains(in.Sources[0].Source, "lab") {
		t.Errorf("source %+v", in.Sources)
	}
	if r := res.Entities[0].Indicators[1].Role; r != "command-and-control" {
		t.Errorf("role %q", r)
	}
	checkRejections(t, &res.Report, []string{
		"13 an object that cannot be read", "8 revoked", "10 revoked", "11 pattern type \"yara\"", "12 pattern: FOLLOWEDBY is not supported",
	})
	if d := cmp.Diff(res.Withdrawn, []Withdrawal{{rules.TypeIP, "192.0.2.2"}, {rules.TypeIP, "192.0.2.3"}}); d != "" {
		t.Errorf("withdrawn:\n%s", d)
	}
}

// TestPublishedBundles imports OASIS's own examples: each is read or refused
// whole, and no object is passed over in silence.
func TestPublishedBundles(t *testing.T) {
	for _, dir := range [][]string{{"intel", "formats", "stix"}, {"conformance", "stix", "examples"}} {
		files, err := filepath.Glob(filepath.Join(testenv.Shared(t, dir...), "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%d files, error %v", len(files), err)
		}
		for _, f := range files {
			res, err := Import(context.Background(), Request{Kind: "stix", From: f, Now: testNow})
			name := filepath.Base(f)
			other := strings.HasPrefix(name, "schemas_") || strings.HasPrefix(name, "interop_") || name == "sco-examples-bundle.json" // a bare list
			if other != (err != nil) {
				t.Errorf("%s: %v", name, err)
			}
			if err == nil && res.Report.Rows > res.Report.Accepted+res.Report.Duplicates+res.Report.Rejected {
				t.Errorf("%s: rows unaccounted for: %+v", name, res.Report)
			}
		}
	}
}

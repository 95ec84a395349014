package feed

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

var testNow = func() time.Time { return time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC) }

// testRequest imports text as a file, for a test entity: documentation addresses
// and names below "example".
func testRequest(t *testing.T, kind, name, text string) Request {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Request{
		Kind: kind, From: path, Now: testNow,
		Entity: rules.Entity{ID: "feed-test", Name: "Test", Kind: rules.KindOrganisation, Test: true},
		Source: rules.Source{ID: "s", Name: "Source", Date: "2026-11-01"},
	}
}

func mustImport(t *testing.T, req Request) *Result {
	t.Helper()
	res, err := Import(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	for i := range res.Entities {
		if err := res.Entities[i].Validate(); err != nil {
			t.Errorf("an invalid entity came out: %v", err)
		}
	}
	return res
}

// brief writes indicators as "type value:ports actor".
func brief(e []rules.Entity) []string {
	var out []string
	for i := range e {
		for _, in := range e[i].Indicators {
			s := string(in.Type) + " " + in.Value
			for _, p := range in.Ports {
				s += ":" + itoa(p)
			}
			if in.Actor != "" {
				s += " " + in.Actor
			}
			out = append(out, s)
		}
	}
	return out
}

func itoa(p uint16) string {
	var b [5]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + p%10)
		if p /= 10; p == 0 {
			return string(b[i:])
		}
	}
}

// rejections writes them as "line: reason" up to the first colon of the reason.
func rejections(r *Report) []string {
	var out []string
	for _, x := range r.Rejections {
		out = append(out, strings.TrimSpace(itoa(uint16(x.Line))+" "+x.Reason))
	}
	return out
}

const (
	sha1   = "aa11bb22cc33dd44ee55ff66aa77bb88cc99dd00"
	sha256 = sha1 + "aa11bb22cc33dd44ee55ff66"
)

func TestTextFeeds(t *testing.T) {
	tests := []struct {
		name, kind, text string
		change           func(*Request)
		want             []string
		rejected         []string // each must begin so: "line reason"
		duplicates       int
	}{
		{
			name: "list", kind: "list",
			text: "\xef\xbb\xbf# heading\n192.0.2.1\n192[.]0[.]2[.]2 # why\n198.51.100.0/24\r\nhxxps://evil[.]example/path\n*.wild.example\nname.example:8443\n[2001:db8::1]:443\n" +
				"192.0.2.1\nconhost.exe\nnot a value\n" + sha1 + "\nAS64496\n10.0.0.1\nhttp://192.0.2.9:8080/x\n",
			want: []string{
				"ip 192.0.2.1", "ip 192.0.2.2", "cidr 198.51.100.0/24", "url_host evil.example", "domain wild.example",
				"domain name.example:8443", "ip 2001:db8::1:443", "ip 192.0.2.9:8080",
			},
			rejected:   []string{"10 ", "11 not an address", "12 a bare hash", "13 an autonomous system needs its holder", "14 "},
			duplicates: 1,
		},
		{
			name: "list of fingerprints", kind: "list", text: sha1 + "\n" + strings.ToUpper(sha1) + "\n",
			change: func(r *Request) { r.Type = rules.TypeTLSSHA1 },
			want:   []string{"tls_cert_sha1 " + sha1}, duplicates: 1,
		},
		{
			name: "csv", kind: "csv",
			text: "IOC,Type,First Seen,Last Seen,Confidence,Port,Threat Actor,Weather\n" +
				"192.0.2.1,IPv4,2024-01-02,2024-03-04T05:06:07Z,90,443,Example Typhoon,fine\n" +
				"\"name.example\",domain,,,low,,,\n" +
				"www.name.example,hostname,,,,,,\n" +
				sha256 + ",tls_cert_sha256,,,,,,\n" +
				"evil.example,file_name,,,,,,\n" +
				"short,row\n" +
				"192.0.2.3,ip,,,,99999,,\n" +
				"192.0.2.4,domain,,,,,,\n",
			want:     []string{"ip 192.0.2.1:443 Example Typhoon", "domain name.example", "url_host www.name.example", "tls_cert_sha256 " + sha256},
			rejected: []string{"6 type \"file_name\"", "7 a row of other than 8 columns", "8 port", "9 "},
		},
		{
			name: "tab-separated with an unclosed quote", kind: "csv",
			text:     "value\tholder\tnote\n192.0.2.1\t\t\"open\n192.0.2.2\t\tfine\nAS64496\tExample Net\t\n",
			want:     []string{"ip 192.0.2.1", "ip 192.0.2.2", "asn AS64496"},
			rejected: nil,
		},
		{
			name: "zeek", kind: "zeek",
			text: "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\n" +
				"192.0.2.1\tIntel::ADDR\tsrc one\tphishing\n198.51.100.0/24\tIntel::SUBNET\tsrc one\t-\nwww.bad.example\tIntel::DOMAIN\t-\t-\n" +
				"bad.example/a/b\tIntel::URL\t-\t-\n" + sha1 + "\tIntel::CERT_HASH\t-\t-\nx@bad.example\tIntel::EMAIL\t-\t-\n192.0.2.5\tIntel::ADRR\t-\t-\n192.0.2.6 Intel::ADDR - -\n",
			want:     []string{"ip 192.0.2.1", "cidr 198.51.100.0/24", "url_host www.bad.example", "url_host bad.example", "tls_cert_sha1 " + sha1},
			rejected: []string{"7 type \"Intel::EMAIL\"", "8 type \"Intel::ADRR\"", "9 a row of other than 4 columns"},
		},
		{
			name: "suricata dataset", kind: "suricata",
			text:     "ZXZpbC5leGFtcGxl\n192.0.2.1\n192.0.2.2,90\n" + sha256 + "\n{\"ip\": \"192.0.2.3\"}\na,b,c,d\n",
			want:     []string{"domain evil.example", "ip 192.0.2.1", "ip 192.0.2.2"},
			rejected: []string{"4 a bare hash", "5 a JSON dataset", "6 a row of 4 columns"},
		},
		{
			name: "suricata iprep", kind: "suricata",
			text:     "192.0.2.1,1,90\n198.51.100.0/24,2,10\n192.0.2.2,1,0\n192.0.2.3,61,5\n192.0.2.4,1,128\n",
			want:     []string{"ip 192.0.2.1", "cidr 198.51.100.0/24"},
			rejected: []string{"3 score 0", "4 category \"61\"", "5 score \"128\""},
		},
		{
			name: "maltrail", kind: "maltrail",
			text:     "# Copyright\n\n# Reference: https://a.example/1\n# Aliases: x\n\n192.0.2.1:34125\nbad.example\nhttp://192.0.2.2\nbad2.example/gate.php\n/gate.php\n(a|b)\\.example\n",
			want:     []string{"ip 192.0.2.1:34125", "domain bad.example", "ip 192.0.2.2", "url_host bad2.example"},
			rejected: []string{"10 a path without a host", "11 a trail that is a regular expression"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := testRequest(t, tt.kind, "feed.txt", tt.text)
			if tt.change != nil {
				tt.change(&req)
			}
			res := mustImport(t, req)
			if d := cmp.Diff(brief(res.Entities), tt.want); d != "" {
				t.Errorf("indicators (-got +want):\n%s", d)
			}
			checkRejections(t, &res.Report, tt.rejected)
			r := &res.Report
			if r.Duplicates != tt.duplicates || r.Rejected != len(tt.rejected) || r.Accepted != len(tt.want) {
				t.Errorf("report %d accepted, %d duplicates, %d rejected", r.Accepted, r.Duplicates, r.Rejected)
			}
			if r.Rows != r.Accepted+r.Duplicates+r.Rejected {
				t.Errorf("%d rows are not %d accepted + %d duplicates + %d rejected", r.Rows, r.Accepted, r.Duplicates, r.Rejected)
			}
			roundTrip(t, res.Entities)
		})
	}
}

func checkRejections(t *testing.T, r *Report, want []string) {
	t.Helper()
	got := rejections(r)
	if len(got) != len(want) {
		t.Errorf("rejected %q, want %q", got, want)
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("rejection %d: %q, want %q ...", i, got[i], want[i])
		}
	}
}

// roundTrip writes entities as a file and reads them back.
func roundTrip(t *testing.T, entities []rules.Entity) {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, entities); err != nil {
		t.Fatal(err)
	}
	back, err := rules.ParseEntities("out.yaml", b.Bytes())
	if err != nil {
		t.Fatalf("what was written cannot be read: %v\n%s", err, b.String())
	}
	if d := cmp.Diff(brief(back), brief(entities)); d != "" || len(back) != len(entities) {
		t.Errorf("round trip (-back +sent):\n%s", d)
	}
}

func TestDetailsAreKept(t *testing.T) {
	res := mustImport(t, testRequest(t, "csv", "f.csv",
		"value;first_seen;last_seen;confidence;role;note;source\n192.0.2.1;2024-01-02;2024-03-04;high;c2;why;Lab A\n192.0.2.1;2023-01-01;;;;;Lab B\n192.0.2.2;2024-05-01;2024-01-01;;;;\n"))
	e := res.Entities[0]
	in := e.Indicators[0]
	if in.Confidence != rules.ConfidenceHigh || in.Role != "c2" || in.Note != "why" || len(in.Sources) != 2 {
		t.Errorf("got %+v", in)
	}
	if in.Sources[0].FirstSeen != "2024-01-02" || in.Sources[1].FirstSeen != "2023-01-01" || in.Sources[0].Source == in.Sources[1].Source {
		t.Errorf("two sources must stand side by side: %+v", in.Sources)
	}
	if c := e.Indicators[1].Sources[0]; c.FirstSeen != "" || !strings.Contains(c.Note, "contradict") {
		t.Errorf("contradicting dates kept: %+v", c)
	}
	if len(e.Sources) != 3 || e.Indicators[1].Confidence != rules.ConfidenceLow {
		t.Errorf("sources %+v, confidence %s", e.Sources, e.Indicators[1].Confidence)
	}
}

func TestImportRefuses(t *testing.T) {
	for _, tt := range []struct{ name, kind, text, want string }{
		{"kind", "rss", "x", "unknown kind of feed"},
		{"csv without values", "csv", "a,b\n1,2\n", "names no column of values"},
		{"csv empty", "csv", "", "no header line"},
		{"zeek without fields", "zeek", "192.0.2.1\tIntel::ADDR\n", "no #fields line"},
		{"zeek fields", "zeek", "#fields\ta\tb\n", "must name indicator"},
		{"stix list", "stix", "[]", "parse bundle"},
		{"stix other", "stix", `{"type": "indicator"}`, "not a STIX bundle"},
		{"misp", "misp", `{"x": 1}`, "not a MISP event"},
		{"ofac root", "ofac", "<rss/>", `root element "rss"`},
		{"ofac zip", "ofac", "PK\x03\x04xxxx", "a ZIP archive"},
		{"ofac empty", "ofac", "", "the list is empty"},
		{"ofac without parties", "ofac", "<sdnList></sdnList>", "holds no party"},
		{"taxii file", "taxii", "x", "fetched from a URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Import(context.Background(), testRequest(t, tt.kind, "f", tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	req := testRequest(t, "list", "f", "192.0.2.1\n192.0.2.2\n192.0.2.3\n")
	req.Limits = Limits{Bytes: 12, Rows: 100, Objects: 1}
	if _, err := Import(context.Background(), req); !errors.Is(err, ErrTooBig) {
		t.Errorf("bytes: %v", err)
	}
	req.Limits = Limits{Bytes: 1000, Rows: 2, Objects: 1}
	if _, err := Import(context.Background(), req); !errors.Is(err, errTooMany) {
		t.Errorf("rows: %v", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("stop"))
	req = testRequest(t, "list", "f", strings.Repeat("192.0.2.1\n", 5000))
	if _, err := Import(ctx, req); err == nil {
		t.Error("a cancelled import went on")
	}
}

func TestCheckSize(t *testing.T) {
	for _, tt := range []struct {
		before, after int
		force, ok     bool
	}{
		{0, 1, false, true}, {0, 0, false, false}, {10, 5, false, true}, {10, 4, false, false}, {10, 4, true, true}, {10, 0, true, true},
	} {
		err := CheckSize(tt.before, tt.after, tt.force)
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, ErrShrunk)) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestEmptyFeedCountsAsEmpty(t *testing.T) {
	res := mustImport(t, testRequest(t, "list", "f", "# nothing today\n"))
	if n := Count(res.Entities); n != 0 {
		t.Errorf("an empty list counts %d", n)
	}
}

func TestReportIsSafeToPrint(t *testing.T) {
	res := mustImport(t, testRequest(t, "list", "f", "192.0.2.1\n\x1b[31mred\n"+strings.Repeat("x y\n", shownRejections+5)))
	var b bytes.Buffer
	if _, err := res.Report.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsRune(b.String(), 0x1b) || !strings.Contains(b.String(), "and 6 more") {
		t.Errorf("report:\n%.300s", b.String())
	}
}

// TestSharedSamples imports the samples of real formats, where they are at hand.
func TestSharedSamples(t *testing.T) {
	root := testenv.Shared(t, "intel", "formats")
	for _, tt := range []struct {
		kind, path         string
		indicators, reject int // at least
	}{
		{"maltrail", "maltrail/raptrain.excerpt.txt", 20, 0},
		{"maltrail", "maltrail/apt_flaxtyphoon.excerpt.txt", 5, 0},
		{"maltrail", "maltrail/apt_redjuliett.excerpt.txt", 5, 0},
		{"csv", "blacklotuslabs/Raptor_Train_IOCs.excerpt.txt", 38, 0},
		{"zeek", "zeek/intel_donotice.txt", 1, 1}, // a.b.com is refused or not by its value alone
		{"stix", "stix/examples_threat-reports_poisonivy.json", 20, 3},
		{"stix", "stix/examples_indicator-for-c2-ip-address.json", 0, 1}, // 10.0.0.0 is nobody's
		{"ofac", "ofac_csv_moov/sdn.csv", 1, 1},
		{"ofac", "ofac_sdn_classic_structure.xml", 0, 1},
		{"ofac", "ofac_enhanced_structure.xml", 0, 1},
	} {
		t.Run(filepath.Base(tt.path), func(t *testing.T) {
			res := mustImport(t, Request{Kind: tt.kind, From: filepath.Join(root, tt.path), Now: testNow})
			if n := len(brief(res.Entities)); n < tt.indicators || res.Report.Rejected < tt.reject && tt.kind != "zeek" {
				t.Errorf("%d indicators, report %+v", n, res.Report)
			}
			if res.Report.Rows == 0 {
				t.Error("no rows")
			}
			if len(res.Entities) > 0 {
				roundTrip(t, slices.Clone(res.Entities))
			}
		})
	}
}

func TestImportIntoAnEntityThatHasSome(t *testing.T) {
	req := testRequest(t, "list", "f", "192.0.2.1\n192.0.2.2\n")
	first := mustImport(t, req)
	req.Entity = first.Entities[0]
	again := mustImport(t, req)
	if len(brief(again.Entities)) != 2 || len(again.Entities[0].Sources) != 1 || again.Report.Duplicates != 2 {
		t.Errorf("entities %+v, report %+v", again.Entities, again.Report)
	}
}

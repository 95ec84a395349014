package feed

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/rules"
)

// fuzzKind imports hostile text and checks that what comes out is valid and that
// the report counts every row.
func fuzzKind(f *testing.F, kind, name string, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	path := filepath.Join(f.TempDir(), name)
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		res, err := Import(context.Background(), Request{
			Kind: kind, From: path, Now: testNow, Limits: Limits{Bytes: 1 << 20, Rows: 1000, Objects: 10},
			Entity: rules.Entity{ID: "t", Name: "T", Kind: rules.KindOrganisation},
		})
		if err != nil {
			return
		}
		for i := range res.Entities {
			if err := res.Entities[i].Validate(); err != nil {
				t.Fatalf("an invalid entity came out: %v", err)
			}
		}
	})
}

func FuzzList(f *testing.F) {
	fuzzKind(f, "list", "l", "8.8.8.8\nhxxp://a[.]b.com/x\n[2a00::1]:443\nAS64496\n*.x.org:8\n")
}

func FuzzCSV(f *testing.F) {
	fuzzKind(f, "csv", "c", "ioc,type,first_seen,last_seen,confidence,port,actor\n8.8.8.8,ip,2024-01-01,2023-01-01,90,443,X\n", "value\tholder\nAS1\tx\n")
}

func FuzzZeek(f *testing.F) {
	fuzzKind(f, "zeek", "z", "#fields\tindicator\tindicator_type\tmeta.source\n8.8.8.8\tIntel::ADDR\ts\n")
}

func FuzzSuricata(f *testing.F) { fuzzKind(f, "suricata", "s", "ZXZpbC5jb20=\n8.8.8.8,1,90\n") }

func FuzzMaltrail(f *testing.F) { fuzzKind(f, "maltrail", "m", "# Reference: x\n8.8.8.8:1\na.com/x\n") }

func FuzzSTIX(f *testing.F) { fuzzKind(f, "stix", "s.json", stixBundle) }

func FuzzMISP(f *testing.F) {
	fuzzKind(f, "misp", "e.json", mispSample, `{"response": [`+mispSample+`]}`)
}

func FuzzOFAC(f *testing.F) {
	fuzzKind(f, "ofac", "o", ofacClassicXML, ofacEnhancedXML, ofacAdvancedXML, "1,A,-0- ,X] [Y,,,,,,,,Website a.com; a.k.a. 'b'.\n")
}

func FuzzPattern(f *testing.F) {
	f.Add("([ipv4-addr:value = '1.2.3.4' AND a:b.'c'[*] IN (1, 'x')] OR [NOT EXISTS a:b]) FOLLOWEDBY [a:b LIKE 'x'] WITHIN 5 SECONDS")
	f.Fuzz(func(t *testing.T, s string) {
		options, err := parsePattern(s)
		if err != nil {
			return
		}
		for _, o := range options {
			if len(o) == 0 {
				t.Fatal("an option that asks for nothing")
			}
			_, _ = o.values()
		}
	})
}

// FuzzMISPFeed reads hostile manifests beside an event.
func FuzzMISPFeed(f *testing.F) {
	const uuid = "11111111-2222-3333-4444-555555555555"
	f.Add(`{"`+uuid+`": {"timestamp": "1700000000"}, "x": {"timestamp": 1}, "`+uuid+`": {"timestamp": "99999999999999999999"}}`, mispSample)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, manifest, event string) {
		for name, text := range map[string]string{"manifest.json": manifest, uuid + ".json": event} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		res, err := Import(context.Background(), Request{
			Kind: "misp", From: filepath.Join(dir, "manifest.json"), Now: testNow, Limits: Limits{Bytes: 1 << 20, Rows: 1000, Objects: 10},
			Entity: rules.Entity{ID: "t", Name: "T", Kind: rules.KindOrganisation},
		})
		if err == nil && res.State.Since > testNow().Add(skew).Unix() {
			t.Fatalf("the position %d is in the future", res.State.Since)
		}
	})
}

// FuzzTAXII reads hostile pages from a server.
func FuzzTAXII(f *testing.F) {
	f.Add(`{"more": true, "next": "2", "objects": []}`, "2024-01-01T00:00:00Z")
	f.Add(stixBundle, "9999-01-01T00:00:00Z")
	var page, last string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", taxiiMedia)
		w.Header()["X-Taxii-Date-Added-Last"] = []string{strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, last)}
		_, _ = io.WriteString(w, page)
	}))
	f.Cleanup(server.Close)
	client := DefaultClientConfig()
	client.Insecure = true
	f.Fuzz(func(t *testing.T, body, added string) {
		page, last = body, added
		res, err := Import(context.Background(), Request{
			Kind: "taxii", From: server.URL + "/api/collections/1/", Now: testNow, Client: client, Limits: Limits{Bytes: 1 << 20, Rows: 1000, Objects: 5},
			Entity: rules.Entity{ID: "t", Name: "T", Kind: rules.KindOrganisation},
		})
		if err != nil {
			return
		}
		if at, err := time.Parse(time.RFC3339Nano, res.State.AddedAfter); err == nil && at.After(testNow().Add(skew)) {
			t.Fatalf("the position %s is in the future", res.State.AddedAfter)
		}
	})
}

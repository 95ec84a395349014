package feed

import (
	"context"
	"os"
	"path/filepath"
	"testing"

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

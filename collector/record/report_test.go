package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sallyport/rules"
)

var update = flag.Bool("update", false, "write the golden files")

// reported fills a bench as a real period would and builds its report.
func reported(t *testing.T) (*bench, Report) {
	t.Helper()
	b := newBench(t)
	b.fill()
	quiet := sample("web-1", "f3", 1)
	quiet.Suppressed = &rules.Suppressed{By: "allow_list", Reason: "our own test range", Author: "sam", Until: "2026-12-31"}
	self := sample("web-1", "f4", 1)
	self.Test = true
	later := sample("web-1", "f5", 1)
	later.First, later.Last, later.Created = noon.AddDate(1, 0, 0), noon.AddDate(1, 0, 0), noon.AddDate(1, 0, 0)
	later.Observation.First, later.Observation.Last = later.First, later.Last
	other := sample("web-1", "f6", 1)
	other.Matches[0].Entity = rules.EntityRef{ID: "another", Name: "Another"}
	b.take(b.entry(quiet), b.entry(self), b.entry(later), b.entry(other))
	b.take(coverageEntry(Coverage{
		Agent: "web-1", From: noon.Add(2 * time.Hour), To: noon.Add(4 * time.Hour), Version: "1.2.3", Packs: []string{"example 7"},
		Hooks: map[string]string{"connect": "ok", "udp": "not attached: no kernel support"}, Lost: map[string]uint64{"ring_full": 12}, Dropped: map[string]uint64{"history": 3},
	}, noon.Add(4*time.Hour)))
	b.must(b.store.SaveHeartbeat(t.Context(), "silent-1", "192.0.2.9:1", noon, rules.Heartbeat{Agent: "silent-1"}))
	b.sign(noon.Add(5 * time.Hour))
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	r, err := Build(t.Context(), b.store, Query{Entity: "example-entity", From: day, To: day.AddDate(0, 0, 1)}, "test", noon.Add(6*time.Hour))
	b.must(err)
	return b, r
}

func TestReport(t *testing.T) {
	b, r := reported(t)
	if r.Totals.Contacts != 4 || r.Totals.Suppressed != 1 || r.Excluded.Test != 1 || r.Totals.BytesOut != 1000+1000+2000+1000 {
		t.Errorf("totals %+v, excluded %+v", r.Totals, r.Excluded)
	}
	for _, c := range r.Contacts {
		if c.ID == "f4" || c.ID == "f5" || c.ID == "f6" {
			t.Errorf("%s is in the report", c.ID)
		}
		if c.ID != "f1" || c.Agent != "web-1" {
			continue
		}
		if len(c.Revisions) != 2 || len(c.Decisions) != 1 || c.Decisions[0].Decision != "licensed" {
			t.Errorf("%+v", c)
		}
	}
	if strings.Join(r.NotSeen, " ") != "db-1 silent-1" {
		t.Errorf("not seen: %q", r.NotSeen)
	}
	verifyProofs(t, b, r)
}

// verifyProofs checks what somebody can who has the report and the public key.
func verifyProofs(t *testing.T, b *bench, r Report) {
	t.Helper()
	known, err := verifiers([]string{b.key.Verifier})
	b.must(err)
	p, err := OpenCheckpoint(r.Checkpoint.Note, known)
	b.must(err)
	n := 0
	for _, c := range r.Contacts {
		for _, v := range c.Revisions {
			n++
			leaf, err := base64.StdEncoding.DecodeString(v.Proof.Leaf)
			b.must(err)
			if !bytes.Contains(leaf, []byte(digest(v.Proof.Salt, v.Proof.Document))) {
				t.Errorf("entry %d: the leaf is not of its document", v.Proof.Entry)
			}
			var path tlog.RecordProof
			for _, text := range v.Proof.Hashes {
				h, err := tlog.ParseHash(text)
				b.must(err)
				path = append(path, h)
			}
			if err := tlog.CheckRecord(path, p.Size, p.Root, v.Proof.Entry, tlog.RecordHash(leaf)); err != nil {
				t.Errorf("entry %d: %v", v.Proof.Entry, err)
			}
			if tlog.CheckRecord(path, p.Size, p.Root, v.Proof.Entry, tlog.RecordHash(append(leaf, 'x'))) == nil {
				t.Errorf("entry %d: a changed leaf is proved", v.Proof.Entry)
			}
		}
	}
	if n != 5 {
		t.Errorf("%d revisions with proofs", n)
	}
}

func TestReportNeverPassesJudgement(t *testing.T) {
	_, r := reported(t)
	var html bytes.Buffer
	if err := r.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{html.String(), string(text)} {
		if regexp.MustCompile(`(?i)violat|sanctioned`).MatchString(out) {
			t.Error("the report passes judgement")
		}
		if !strings.Contains(out, "that host's claim") && !strings.Contains(out, "that host&#39;s claim") {
			t.Error("the report does not say whose claim a finding is")
		}
	}
	if strings.Contains(html.String(), "<Entity>") {
		t.Error("a name is not escaped")
	}
}

// random is what differs from one run to the next: salts, digests, the key.
var random = regexp.MustCompile(`[A-Za-z0-9+/]{27,}={0,2}|sallyport-record/\S*`)

func TestReportGolden(t *testing.T) {
	_, r := reported(t)
	var html bytes.Buffer
	if err := r.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	if path := os.Getenv("SALLYPORT_REPORT"); path != "" { // to look at it
		if err := os.WriteFile(path, html.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := random.ReplaceAllString(strings.ReplaceAll(html.String(), "&#43;", "+"), "RANDOM")
	golden := filepath.Join("testdata", "report.html.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the report differs from %s; look at it and run with -update", golden)
	}
}

func TestQueryIsChecked(t *testing.T) {
	for _, q := range []Query{{}, {Entity: "x"}, {Entity: "x", From: noon, To: noon}} {
		if _, err := Build(t.Context(), nil, q, "", noon); err == nil {
			t.Errorf("%+v was taken", q)
		}
	}
}

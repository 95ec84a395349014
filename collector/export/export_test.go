package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// fake is an exporter that does as it is told. It stands in for a receiver.
type fake struct {
	answers []error
	sent    []string
}

func (f *fake) Close() error { return nil }

func (f *fake) Export(_ context.Context, items []Item) error {
	var err error
	if len(f.answers) > 0 {
		err, f.answers = f.answers[0], f.answers[1:]
	}
	var refused *Refused
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	for i := range items {
		if refused == nil || refused.Items[0].Index != i {
			f.sent = append(f.sent, items[i].Finding.MessageID())
		}
	}
	return err
}

func runner(t *testing.T, f *fake, filter Filter) (*Runner, *running, *store.Store) {
	t.Helper()
	s, err := store.Open(t.Context(), store.DefaultConfig(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r, err := New(nil, nil, s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Name, cfg.Filter = "x", filter
	return r, &running{cfg: cfg, exporter: f, logger: hclog.NewNullLogger(), turn: make(chan struct{}, 1)}, s
}

func entry(id string, severity rules.Severity, test bool) stream.Entry {
	text, err := json.Marshal(rules.Finding{ID: id, Revision: 1, Severity: severity, Test: test, Evidence: &rules.Evidence{PCAPNG: []byte("x")}})
	if err != nil {
		panic(err)
	}
	return stream.Entry{Agent: "a", Epoch: "e", Seq: 1, ID: id + ".1", Finding: text}
}

func TestFilterParkAndResend(t *testing.T) {
	f := &fake{answers: []error{errors.New("down"), &Refused{[]RefusedItem{{1, "too odd"}}}}}
	r, e, s := runner(t, f, Filter{Severity: rules.SeverityMedium, WithoutEvidence: true})
	batch := []stream.Entry{
		entry("one", rules.SeverityHigh, false), entry("low", rules.SeverityLow, false), entry("test", rules.SeverityHigh, true),
		{Agent: "a", Epoch: "e", Seq: 9, Rejected: "too large"}, entry("two", rules.SeverityMedium, false), entry("three", rules.SeverityCritical, false),
	}
	if err := r.export(t.Context(), e, batch); err == nil || !strings.Contains(err.Error(), "down") {
		t.Fatalf("a receiver that is down: %v", err)
	}
	if err := r.export(t.Context(), e, batch); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.sent, " "); got != "one.1 three.1" {
		t.Errorf("sent %s", got)
	}
	parked, err := s.Parked(t.Context(), "x", 10)
	if err != nil || len(parked) != 1 || parked[0].ID != "two" || parked[0].Reason != "too odd" {
		t.Fatalf("parked %+v, %v", parked, err)
	}
	if _, err := s.Resend(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.resendBatch(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if parked, err := s.Parked(t.Context(), "x", 10); err != nil || len(parked) != 0 || f.sent[len(f.sent)-1] != "two.1" {
		t.Errorf("after sending again: parked %+v, %v; sent %v", parked, err, f.sent)
	}
}

func TestFilter(t *testing.T) {
	f := rules.Finding{Severity: rules.SeverityMedium, Rule: rules.RuleRef{ID: "r"}, Matches: []rules.Match{{Entity: rules.EntityRef{ID: "a"}}, {Entity: rules.EntityRef{ID: "b"}}}}
	test, suppressed := f, f
	test.Test, suppressed.Suppressed = true, &rules.Suppressed{}
	for name, tt := range map[string]struct {
		filter Filter
		f      rules.Finding
		want   bool
	}{
		"all":            {Filter{}, f, true},
		"severity":       {Filter{Severity: rules.SeverityHigh}, f, false},
		"second entity":  {Filter{Entities: []string{"b"}}, f, true},
		"other entity":   {Filter{Entities: []string{"c"}}, f, false},
		"rule":           {Filter{Rules: []string{"r"}}, f, true},
		"other rule":     {Filter{Rules: []string{"s"}}, f, false},
		"test":           {Filter{}, test, false},
		"tests too":      {Filter{Test: true}, test, true},
		"suppressed":     {Filter{}, suppressed, false},
		"suppressed too": {Filter{Suppressed: true}, suppressed, true},
	} {
		if got := tt.filter.takes(&tt.f); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestFileRotatesAndKeepsLinesWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	f := &file{fileSettings{Path: path, MaxBytes: 2000, Keep: 2}, jsonFormat{}}
	for i := range 60 {
		raw := fmt.Sprintf("{\n  \"id\": \"f%d\", \"pad\": %q}", i, strings.Repeat("x", 50))
		if err := f.Export(t.Context(), []Item{{Raw: []byte(raw)}}); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for _, p := range []string{path, path + ".1", path + ".2"} {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 2000 {
			t.Errorf("%s has %d bytes", p, len(text))
		}
		for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
			if !json.Valid([]byte(line)) {
				t.Errorf("line %q", line)
			}
			seen++
		}
	}
	if _, err := os.Stat(path + ".3"); err == nil || seen < 40 {
		t.Errorf("%d lines in three files; a fourth: %v", seen, err)
	}
	err := f.Export(t.Context(), []Item{{Raw: []byte(`{"id":"a"}`)}, {Raw: []byte("{broken")}})
	var refused *Refused
	if !errors.As(err, &refused) || len(refused.Items) != 1 || refused.Items[0].Index != 1 {
		t.Errorf("an item that cannot be written: %v", err)
	}
}

func TestFailingRemembersSince(t *testing.T) {
	var f failing
	f.note(errors.New("one"))
	since := f.since
	time.Sleep(time.Millisecond)
	f.note(errors.New("two"))
	if !f.since.Equal(since) || f.err.Error() != "two" {
		t.Errorf("since %v, %v", f.since, f.err)
	}
	f.note(nil)
	if !f.since.IsZero() || f.err != nil || f.last.IsZero() {
		t.Errorf("after success: %+v", f.since)
	}
}

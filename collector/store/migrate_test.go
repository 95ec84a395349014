package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/collector/store/postgrestest"
	"sallyport/rules"
)

// TestFindingsOfAnOlderSchema brings findings of schema 4 up to date: they must
// be listed in order, found by word and by entity, and agree with their documents.
func TestFindingsOfAnOlderSchema(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		migrated(t, DefaultConfig(), "words, document", "'w', ?")
	})
	t.Run("postgres", func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Postgres = postgrestest.Start(t)
		migrated(t, cfg, "words, document", "'w', ?")
	})
}

func migrated(t *testing.T, cfg Config, columns, values string) {
	state := t.TempDir()
	s := &Store{cfg: cfg}
	open := s.openPostgres
	if cfg.Postgres == "" {
		open = func() error { return s.openSQLite(state) }
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	steps, err := s.steps()
	must(err)
	exec := func(query string, args ...any) {
		t.Helper()
		_, err := s.exec(t.Context(), query, args...)
		must(err)
	}
	exec("CREATE TABLE schema_version (version INTEGER NOT NULL)")
	for i, step := range steps[:4] {
		_, err := s.write.ExecContext(t.Context(), step)
		must(err)
		exec("INSERT INTO schema_version (version) VALUES (?)", i+1)
	}
	var want []string
	for i := range 10 {
		f := finding("a", fmt.Sprintf("f%d", i), 1)
		f.Evidence = nil
		f.Last = start.Add(time.Duration(i*7%10) * time.Hour) // not in the order of their keys
		f.Matches = []rules.Match{{Entity: rules.EntityRef{ID: fmt.Sprintf("e%d", i%2), Name: "Entity"}}}
		e := entry(1, f)
		r, err := findingRow(&e, &f)
		must(err)
		names := strings.Replace(rowColumns, "document", columns, 1)
		exec("INSERT INTO findings ("+names+") VALUES (?"+strings.Repeat(", ?", strings.Count(rowColumns, ",")-1)+", "+values+")", r.values()...)
		exec("INSERT INTO finding_entities (key, entity) SELECT key, ? FROM findings WHERE id = ?", f.Matches[0].Entity.ID, f.ID)
		want = append(want, "a/"+f.MessageID())
	}
	exec("UPDATE findings SET legal_hold = 1, triage = 'closed', decision = 'licensed' WHERE id = 'f3'")
	must(s.Close())

	s, err = Open(context.Background(), cfg, state)
	must(err)
	defer s.Close()
	if got := ids(t, s, Query{}); got != strings.Join([]string{want[7], want[4], want[1], want[8], want[5], want[2], want[9], want[6], want[3], want[0]}, " ") {
		t.Errorf("listed %s", got)
	}
	for name, q := range map[string]Query{"entity": {Entity: "e1"}, "facets": {Entity: "e1", Agent: "a"}, "word": {Text: "203.0.113.9", Entity: "e1"}} {
		if got := ids(t, s, q); got != strings.Join([]string{want[7], want[1], want[5], want[9], want[3]}, " ") {
			t.Errorf("%s: %s", name, got)
		}
	}
	list, err := s.AuditFindings(t.Context(), "", "", 100)
	must(err)
	for _, a := range list {
		if a.Wrong != "" {
			t.Errorf("%s: %s", a.ID, a.Wrong)
		}
	}
	f, err := s.Finding(t.Context(), "a", "f3")
	must(err)
	if diff := cmp.Diff([]any{true, "closed", "licensed"}, []any{f.LegalHold, f.Triage, f.Decision}); diff != "" || len(list) != 10 {
		t.Errorf("%d findings, %s", len(list), diff)
	}
	again := finding("a", "f3", 2)
	save(t, s, entry(2, again))
	if got := ids(t, s, Query{Text: "contact", Triage: TriageClosed}); got != "a/f3.2" {
		t.Errorf("after a revision: %q", got)
	}
	if err := s.read.QueryRow("SELECT 1 FROM findings WHERE key < 1000000").Scan(new(int)); err != sql.ErrNoRows {
		t.Errorf("a key of before is left: %v", err)
	}
}

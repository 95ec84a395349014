package store

import (
	"context"
	"math"
	"strconv"
	"strings"
)

// plan is how a list is asked for: from which table in the order of whose key, so
// that the database reads the newest and stops.
type plan struct {
	from, key string
	where     []string
	args      []any
}

func (p *plan) add(condition string, args ...any) {
	p.where = append(p.where, condition)
	p.args = append(p.args, args...)
}

func (p *plan) condition() string {
	if len(p.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(p.where, " AND ")
}

// equal is a column that must have a value.
type equal struct{ column, value string }

// equals are the columns that q asks of and that no reviewer changes.
func (q *Query) equals() []equal {
	var list []equal
	for _, e := range []equal{
		{"agent", q.Agent}, {"host", q.Host}, {"rule", q.Rule}, {"protocol", q.Protocol}, {"direction", q.Direction}, {"outcome", q.Outcome},
		{"state", q.State}, {"remote", q.Remote}, {"executable", q.Executable}, {"username", q.User}, {"pod", q.Pod},
	} {
		if e.value != "" {
			list = append(list, e)
		}
	}
	return list
}

// facets are the words of what q asks.
func (q *Query) facets() []word {
	var list []word
	for _, e := range q.equals() {
		list = append(list, word{text: facet(e.column, e.value)})
	}
	if q.Entity != "" {
		list = append(list, word{text: facet("entity", q.Entity)})
	}
	if rank := Rank(q.Severity); rank > 0 {
		list = append(list, word{text: facetSeverity(rank)})
	}
	if q.Test != nil && *q.Test {
		list = append(list, word{text: facetTest})
	}
	if q.Suppressed != nil && *q.Suppressed {
		list = append(list, word{text: facetSuppressed})
	}
	return list
}

// plan chooses. What reviewers have touched is little, and has indices of its own;
// one entity has a table in the order of keys; all else the full-text index
// answers, whose lists of what has a facet or a word are in that order too.
func (s *Store) plan(ctx context.Context, q Query) (plan, error) {
	p := plan{from: "findings f", key: "f.key"}
	text, err := s.typed(ctx, q.Text)
	if err != nil {
		return p, err
	}
	facets := q.facets()
	switch {
	case q.ID != "" || q.reviewed():
		p.columns(&q)
		p.words(s.dialect, text)
	case q.Entity != "" && len(facets) == 1 && len(text) == 0:
		p.from, p.key = "finding_entities e CROSS JOIN findings f", "e.key"
		p.add("e.entity = ? AND f.key = e.key", q.Entity)
	case s.dialect.numbered && len(facets) == 1 && len(text) == 0:
		p.columns(&q)
	case s.dialect.numbered:
		p.words(s.dialect, append(facets, text...))
	case len(facets)+len(text) > 0:
		p.from, p.key = "findings_words w CROSS JOIN findings f", "w.rowid"
		p.add("w.findings_words MATCH ? AND f.key = w.rowid", s.dialect.all(append(facets, text...)))
	}
	p.rest(&q)
	return p, p.bounds(&q)
}

// reviewed says that q asks for what a reviewer has touched.
func (q *Query) reviewed() bool {
	return q.Triage != "" && q.Triage != TriageNew || q.Assignee != "" || q.Decision != ""
}

// columns asks by the columns themselves. Numbers are written out and not given:
// only so the databases know that an index over a part of the findings will do.
func (p *plan) columns(q *Query) {
	if q.ID != "" {
		p.add("f.id = ?", q.ID)
	}
	for _, e := range q.equals() {
		p.add("f."+e.column+" = ?", e.value)
	}
	if q.Entity != "" {
		p.add("EXISTS (SELECT 1 FROM finding_entities x WHERE x.entity = ? AND x.key = f.key)", q.Entity)
	}
	if rank := Rank(q.Severity); rank > 0 {
		p.add("f.severity >= " + strconv.FormatInt(rank, 10))
	}
	if q.Test != nil && *q.Test {
		p.add("f.test = 1")
	}
	if q.Suppressed != nil && *q.Suppressed {
		p.add("f.suppressed = 1")
	}
}

func (p *plan) words(d dialect, words []word) {
	if len(words) > 0 {
		p.add(d.has, d.all(words))
	}
}

// rest asks for what no facet is for.
func (p *plan) rest(q *Query) {
	if q.Test != nil && !*q.Test {
		p.add("f.test = 0")
	}
	if q.Suppressed != nil && !*q.Suppressed {
		p.add("f.suppressed = 0")
	}
	for _, e := range []struct{ equal, none string }{{"triage", TriageNew}, {"assignee", ""}, {"decision", ""}} {
		value := map[string]string{"triage": q.Triage, "assignee": q.Assignee, "decision": q.Decision}[e.equal]
		if value == "" {
			continue
		}
		p.add("f."+e.equal+" = ?", value)
		if value != e.none {
			p.add("f." + e.equal + " <> '" + e.none + "'") // the index is over these
		}
	}
}

// bounds sets where the list begins and ends: once at either end, since SQLite
// would seek to one bound and read up to the other.
func (p *plan) bounds(q *Query) error {
	until := int64(math.MaxInt64)
	if !q.From.IsZero() {
		p.add(p.key+" >= ? AND f.last_seen >= ?", placeOf(micros(q.From)), micros(q.From))
	}
	if !q.To.IsZero() {
		until = placeOf(micros(q.To)) + crowded
		p.add("f.last_seen < ?", micros(q.To))
	}
	if q.Cursor != "" {
		key, err := decodeCursor(q.Cursor)
		if err != nil {
			return err
		}
		until = min(until, key)
	}
	if until < math.MaxInt64 {
		p.add(p.key+" < ?", until)
	}
	return nil
}

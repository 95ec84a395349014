package store

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/collector/stream"
	"sallyport/rules"
)

// testEveryQuestion asks for everything alone, two and three at a time, a page
// after the other, and compares with a walk over all findings.
func testEveryQuestion(t *testing.T, s *Store) {
	const total = 300
	p := population{total: total, hosts: 5, remotes: 12, entities: 4, users: 3}
	random := rand.New(rand.NewPCG(1, 1))
	var all []rules.Finding
	var batch []stream.Entry
	for n := range total {
		f := p.finding(random, n)
		if n%3 == 0 { // an older revision elsewhere in time, which must leave nothing behind
			old := p.finding(random, n)
			old.Last = start.Add(time.Duration(random.Int64N(int64(90 * 24 * time.Hour)))).Truncate(time.Millisecond)
			old.Agent.Name, old.Observation.Host = f.Agent.Name, "elsewhere"
			batch = append(batch, entry(uint64(n+1), old))
		}
		f.Revision = 2
		all = append(all, f)
		batch = append(batch, entry(uint64(total+n+1), f))
	}
	for part := range slices.Chunk(batch, 70) {
		save(t, s, part...)
	}
	for _, f := range all[:40] {
		_, err := s.Decide(t.Context(), Decision{Agent: f.Agent.Name, ID: f.ID, At: start, Author: "x", State: TriageClosed, Decision: "benign", Assignee: "alice"})
		if err != nil {
			t.Fatal(err)
		}
	}
	reviewed := func(f *rules.Finding) bool {
		return slices.ContainsFunc(all[:40], func(x rules.Finding) bool { return x.ID == f.ID })
	}
	yes, no := true, false
	day := p.at(total / 3)
	asks := []struct {
		name string
		set  func(*Query)
		is   func(*rules.Finding) bool
	}{
		{"agent", func(q *Query) { q.Agent = "node-0001" }, func(f *rules.Finding) bool { return f.Agent.Name == "node-0001" }},
		{"host", func(q *Query) { q.Host = "node-0002" }, func(f *rules.Finding) bool { return f.Observation.Host == "node-0002" }},
		{"severity", func(q *Query) { q.Severity = rules.SeverityMedium }, func(f *rules.Finding) bool { return Rank(f.Severity) >= 3 }},
		{"entity", func(q *Query) { q.Entity = "entity-1" }, func(f *rules.Finding) bool { return f.Matches[0].Entity.ID == "entity-1" }},
		{"remote", func(q *Query) { q.Remote = p.remote(0).String() }, func(f *rules.Finding) bool { return f.Observation.Remote.Addr == p.remote(0) }},
		{"protocol", func(q *Query) { q.Protocol = "rdp" }, func(f *rules.Finding) bool { return f.Observation.Identification.Protocol == "rdp" }},
		{"outcome", func(q *Query) { q.Outcome = string(rules.OutcomeData) }, func(f *rules.Finding) bool { return f.Observation.Outcome == rules.OutcomeData }},
		{"state", func(q *Query) { q.State = "opened" }, func(f *rules.Finding) bool { return f.State == "opened" }},
		{"user", func(q *Query) { q.User = "user1" }, func(f *rules.Finding) bool { return f.Observation.Owner.Process.User == "user1" }},
		{"pod", func(q *Query) { q.Pod = "none/none" }, func(*rules.Finding) bool { return false }},
		{"suppressed", func(q *Query) { q.Suppressed = &yes }, func(f *rules.Finding) bool { return f.Suppressed != nil }},
		{"no self-test", func(q *Query) { q.Test = &no }, func(f *rules.Finding) bool { return !f.Test }},
		{"self-test", func(q *Query) { q.Test = &yes }, func(f *rules.Finding) bool { return f.Test }},
		{"from", func(q *Query) { q.From = day }, func(f *rules.Finding) bool { return !f.Last.Before(day) }},
		{"to", func(q *Query) { q.To = day.Add(30 * 24 * time.Hour) }, func(f *rules.Finding) bool { return f.Last.Before(day.Add(30 * 24 * time.Hour)) }},
		{"closed", func(q *Query) { q.Triage = TriageClosed }, reviewed},
		{"new", func(q *Query) { q.Triage = TriageNew }, func(f *rules.Finding) bool { return !reviewed(f) }},
		{"benign", func(q *Query) { q.Decision = "benign" }, reviewed},
		{"word", func(q *Query) { q.Text = "number1" }, func(f *rules.Finding) bool { return f.Matches[0].Entity.ID == "entity-1" }},
		{"beginning", func(q *Query) { q.Text = "198.18.0" }, func(*rules.Finding) bool { return true }},
		{"name", func(q *Query) { q.Text = "host1.region1" }, func(f *rules.Finding) bool { return f.Observation.Remote.Addr == p.remote(1) }},
	}
	check := func(chosen ...int) {
		var names []string
		q := Query{Limit: 7}
		for _, i := range chosen {
			names = append(names, asks[i].name)
			asks[i].set(&q)
		}
		var want []string
		for i := range all {
			if !slices.ContainsFunc(chosen, func(k int) bool { return !asks[k].is(&all[i]) }) {
				want = append([]string{all[i].ID}, want...)
			}
		}
		var got []string
		for {
			page, err := s.Findings(t.Context(), q)
			if err != nil {
				t.Fatalf("%s: %v", names, err)
			}
			for _, f := range page.Findings {
				got = append(got, f.Finding.ID)
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", strings.Join(names, ", "), diff)
		}
	}
	check()
	for i := range asks {
		check(i)
		for k := range i {
			if conflict(asks[i].name, asks[k].name) {
				continue
			}
			check(k, i)
			if m := random.IntN(len(asks)); m != i && m != k && !conflict(asks[m].name, asks[i].name) && !conflict(asks[m].name, asks[k].name) {
				check(k, i, m)
			}
		}
	}
	if _, err := s.Retain(t.Context(), start.AddDate(20, 0, 0)); err != nil {
		t.Fatal(err)
	}
	all = nil
	for i := range asks {
		check(i)
	}
}

// conflict says that two questions set one field of a query.
func conflict(a, b string) bool {
	for _, group := range [][]string{{"self-test", "no self-test"}, {"closed", "new"}, {"word", "beginning", "name"}} {
		if slices.Contains(group, a) && slices.Contains(group, b) {
			return true
		}
	}
	return false
}

// testWords searches for what the parts of names, paths and addresses make.
func testWords(t *testing.T, s *Store) {
	f := finding("web-1", "f", 1)
	f.Observation.Names = []rules.Name{{Name: "a.b.c.d.e.f.g.h.i.example.com"}}
	f.Observation.Remote.Addr = netip.MustParseAddr("2001:db8:18::99")
	f.Observation.Owner.Process = &rules.Process{Executable: "/opt/Große Firma/bin/tool", Args: []string{strings.Repeat("x", 500), "日本語-テスト", "a:b'c\"d*e\\f"}}
	save(t, s, entry(1, f), entry(2, finding("web-11", "g", 1)))
	for text, want := range map[string]string{
		"a.b.c.d.e.f.g.h.i.example.com": "f", "c.d.e": "f", "h.i.example": "f", "b.d": "", "i.example.com a.b": "f",
		"2001:db8:18::99": "f", "2001:db8": "f", "db8:18": "f", "2001:db9": "",
		"große firma": "f", "GROSSE": "", "bin/tool": "f", "opt/bin": "",
		strings.Repeat("x", 400): "f", strings.Repeat("x", 20): "f", "日本語": "f", "日本語-テスト": "f", `b'c"d*e\f`: "f",
		"web-1": "f", "web-1*": "f g", "web": "f g", "web-1 web-11": "",
	} {
		page, err := s.Findings(t.Context(), Query{Text: text})
		var got []string
		for _, x := range page.Findings {
			got = append(got, x.Finding.ID)
		}
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("search %.40q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// testCrowd puts many findings into one millisecond.
func testCrowd(t *testing.T, s *Store) {
	var batch []stream.Entry
	for i := range 500 {
		f := finding("a", fmt.Sprintf("f%d", i), 1)
		f.Last = start
		batch = append(batch, entry(uint64(i+1), f))
	}
	save(t, s, batch...)
	seen := map[string]bool{}
	for q := (Query{Limit: 90}); ; {
		page, err := s.Findings(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range page.Findings {
			seen[f.Finding.ID] = true
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if len(seen) != len(batch) {
		t.Errorf("%d findings of %d", len(seen), len(batch))
	}
	for _, last := range []time.Time{{}, time.Unix(-1e9, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} { // what no clock shows
		f := finding("b", fmt.Sprint(last.Year()), 1)
		f.Last = last
		save(t, s, entry(1, f))
		if _, err := s.Finding(t.Context(), "b", f.ID); err != nil {
			t.Errorf("%s: %v", last, err)
		}
	}
}

package store

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/collector/store/postgrestest"
	"sallyport/rules"
)

// search is a question, with n for variety.
type search struct {
	name string
	ask  func(n int) Query
}

// searches are what the console and the API ask (docs/benchmarks-collector.md).
func (p population) searches() []search {
	host := func(n int) string { return fmt.Sprintf("node-%04d", n*131%p.hosts) }
	entity := func(n int) string { return fmt.Sprintf("entity-%d", n*7%p.entities) }
	remote := func(n int) string { return p.remote(n * 37 % p.remotes).String() }
	week := func(n int) (time.Time, time.Time) {
		from := start.Add(time.Duration(n*13%83) * 24 * time.Hour)
		return from, from.Add(7 * 24 * time.Hour)
	}
	yes := true
	return []search{
		{"the newest", func(int) Query { return Query{} }},
		{"severity", func(n int) Query { return Query{Severity: severities[n%5]} }},
		{"host", func(n int) Query { return Query{Host: host(n)} }},
		{"agent", func(n int) Query { return Query{Agent: host(n)} }},
		{"remote", func(n int) Query { return Query{Remote: remote(n)} }},
		{"entity", func(n int) Query { return Query{Entity: entity(n)} }},
		{"user", func(n int) Query { return Query{User: fmt.Sprintf("user%d", n%p.users)} }},
		{"state", func(n int) Query { return Query{State: []string{"opened", "updated", "closed"}[n%3]} }},
		{"self-tests", func(int) Query { return Query{Test: &yes} }},
		{"a week", func(n int) (q Query) { q.From, q.To = week(n); return q }},
		{"id", func(n int) Query { return Query{ID: p.id(n * 101 % p.total)} }},
		{"in progress", func(int) Query { return Query{Triage: TriageInProgress} }},
		{"licensed", func(n int) Query { return Query{Decision: "licensed", Severity: severities[n%5]} }},
		{"protocol and severity", func(n int) Query {
			return Query{Protocol: protocols[n%len(protocols)], Severity: rules.SeverityCritical}
		}},
		{"entity and host", func(n int) Query { return Query{Entity: entity(n), Host: host(n)} }},
		{"entity and severity", func(n int) Query { return Query{Entity: entity(n), Severity: rules.SeverityHigh} }},
		{"entity in a week", func(n int) (q Query) { q.From, q.To = week(n); q.Entity = entity(n); return q }},
		{"host, protocol, outcome in a week", func(n int) (q Query) {
			q.From, q.To = week(n)
			q.Host, q.Protocol, q.Outcome = host(n), protocols[n%len(protocols)], string(outcomes[n%len(outcomes)])
			return q
		}},
		{"text, a host name", func(n int) Query { return Query{Text: p.name(n * 37 % p.remotes)} }},
		{"text, an address", func(n int) Query { return Query{Text: remote(n)} }},
		{"text, the beginning of an address", func(n int) Query { a := remote(n); return Query{Text: a[:strings.LastIndexByte(a, '.')]} }},
		{"text, a common word", func(n int) Query { return Query{Text: []string{"limited", "number7", "attributed", "program3"}[n%4]} }},
		{"text, the beginning of a word", func(n int) Query { return Query{Text: fmt.Sprintf("user%d*", n%p.users)} }},
		{"text, two words and a severity", func(n int) Query {
			return Query{Text: fmt.Sprintf("number%d program%d", n%p.entities, n%20), Severity: rules.SeverityMedium}
		}},
		{"text, absent", func(n int) Query { return Query{Text: fmt.Sprintf("nothing%d", n)} }},
	}
}

// deep is how far into a list the deep pages lie: the cursor of a finding in the
// middle of all.
func (p population) deep() string { return encodeCursor(placeOf(micros(p.at(p.total / 2)))) }

// BenchmarkSearch asks for pages of 50, and gives the times that half and 95 of a
// hundred questions stay under. SALLYPORT_BENCH_FINDINGS says how many findings
// there are; several numbers, in order, are reached one after the other. Beside
// the time that passed it gives the processor's, which neighbours do not stretch;
// of PostgreSQL that is of the client only.
func BenchmarkSearch(b *testing.B) {
	var sizes []int
	for text := range strings.SplitSeq(os.Getenv("SALLYPORT_BENCH_FINDINGS"), ",") {
		if n, err := strconv.Atoi(text); err == nil {
			sizes = append(sizes, n)
		}
	}
	if len(sizes) == 0 {
		sizes = []int{2000}
	}
	b.Run("sqlite", func(b *testing.B) { benchSearch(b, DefaultConfig(), sizes) })
	b.Run("postgres", func(b *testing.B) {
		cfg := DefaultConfig()
		cfg.Postgres = postgrestest.New(b, "shared_buffers=1GB", "maintenance_work_mem=1GB", "work_mem=32MB", "max_wal_size=8GB", "checkpoint_timeout=30min", "effective_cache_size=8GB", "random_page_cost=1.1", "autovacuum=off").DSN
		benchSearch(b, cfg, sizes)
	})
}

func benchSearch(b *testing.B, cfg Config, sizes []int) {
	state := os.Getenv("SALLYPORT_BENCH_STATE") // stays, and is filled up
	if state == "" {
		state = b.TempDir()
	}
	s, err := Open(b.Context(), cfg, state)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, total := range sizes {
		began := time.Now()
		p := newPopulation(total)
		p.fill(b, s)
		b.Logf("%d findings after %s", total, time.Since(began).Round(time.Second))
		for _, x := range p.searches() {
			b.Run(fmt.Sprint(total, "/", x.name), func(b *testing.B) { p.ask(b, s, x) })
			deep := func(n int) Query { q := x.ask(n); q.Cursor = p.deep(); return q }
			b.Run(fmt.Sprint(total, "/", x.name, ", half way down"), func(b *testing.B) { p.ask(b, s, search{x.name, deep}) })
		}
		b.Run(fmt.Sprint(total, "/counts"), func(b *testing.B) {
			measure(b, func(int) error { _, err := s.Counts(b.Context()); return err })
		})
	}
}

func (p population) ask(b *testing.B, s *Store, x search) {
	measure(b, func(n int) error {
		q := x.ask(n)
		q.Limit = 50
		_, err := s.Findings(b.Context(), q)
		return err
	})
}

func measure(b *testing.B, ask func(n int) error) {
	const questions = 60
	var took, used []time.Duration
	for n := 0; b.Loop(); n++ {
		for k := range questions {
			start, before := time.Now(), processor(b)
			if err := ask(n*questions + k); err != nil {
				b.Fatal(err)
			}
			took, used = append(took, time.Since(start)), append(used, processor(b)-before)
		}
	}
	for unit, list := range map[string][]time.Duration{"ms": took, "cpu-ms": used} {
		slices.Sort(list)
		for _, percent := range []int{50, 95} {
			b.ReportMetric(float64(list[len(list)*percent/100].Microseconds())/1000, fmt.Sprintf("p%d-%s", percent, unit))
		}
	}
	b.ReportMetric(0, "ns/op")
}

// processor is the time that this process has had.
func processor(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// documentOf is a finding as an agent sends it.
func documentOf(f *rules.Finding) []byte {
	text, err := json.Marshal(f)
	if err != nil {
		panic(fmt.Sprint("encode finding: ", err))
	}
	return text
}

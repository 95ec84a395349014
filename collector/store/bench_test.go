package store

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"sallyport/collector/stream"
	"sallyport/rules"
)

// fill saves n findings of 200 agents, 5,000 remotes, 50 entities and 20 programs
// over thirty days.
func fill(b *testing.B, s *Store, n int) {
	b.Helper()
	const batch = 2000
	random := rand.New(rand.NewPCG(3, 4))
	for done := 0; done < n; {
		var entries []stream.Entry
		for range min(batch, n-done) {
			entries = append(entries, benchEntry(b, random, done))
			done++
		}
		if err := s.Save(b.Context(), entries); err != nil {
			b.Fatal(err)
		}
	}
}

func benchEntry(b *testing.B, random *rand.Rand, n int) stream.Entry {
	b.Helper()
	at := start.Add(time.Duration(random.Int64N(int64(30 * 24 * time.Hour)))).Truncate(time.Microsecond)
	agent := fmt.Sprintf("node-%03d", random.IntN(200))
	entity := random.IntN(50)
	f := finding(agent, fmt.Sprintf("%032x", n), 1)
	f.Severity = severities[random.IntN(len(severities))]
	f.First, f.Last, f.Created = at, at, at
	f.Rule, f.Title = rules.RuleRef{ID: fmt.Sprintf("rule-%d", random.IntN(12))}, fmt.Sprintf("protocol %d with an attributed remote", random.IntN(12))
	f.Matches = []rules.Match{{
		Field: "remote.addr", Value: "x", Entity: rules.EntityRef{ID: fmt.Sprintf("entity-%d", entity), Name: fmt.Sprintf("Entity Number%d Limited", entity)},
		Indicator: rules.IndicatorRef{Type: "ip", Value: "x"},
	}}
	remote := random.IntN(5000)
	f.Observation = rules.Observation{
		Host: agent, Transport: rules.TCP, Direction: rules.Outbound, Outcome: rules.OutcomeData, First: at, Last: at,
		Remote: rules.Endpoint{Addr: netip.AddrFrom4([4]byte{198, 18, byte(remote >> 8), byte(remote)}), Port: 3389},
		Names:  []rules.Name{{Name: fmt.Sprintf("host%d.example.com", remote)}},
		Owner:  rules.Owner{Process: &rules.Process{PID: uint32(n), Executable: fmt.Sprintf("/usr/bin/program%d", random.IntN(20)), User: fmt.Sprintf("user%d", random.IntN(300))}},
		Identification: rules.Identification{
			Protocol: []string{"rdp", "ssh", "vnc", "openvpn", "wireguard", "anydesk"}[random.IntN(6)], State: "confirmed",
		},
	}
	text, err := json.Marshal(f)
	if err != nil {
		b.Fatal(err)
	}
	return stream.Entry{Agent: agent, Epoch: "e", Seq: uint64(n + 1), ID: f.MessageID(), Received: at, Finding: text}
}

// searches are what people ask, with n for variety (docs/benchmarks-collector.md).
var searches = []struct {
	name string
	ask  func(n int) Query
}{
	{"the newest", func(int) Query { return Query{} }},
	{"severity", func(n int) Query { return Query{Severity: severities[n%5]} }},
	{"agent", func(n int) Query { return Query{Agent: fmt.Sprintf("node-%03d", n%200)} }},
	{"remote", func(n int) Query { return Query{Remote: fmt.Sprintf("198.18.%d.%d", n%19, n%256)} }},
	{"protocol and severity", func(n int) Query { return Query{Protocol: "anydesk", Severity: rules.SeverityCritical} }},
	{"entity", func(n int) Query { return Query{Entity: fmt.Sprintf("entity-%d", n%50)} }},
	{"entity on a day", func(n int) Query {
		day := start.Add(time.Duration(n%30) * 24 * time.Hour)
		return Query{Entity: fmt.Sprintf("entity-%d", n%50), From: day, To: day.Add(24 * time.Hour)}
	}},
	{"user", func(n int) Query { return Query{User: fmt.Sprintf("user%d", n%300)} }},
	{"text, a name", func(n int) Query { return Query{Text: fmt.Sprintf("host%d.example.com", n*37%5000)} }},
	{"text, an address", func(n int) Query { return Query{Text: fmt.Sprintf("198.18.%d.%d", n%19, n%256)} }},
	{"text, a common word", func(n int) Query { return Query{Text: fmt.Sprintf("number%d", n%50)} }},
	{"text, absent", func(n int) Query { return Query{Text: fmt.Sprintf("nothing%d", n)} }},
	{"id", func(n int) Query { return Query{ID: fmt.Sprintf("%032x", n*101)} }},
}

// BenchmarkSearch asks for the first page of 50, and gives the time that 95 of 100
// questions stay under. SALLYPORT_BENCH_FINDINGS says how many findings there are.
func BenchmarkSearch(b *testing.B) {
	total := 2000
	if n, err := strconv.Atoi(os.Getenv("SALLYPORT_BENCH_FINDINGS")); err == nil {
		total = n
	}
	s, err := Open(b.Context(), DefaultConfig(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	began := time.Now()
	fill(b, s, total)
	b.Logf("%d findings saved in %s, %.0f a second", total, time.Since(began).Round(time.Second), float64(total)/time.Since(began).Seconds())
	for _, search := range searches {
		b.Run(search.name, func(b *testing.B) {
			var took []time.Duration
			for n := 0; b.Loop(); n++ {
				for k := range 40 {
					q := search.ask(n*40 + k)
					q.Limit = 50
					start := time.Now()
					if _, err := s.Findings(b.Context(), q); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(start))
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

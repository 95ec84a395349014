package history

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"sallyport/rules"
)

// flowsEnv is the number of flows of BenchmarkHistory; the published figures
// use 10,000,000.
const flowsEnv = "SALLYPORT_HISTORY_FLOWS"

// BenchmarkHistory fills a history with distinct flows spread over thirty days
// and measures writing and the three kinds of search. It runs once, whatever b.N.
func BenchmarkHistory(b *testing.B) {
	total := 100_000
	if n, err := strconv.Atoi(os.Getenv(flowsEnv)); err == nil && n > 0 {
		total = n
	}
	h := newHistory(b, func(c *Config) { c.MaxBytes = 1 << 40 })
	const hours = 30 * 24
	start := time.Now().UTC().Truncate(time.Hour).Add(-hours * time.Hour)
	written := processWrites()
	began := time.Now()
	var adding time.Duration
	step := hours * time.Hour / time.Duration(total)
	for i := range total {
		o := benchFlow(i, start.Add(time.Duration(i)*step))
		t := time.Now()
		h.Add(o)
		adding += time.Since(t)
		if i%10_000 == 9_999 {
			flush(b, h)
		}
	}
	flush(b, h)
	took := time.Since(began)
	info, err := os.Stat(h.cfg.Path)
	if err != nil {
		b.Fatal(err)
	}
	n := float64(total)
	b.ReportMetric(float64(took.Microseconds())/n, "µs/flow")
	b.ReportMetric(float64(adding.Nanoseconds())/n, "ns/Add")
	b.ReportMetric(float64(info.Size())/n, "file-B/flow")
	b.ReportMetric(float64(processWrites()-written)/n, "written-B/flow")
	b.ReportMetric(0, "ns/op")
	search := func(unit string, want bool, f Filter) {
		t, found := time.Now(), 0
		if err := h.Query(b.Context(), f, func(Past) bool { found++; return true }); err != nil {
			b.Fatal(err)
		}
		if want != (found > 0) {
			b.Fatalf("%s: %d flows found", unit, found)
		}
		b.ReportMetric(float64(time.Since(t).Microseconds())/1000, unit)
	}
	last := benchFlow(total-1, start)
	search("ms/address", true, Filter{Prefix: netip.PrefixFrom(last.Remote.Addr, 32)})
	search("ms/range24", true, Filter{Prefix: netip.PrefixFrom(last.Remote.Addr, 24)})
	search("ms/domain", true, Filter{Domain: last.Names[0].Name})
	search("ms/domain-absent", false, Filter{Domain: "absent.example"})
	search("ms/whole", true, Filter{})
	b.ReportMetric(float64(peakResident())/(1<<20), "peak-MiB")
}

// benchFlow is the i-th flow: a remote of its own, a name for every second one,
// a hundred owners.
func benchFlow(i int, at time.Time) *rules.Observation {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(i)*2654435761) // Knuth's multiplicative hash: a permutation
	o := flow(strconv.Itoa(i), "192.0.2.1:443", 0)
	o.Remote.Addr, o.First, o.Last = netip.AddrFrom4(a), at, at.Add(time.Second)
	o.Owner.Process.Executable = fmt.Sprintf("/usr/bin/app-%d", i%100)
	if i%2 == 1 {
		o.Names = []rules.Name{{Name: fmt.Sprintf("host%d.zone%d.example", i, i%10_000), Source: "dns", At: at}}
	}
	return o
}

var number = regexp.MustCompile(`(write_bytes|VmHWM): *\t* *(\d+)`)

func procNumber(file string) uint64 {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	m := number.FindSubmatch(raw)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseUint(string(m[2]), 10, 64)
	return n
}

func processWrites() uint64 { return procNumber("/proc/self/io") }
func peakResident() uint64  { return procNumber("/proc/self/status") << 10 }

// BenchmarkAdd is the cost on the hot path alone.
func BenchmarkAdd(b *testing.B) {
	h := newHistory(b, func(c *Config) { c.MaxPending = 1 << 20 })
	flows := make([]*rules.Observation, 10_000)
	for i := range flows {
		flows[i] = benchFlow(i, base)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.Add(flows[i%len(flows)])
	}
}

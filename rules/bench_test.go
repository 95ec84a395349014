package rules

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/gaissmai/bart"
	"golang.org/x/sys/unix"
)

// The big set of the design: 5 million indicators, half addresses, a tenth
// prefixes, the rest domains.
const (
	bigTotal     = 5_000_000
	bigAddresses = bigTotal / 2
	bigPrefixes  = bigTotal / 10
	bigDomains   = bigTotal - bigAddresses - bigPrefixes
)

// bigList writes the values as a list would hold them, a line each: the time to
// read them from their text is part of loading.
func bigList() string {
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	seen := make(map[uint32]bool, bigAddresses)
	for len(seen) < bigAddresses {
		if a := random.Uint32(); publicAddr(a) && !seen[a] {
			seen[a] = true
			fmt.Fprintln(&b, addr4(a))
		}
	}
	for n := 0; n < bigPrefixes; {
		p := netip.PrefixFrom(addr4(random.Uint32()), 20+random.IntN(9)).Masked()
		if _, special := overlapsAny(p, specialUse); !special {
			fmt.Fprintln(&b, p)
			n++
		}
	}
	for i := range bigDomains {
		fmt.Fprintf(&b, "h%d.x%d-%d.com\n", i%7, i, random.IntN(1000))
	}
	return b.String()
}

func addr4(a uint32) netip.Addr {
	var k [4]byte
	binary.BigEndian.PutUint32(k[:], a)
	return netip.AddrFrom4(k)
}

func publicAddr(a uint32) bool {
	_, special := overlapsAny(netip.PrefixFrom(addr4(a), 32), specialUse)
	return !special
}

// loadBig compiles the list as one entity with one source.
func loadBig(b testing.TB, list string) *Set {
	builder := NewBuilder(Options{})
	builder.Reserve(bigAddresses, bigDomains)
	builder.Pack(Pack{Name: "big"})
	if err := builder.Entity(Entity{ID: "e", Name: "E", Kind: KindOrganisation, Sources: []Source{{ID: "s", Name: "S"}}}); err != nil {
		b.Fatal(err)
	}
	in := Indicator{Provenance: Provenance{Confidence: ConfidenceHigh, Sources: []Claim{{Source: "s"}}}}
	for value := range strings.Lines(list) {
		in.Value = strings.TrimSuffix(value, "\n")
		switch last := in.Value[len(in.Value)-1]; {
		case last == 'm':
			in.Type = TypeDomain
		case strings.IndexByte(in.Value, '/') > 0:
			in.Type = TypeCIDR
		default:
			in.Type = TypeIP
		}
		if err := builder.Indicator(&in); err != nil {
			b.Fatal(err)
		}
	}
	set, err := builder.Set()
	if err != nil {
		b.Fatal(err)
	}
	return set
}

// BenchmarkLoad5M reports the time to load, the memory that the set keeps, and
// the most the process took while loading.
func BenchmarkLoad5M(b *testing.B) {
	list := bigList()
	for b.Loop() {
		before := heap()
		start, usedBefore := time.Now(), processor()
		set := loadBig(b, list)
		took := time.Since(start)
		used := processor() - usedBefore
		var peak runtime.MemStats
		runtime.ReadMemStats(&peak)
		b.ReportMetric(took.Seconds(), "s/load")
		b.ReportMetric(used.Seconds(), "cpu-s/load")
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB-kept")
		b.ReportMetric(float64(peak.HeapSys-peak.HeapReleased)/(1<<20), "MiB-heap-while-loading")
		if set.Len() != bigTotal {
			b.Fatalf("%d indicators", set.Len())
		}
		runtime.KeepAlive(set)
	}
}

// processor is the processor time that this process has used: what stays the
// same on a machine that others load.
func processor() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkLookup5M reports the 50th and 99th percentile of single lookups of
// what is not there, the usual case, against a plain map and bart alone.
func BenchmarkLookup5M(b *testing.B) {
	list := bigList()
	set := loadBig(b, list)
	plain, table := map[string]bool{}, new(bart.Table[uint32])
	for value := range strings.Lines(list) {
		value = strings.TrimSuffix(value, "\n")
		plain[value] = true
		if p, err := parsePrefix(value); err == nil {
			table.Insert(p, 1)
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	addrs := make([]netip.Addr, 1<<14)
	names := make([]string, len(addrs))
	for i := range addrs {
		addrs[i] = missing(random, set, plain)
		names[i] = fmt.Sprintf("www.example%d.org", random.IntN(1<<20))
	}
	lines := makeHuge[cacheLine](1 << lineBits)
	for i := range lines {
		lines[i][0] = 1 // else all of it is the kernel's one page of zeros
	}
	at := make([]uint32, len(addrs))
	for i := range at {
		at[i] = random.Uint32() >> (32 - lineBits)
	}
	// One observation, as warm as one that the agent has just built: what is asked
	// about is put into it before the clock starts.
	o := &Observation{Last: testNow}
	none := func(int) {}
	remote := func(list []netip.Addr) func(int) {
		return func(i int) { o.Remote.Addr, o.Query = list[i], "" }
	}
	buffer := make([]byte, 0, 64)
	query := func(i int) {
		buffer = append(buffer[:0], names[i]...)
		o.Remote.Addr, o.Query = netip.Addr{}, unsafe.String(&buffer[0], len(buffer))
	}
	miss := func(int) bool { return set.Match(o, testNow) == nil }
	b.Run("nothing", func(b *testing.B) { // what the machine's noise alone makes of this
		percentiles(b, none, func(i int) bool { return at[i] < 1<<lineBits })
	})
	b.Run("read", func(b *testing.B) { // one random read of 16 MB on huge pages: no table is faster
		percentiles(b, none, func(i int) bool { return lines[at[i]][0] == 1 })
	})
	b.Run("set/address", func(b *testing.B) {
		percentiles(b, remote(addrs), miss)
	})
	b.Run("set/name", func(b *testing.B) {
		percentiles(b, query, miss)
	})
	b.Run("map/address", func(b *testing.B) {
		percentiles(b, none, func(i int) bool { return !plain[addrs[i].String()] })
	})
	b.Run("bart/address", func(b *testing.B) {
		percentiles(b, none, func(i int) bool { return !table.Contains(addrs[i]) })
	})
	held := heldAddrs(random, list, len(addrs))
	b.Run("set/address-held", func(b *testing.B) { // finding it; a match with its provenance and statement is more
		percentiles(b, none, func(i int) bool { _, found := set.addrs.findAddr(held[i]); return found })
	})
	b.Run("set/address-match", func(b *testing.B) {
		percentiles(b, remote(held), func(int) bool { return set.Match(o, testNow) != nil })
	})
	b.Run("map/address-held", func(b *testing.B) {
		percentiles(b, none, func(i int) bool { return plain[held[i].String()] })
	})
	b.Run("bart/address-held", func(b *testing.B) {
		percentiles(b, none, func(i int) bool { return table.Contains(held[i]) })
	})
}

// heldAddrs picks n addresses of the list.
func heldAddrs(random *rand.Rand, list string, n int) []netip.Addr {
	out := make([]netip.Addr, 0, n)
	for len(out) < n {
		from := random.IntN(len(list) / 3) // addresses come first
		line, _, _ := strings.Cut(list[from+strings.IndexByte(list[from:], '\n')+1:], "\n")
		if a, err := netip.ParseAddr(line); err == nil {
			out = append(out, a)
		}
	}
	return out
}

func missing(random *rand.Rand, set *Set, plain map[string]bool) netip.Addr {
	for {
		a := addr4(random.Uint32())
		if !plain[a.String()] && !set.prefixes.Contains(a) {
			return a
		}
	}
}

// percentiles times lookups one by one, less what the clock itself takes. The
// values come in random order and each once in 16,384, so that what was read for
// one has left the caches by its next turn.
func percentiles(b *testing.B, prepare func(i int), lookup func(i int) bool) {
	took := make([]time.Duration, 0, 1<<17)
	clock := time.Duration(1 << 62)
	for range 1000 {
		start := time.Now()
		clock = min(clock, time.Since(start))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		prepare(i)
		start := time.Now()
		ok := lookup(i)
		d := time.Since(start) - clock
		if !ok {
			b.Fatal("not the answer expected")
		}
		if len(took) < cap(took) {
			took = append(took, d)
		}
		i = (i + 1) % (1 << 14)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "ns-p50")
	b.ReportMetric(float64(took[len(took)*99/100]), "ns-p99")
}

// BenchmarkMatchShipped is a whole miss against what ships.
func BenchmarkMatchShipped(b *testing.B) {
	set := shippedSet(b)
	o := flowTo("9.9.9.9")
	o.Names = []Name{{Name: "www.debian.org", Source: "dns"}}
	o.TLS = &TLSFacts{SNI: "www.debian.org", JA4: "t13d1516h2_8daaf6152771_02713d6af862"}
	b.ReportAllocs()
	for b.Loop() {
		if set.Match(o, testNow) != nil {
			b.Fatal("matched")
		}
	}
}

package pack

import (
	"bytes"
	"fmt"
	"testing"

	"sallyport/rules"
)

// BenchmarkFeed reads a signed pack of 500,000 indicators and compiles it.
func BenchmarkFeed(b *testing.B) {
	const n = 500_000
	e := entity("one", "192.0.2.1")
	shared := e.Indicators[0].Provenance
	for i := range n {
		e.Indicators = append(e.Indicators, rules.Indicator{Type: rules.TypeIP, Value: fmt.Sprintf("2001:db8::%x:%x", i>>16+1, i&0xffff), Provenance: shared})
	}
	c := contents(1)
	c.Entities = []rules.Entity{e}
	var out bytes.Buffer
	if err := Build(&out, c, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(out.Len()), "archive_bytes")
	for b.Loop() {
		p, _, err := read(bytes.NewReader(out.Bytes()), anyone)
		if err != nil {
			b.Fatal(err)
		}
		builder := rules.NewBuilder(rules.Options{})
		if err := p.Feed(builder); err != nil {
			b.Fatal(err)
		}
		if set, err := builder.Set(); err != nil || set.Len() != n+1 {
			b.Fatalf("set of %d, %v", set.Len(), err)
		}
	}
}

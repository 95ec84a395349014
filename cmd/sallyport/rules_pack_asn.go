package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sallyport/agent/enrich"
	"sallyport/rules"
	"sallyport/rules/pack"
)

// asnTable looks up the prefixes of every autonomous system that is an indicator.
// Its date is that of the database.
func asnTable(database string, entities []rules.Entity) (*pack.ASNTable, error) {
	var asns []uint32
	for i := range entities {
		for _, in := range entities[i].Indicators {
			if in.Type != rules.TypeASN {
				continue
			}
			n, err := strconv.ParseUint(strings.TrimPrefix(in.Value, "AS"), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("entity %s: %s is no autonomous system", entities[i].ID, in.Value)
			}
			asns = append(asns, uint32(n))
		}
	}
	found, built, err := enrich.ASNPrefixes(database, asns)
	if err != nil {
		return nil, err
	}
	t := &pack.ASNTable{Date: rules.Date(built.Format(time.DateOnly)), Source: filepath.Base(database), Prefixes: map[string][]string{}}
	for asn, prefixes := range found {
		for _, p := range prefixes {
			name := fmt.Sprintf("AS%d", asn)
			t.Prefixes[name] = append(t.Prefixes[name], p.String())
		}
	}
	return t, nil
}

// describeASN prints what a pack holds of autonomous systems, and what was
// refused.
func describeASN(w io.Writer, path string) error {
	p, err := pack.OpenUnverified(path)
	if err != nil {
		return err
	}
	t, err := p.ASN()
	if err != nil {
		return err
	}
	n := 0
	for _, prefixes := range t.Prefixes {
		n += len(prefixes)
	}
	fmt.Fprintf(w, "%d prefixes of %d autonomous systems as of %s (%s)\n", n, len(t.Prefixes), t.Date, plain(t.Source))
	for _, left := range t.LeftOut {
		fmt.Fprintf(w, "left out: %s\n", plain(left))
	}
	return nil
}

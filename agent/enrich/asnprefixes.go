package enrich

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// ASNPrefixes reads the prefixes of autonomous systems out of an ASN database,
// and when that was built. A system it does not know has none. It walks the whole
// database: seconds.
func ASNPrefixes(path string, asns []uint32) (map[uint32][]netip.Prefix, time.Time, error) {
	db, err := maxminddb.Open(path)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("list prefixes of ASNs: %w", err)
	}
	defer db.Close()
	if !strings.Contains(db.Metadata.DatabaseType, "ASN") {
		return nil, time.Time{}, fmt.Errorf("list prefixes of ASNs: %s is a %s database, not an ASN one", path, db.Metadata.DatabaseType)
	}
	wanted := map[uint32]bool{}
	for _, n := range asns {
		wanted[n] = true
	}
	out := map[uint32][]netip.Prefix{}
	for r := range db.Networks() {
		var record struct {
			Number uint32 `maxminddb:"autonomous_system_number"`
		}
		if err := r.Decode(&record); err != nil {
			return nil, time.Time{}, fmt.Errorf("list prefixes of ASNs: %w", err)
		}
		if wanted[record.Number] {
			out[record.Number] = append(out[record.Number], r.Prefix())
		}
	}
	return out, time.Unix(int64(db.Metadata.BuildEpoch), 0).UTC(), nil
}

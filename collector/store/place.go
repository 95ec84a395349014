package store

import (
	"database/sql"
	"math/rand/v2"
	"slices"
)

// A finding's key is the time of its last flow in milliseconds, and a number that
// tells those of one millisecond apart. So the order of keys is the order of the
// list, and every index holds its entries in it: SQLite's as the row's number, the
// full-text index too. A revision with a later flow moves its finding.
const (
	placeBits   = 20
	maxPlacedMS = 1<<(63-placeBits) - 1 // the year 2248
	crowded     = 1000 << placeBits     // how far after its time a key can lie
)

// placeOf is the first key of a time's millisecond.
func placeOf(us int64) int64 {
	return max(1, min(us/1000, maxPlacedMS-1)) << placeBits
}

var takenKeys = statement{"SELECT key FROM findings WHERE key IN (", "?", ")"}

// places finds a key that is free for each row. Another collector may take one in
// the meantime; then the batch is refused and comes again.
func (b *saver) places(rows []row) ([]int64, error) {
	keys := make([]int64, len(rows))
	tried := map[int64]bool{} // in this batch, whether free or not
	want := make([]int, len(rows))
	for i := range want {
		want[i] = i
	}
	for try := int64(0); len(want) > 0; try++ {
		ask := make([][]any, len(want))
		for k, i := range want {
			// After some tries: a crowded millisecond, so into the next.
			base := placeOf(rows[i].last) + try/8<<placeBits
			for keys[i] = 0; keys[i] == 0 || tried[keys[i]]; {
				keys[i] = base + rand.Int64N(1<<placeBits)
			}
			tried[keys[i]] = true
			ask[k] = []any{keys[i]}
		}
		taken := map[int64]bool{}
		err := b.run(takenKeys, ask, func(rows *sql.Rows) error {
			var key int64
			err := rows.Scan(&key)
			taken[key] = true
			return err
		})
		if err != nil {
			return nil, err
		}
		want = slices.DeleteFunc(want, func(i int) bool { return !taken[keys[i]] })
	}
	return keys, nil
}

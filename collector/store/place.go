package store

import "math/rand/v2"

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

// place finds a key that is free. Another collector may take it in the meantime;
// then the batch is refused and comes again.
func (b *saver) place(r *row) (int64, error) {
	base := placeOf(r.last)
	for try := 0; ; try++ {
		if try > 0 && try%8 == 0 {
			base += 1 << placeBits // a crowded millisecond: into the next
		}
		key := base + rand.Int64N(1<<placeBits)
		st, err := b.prepare("SELECT COUNT(*) FROM findings WHERE key = ?")
		if err != nil {
			return 0, err
		}
		var taken int
		if err := st.QueryRowContext(b.ctx, key).Scan(&taken); err != nil {
			return 0, err
		}
		if taken == 0 {
			return key, nil
		}
	}
}

package history

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"sallyport/rules"
)

// Buckets within an hour's bucket, and beside the hours.
var (
	bucketRows   = []byte("rows")   // main key to row
	bucketIndex  = []byte("index")  // index key to source
	bucketOwners = []byte("owners") // number (4) to rules.Owner as JSON
	bucketHours  = []byte("hours")  // Unix seconds (8) to an hour's bucket
	bucketMeta   = []byte("meta")
	keyHost      = []byte("host")
)

// Flush writes what waits in memory in one transaction, in the order of keys,
// and forgets what is too old or too much.
func (h *History) Flush() error {
	h.mu.Lock()
	batch := h.pending
	if len(batch) == 0 && time.Since(h.forgot) < period {
		h.mu.Unlock()
		return nil
	}
	h.forgot = time.Now()
	h.pending = map[pendingKey]*row{}
	h.mu.Unlock()
	forgotten := 0
	err := h.write(func(db *bolt.DB) error {
		if err := db.Update(func(tx *bolt.Tx) error { return store(tx, batch) }); err != nil {
			return err
		}
		var err error
		forgotten, err = h.forget(db, time.Now())
		return err
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Forgotten += uint64(forgotten)
	if err != nil {
		h.putBack(batch)
		return fmt.Errorf("write history: %w", err)
	}
	h.stats.Written += uint64(len(batch))
	return nil
}

// putBack keeps rows that could not be written. Callers hold mu.
func (h *History) putBack(batch map[pendingKey]*row) {
	for k, r := range batch {
		switch now := h.pending[k]; {
		case now != nil:
			for v, source := range r.index {
				now.note(v, source)
			}
			now.merge(r)
		case len(h.pending) < h.cfg.MaxPending:
			h.pending[k] = r
		default:
			h.stats.Dropped += r.count
		}
	}
}

// store writes the batch hour by hour.
func store(tx *bolt.Tx, batch map[pendingKey]*row) error {
	hours, err := tx.CreateBucketIfNotExists(bucketHours)
	if err != nil {
		return err
	}
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	byHour := map[int64]map[pendingKey]*row{}
	for k, r := range batch {
		if byHour[k.hour] == nil {
			byHour[k.hour] = map[pendingKey]*row{}
		}
		byHour[k.hour][k] = r
		if r.host != "" && string(meta.Get(keyHost)) != r.host {
			if err := meta.Put(keyHost, []byte(r.host)); err != nil {
				return err
			}
		}
	}
	for hour, rows := range byHour {
		b, err := hours.CreateBucketIfNotExists(hourKey(hour))
		if err != nil {
			return err
		}
		if err := storeHour(b, rows); err != nil {
			return err
		}
	}
	return nil
}

func hourKey(hour int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(hour)) }

type keyed struct {
	key []byte
	row *row
}

// storeHour writes one hour's rows, and the index of what is new in them.
func storeHour(hour *bolt.Bucket, rows map[pendingKey]*row) error {
	var buckets [3]*bolt.Bucket
	for i, name := range [][]byte{bucketRows, bucketIndex, bucketOwners} {
		b, err := hour.CreateBucketIfNotExists(name)
		if err != nil {
			return err
		}
		buckets[i] = b
	}
	main, index := buckets[0], buckets[1]
	owners, err := loadOwners(buckets[2])
	if err != nil {
		return err
	}
	sorted := make([]keyed, 0, len(rows))
	for k, r := range rows {
		n, err := owners.number(k.owner, r.owner)
		if err != nil {
			return err
		}
		sorted = append(sorted, keyed{mainKey(k, n), r})
	}
	slices.SortFunc(sorted, func(a, b keyed) int { return bytes.Compare(a.key, b.key) })
	var entries []keyed
	for _, kr := range sorted {
		if raw := main.Get(kr.key); raw != nil {
			if old, err := decodeRow(raw); err == nil {
				kr.row.merge(old)
			}
		}
		if err := main.Put(kr.key, kr.row.encode()); err != nil {
			return err
		}
		for v, source := range kr.row.index {
			entries = append(entries, keyed{append(append([]byte(v), 0), kr.key...), &row{index: map[string]byte{"": source}}})
		}
	}
	slices.SortFunc(entries, func(a, b keyed) int { return bytes.Compare(a.key, b.key) })
	for _, e := range entries {
		if err := index.Put(e.key, []byte{e.row.index[""]}); err != nil {
			return err
		}
	}
	return nil
}

// ownerTable numbers the owners of an hour.
type ownerTable struct {
	bucket *bolt.Bucket
	known  map[ownerKey]uint32
}

func loadOwners(b *bolt.Bucket) (*ownerTable, error) {
	t := &ownerTable{b, map[ownerKey]uint32{}}
	err := b.ForEach(func(k, v []byte) error {
		var o rules.Owner
		if len(k) == 4 && json.Unmarshal(v, &o) == nil {
			t.known[ownerOf(&o)] = binary.BigEndian.Uint32(k)
		}
		return nil
	})
	return t, err
}

func (t *ownerTable) number(k ownerKey, o rules.Owner) (uint32, error) {
	if n, ok := t.known[k]; ok {
		return n, nil
	}
	n := uint32(len(t.known) + 1)
	raw, err := json.Marshal(o)
	if err != nil {
		return 0, err
	}
	t.known[k] = n
	return n, t.bucket.Put(binary.BigEndian.AppendUint32(nil, n), raw)
}

// forget removes the oldest hours while they are too old, or the file in use is
// too large. bbolt keeps the file's size and uses the room again.
func (h *History) forget(db *bolt.DB, now time.Time) (int, error) {
	n := 0
	for {
		oldest := h.surplus(db, now)
		if oldest == nil {
			return n, nil
		}
		if err := db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketHours).DeleteBucket(oldest) }); err != nil {
			return n, err
		}
		n++
	}
}

// surplus is the key of the oldest hour if it must go, else nil.
func (h *History) surplus(db *bolt.DB, now time.Time) (oldest []byte) {
	db.View(func(tx *bolt.Tx) error {
		hours := tx.Bucket(bucketHours)
		if hours == nil {
			return nil
		}
		k, _ := hours.Cursor().First()
		if len(k) != 8 {
			return nil
		}
		stats := db.Stats()
		used := tx.Size() - int64(stats.FreePageN+stats.PendingPageN)*int64(db.Info().PageSize)
		age := now.Sub(time.Unix(int64(binary.BigEndian.Uint64(k)), 0))
		if age > h.cfg.MaxAge+period || used > h.cfg.MaxBytes {
			oldest = bytes.Clone(k)
		}
		return nil
	})
	return oldest
}

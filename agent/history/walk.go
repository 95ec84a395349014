package history

import (
	"context"
	"encoding/binary"
	"time"

	bolt "go.etcd.io/bbolt"

	"sallyport/rules"
)

// Walk yields every past flow, oldest hour first, until yield says false. The
// file is open for one hour of it at a time, so that writing goes on in between;
// gentle also pauses for as long as the hour took, so that no more than half a
// core goes into it.
func (h *History) Walk(ctx context.Context, gentle bool, yield func(Past) bool) error {
	return h.walk(ctx, Filter{}, gentle, yield)
}

func (h *History) walk(ctx context.Context, f Filter, gentle bool, yield func(Past) bool) error {
	hours, err := h.hours()
	if err != nil {
		return err
	}
	for _, hour := range hours {
		began := time.Now()
		more := true
		err := h.read(func(tx *bolt.Tx) error {
			if s := newSearch(tx, hourKey(hour), f, yield); s != nil {
				more = s.run(ctx)
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !more:
			return nil
		}
		pause := time.Duration(0)
		if gentle {
			pause = time.Since(began)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return nil
}

// hours lists the hours of which something is remembered, in Unix seconds.
func (h *History) hours() (out []int64, err error) {
	err = h.read(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketHours)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, _ := c.First(); len(k) == 8; k, _ = c.Next() {
			out = append(out, int64(binary.BigEndian.Uint64(k)))
		}
		return nil
	})
	return out, err
}

// newSearch prepares the search of one hour; nil when it holds nothing.
func newSearch(tx *bolt.Tx, key []byte, f Filter, yield func(Past) bool) *search {
	hours := tx.Bucket(bucketHours)
	if hours == nil {
		return nil
	}
	b := hours.Bucket(key)
	if b == nil {
		return nil // forgotten meanwhile
	}
	s := &search{
		filter: f, hour: binary.BigEndian.Uint64(key), yield: yield,
		rows: b.Bucket(bucketRows), index: b.Bucket(bucketIndex), owners: b.Bucket(bucketOwners),
		known: map[uint32]*rules.Owner{}, seen: map[string]bool{},
	}
	if s.rows == nil || s.index == nil || s.owners == nil {
		return nil
	}
	if meta := tx.Bucket(bucketMeta); meta != nil {
		s.host = string(meta.Get(keyHost))
	}
	return s
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Arrival is a place in the order in which findings were stored.
type Arrival struct {
	At  time.Time
	key int64 // among those of the same time
}

// String is what ParseArrival reads.
func (a Arrival) String() string { return fmt.Sprintf("%d.%d", micros(a.At), a.key) }

// ParseArrival reads a place that String wrote.
func ParseArrival(text string) (Arrival, error) {
	at, key, ok := strings.Cut(text, ".")
	us, err1 := strconv.ParseInt(at, 10, 64)
	k, err2 := strconv.ParseInt(key, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return Arrival{}, errors.New("the id of the last event is none of this stream")
	}
	return Arrival{fromMicros(us), k}, nil
}

// Arrived is a finding and its place.
type Arrived struct {
	Arrival Arrival
	Finding Finding
}

// arrivedPage is how many findings are given at once.
const arrivedPage = 100

// settle is how long PostgreSQL's transactions may overlap: one that began before
// another may end after it, and what it stored must not be passed over.
const settle = 3 * time.Second

// Arrived lists what q selects and was stored after a place, in order. A finding
// comes again with each revision.
func (s *Store) Arrived(ctx context.Context, q Query, after Arrival) ([]Arrived, error) {
	text, err := s.typed(ctx, q.Text)
	if err != nil {
		return nil, err
	}
	p := plan{from: "findings f", key: "f.key"}
	p.columns(&q)
	p.words(s.dialect, text)
	p.rest(&q)
	q.Cursor = ""
	if err := p.bounds(&q); err != nil {
		return nil, err
	}
	until := time.Now()
	if s.dialect.numbered {
		until = until.Add(-settle)
	}
	p.add("(f.stored, f.key) > (?, ?) AND f.stored <= ?", micros(after.At), after.key, micros(until))
	query := "SELECT " + findingColumns + ", f.stored FROM " + p.from + p.condition() + " ORDER BY f.stored, f.key LIMIT " + strconv.Itoa(arrivedPage)
	var list []Arrived
	err = s.each(ctx, query, p.args, func(rows *sql.Rows) error {
		var stored int64
		f, key, err := scanFinding(rows, &stored)
		if err != nil {
			return err
		}
		list = append(list, Arrived{Arrival{fromMicros(stored), key}, f})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list arrivals: %w", err)
	}
	return list, nil
}

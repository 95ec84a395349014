package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"sallyport/collector/stream"
)

// Sequence is what came of one epoch of an agent.
type Sequence struct {
	Agent    string    `json:"agent"`
	Epoch    string    `json:"epoch"`
	Received uint64    `json:"received"` // lines, the rejected among them
	High     uint64    `json:"high"`
	Missing  Ranges    `json:"missing,omitempty"` // never came: lost, or still on the way
	Rejected uint64    `json:"rejected"`
	Updated  time.Time `json:"updated"`
	Begun    time.Time `json:"begun,omitzero"` // when its first line came
}

type epochKey struct{ agent, epoch string }

// saveSequences notes the numbers of a batch. Rows are taken in order, so that
// two collectors cannot wait for each other.
func (s *Store) saveSequences(ctx context.Context, tx *sql.Tx, batch []stream.Entry) error {
	groups := map[epochKey][]*stream.Entry{}
	for i := range batch {
		if batch[i].Agent == stream.Collector || batch[i].Kind != "" {
			continue // of the collector itself: it has no sequence
		}
		k := epochKey{batch[i].Agent, batch[i].Epoch}
		groups[k] = append(groups[k], &batch[i])
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b epochKey) int {
		return cmp.Or(cmp.Compare(a.agent, b.agent), cmp.Compare(a.epoch, b.epoch))
	})
	for _, k := range keys {
		if err := s.saveSequence(ctx, tx, k, groups[k]); err != nil {
			return fmt.Errorf("save sequence: %w", err)
		}
	}
	return nil
}

func (s *Store) saveSequence(ctx context.Context, tx *sql.Tx, k epochKey, entries []*stream.Entry) error {
	_, err := tx.ExecContext(ctx, s.dialect.bind(`INSERT INTO sequences (agent, epoch, ranges, rejected, updated, begun)
VALUES (?, ?, '', 0, 0, ?) ON CONFLICT DO NOTHING`), k.agent, k.epoch, micros(earliest(entries)))
	if err != nil {
		return err
	}
	var text string
	var rejected int64
	query := s.dialect.bind("SELECT ranges, rejected FROM sequences WHERE agent = ? AND epoch = ?" + s.dialect.lock)
	if err := tx.QueryRowContext(ctx, query, k.agent, k.epoch).Scan(&text, &rejected); err != nil {
		return err
	}
	ranges, err := parseRanges(text)
	if err != nil {
		return err
	}
	var updated time.Time
	for _, e := range entries {
		if ranges.Add(e.Seq) && e.Rejected != "" {
			rejected++
		}
		if e.Received.After(updated) {
			updated = e.Received
		}
	}
	_, err = tx.ExecContext(ctx, s.dialect.bind("UPDATE sequences SET ranges = ?, rejected = ?, updated = ? WHERE agent = ? AND epoch = ?"),
		ranges.String(), rejected, micros(updated), k.agent, k.epoch)
	return err
}

func earliest(entries []*stream.Entry) time.Time {
	return slices.MinFunc(entries, func(a, b *stream.Entry) int { return a.Received.Compare(b.Received) }).Received
}

// Sequences lists what came of an agent, the newest epoch first; of every agent
// where agent is empty.
func (s *Store) Sequences(ctx context.Context, agent string) ([]Sequence, error) {
	var list []Sequence
	err := s.each(ctx, "SELECT agent, epoch, ranges, rejected, updated, begun FROM sequences WHERE ? = '' OR agent = ? ORDER BY updated DESC",
		[]any{agent, agent}, func(rows *sql.Rows) error {
			var q Sequence
			var text string
			var updated, begun int64
			if err := rows.Scan(&q.Agent, &q.Epoch, &text, &q.Rejected, &updated, &begun); err != nil {
				return err
			}
			r, err := parseRanges(text)
			if err != nil {
				return err
			}
			q.Received, q.High, q.Missing, q.Updated = r.Count(), r.High(), r.Missing(), fromMicros(updated)
			q.Begun = fromMicros(begun)
			list = append(list, q)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("list sequences: %w", err)
	}
	return list, nil
}

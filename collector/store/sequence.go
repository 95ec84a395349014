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

var insertSequences = statement{
	"INSERT INTO sequences (agent, epoch, ranges, rejected, updated, begun) VALUES ", "(?, ?, '', 0, 0, ?)",
	" ON CONFLICT DO NOTHING",
}

// readSequences locks what is then changed, in order.
func (d dialect) readSequences() statement {
	return statement{
		"SELECT agent, epoch, ranges, rejected FROM sequences WHERE (agent, epoch) IN (VALUES ", tuple(2),
		") ORDER BY agent" + d.bytewise + ", epoch" + d.bytewise + d.lock,
	}
}

// updateSequences changes rows that are there.
var updateSequences = statement{
	"INSERT INTO sequences (agent, epoch, ranges, rejected, updated) VALUES ", tuple(5),
	" ON CONFLICT (agent, epoch) DO UPDATE SET ranges = excluded.ranges, rejected = excluded.rejected, updated = excluded.updated",
}

// sequences notes the numbers of a batch. Rows are taken in order, so that two
// collectors cannot wait for each other.
func (b *saver) sequences(batch []stream.Entry) error {
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
	var begun, asked, changed [][]any
	for _, k := range keys {
		begun = append(begun, []any{k.agent, k.epoch, micros(earliest(groups[k]))})
		asked = append(asked, []any{k.agent, k.epoch})
	}
	if err := b.run(insertSequences, begun, nil); err != nil {
		return fmt.Errorf("begin sequences: %w", err)
	}
	err := b.run(b.dialect.readSequences(), asked, func(rows *sql.Rows) error {
		var k epochKey
		var text string
		var rejected int64
		if err := rows.Scan(&k.agent, &k.epoch, &text, &rejected); err != nil {
			return err
		}
		row, err := advance(k, text, rejected, groups[k])
		changed = append(changed, row)
		return err
	})
	if err != nil {
		return fmt.Errorf("read sequences: %w", err)
	}
	if err := b.run(updateSequences, changed, nil); err != nil {
		return fmt.Errorf("save sequences: %w", err)
	}
	return nil
}

// advance gives the row of a sequence after some entries more.
func advance(k epochKey, text string, rejected int64, entries []*stream.Entry) ([]any, error) {
	ranges, err := parseRanges(text)
	if err != nil {
		return nil, err
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
	return []any{k.agent, k.epoch, ranges.String(), rejected, micros(updated)}, nil
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

package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"sallyport/collector/stream"
)

// Parked is what an exporter's receiver refused for good.
type Parked struct {
	Key      int64        `json:"key"`
	Exporter string       `json:"exporter"`
	Agent    string       `json:"agent"`
	ID       string       `json:"id"`
	Revision uint64       `json:"revision"`
	Reason   string       `json:"reason"`
	At       time.Time    `json:"at"`
	Resend   bool         `json:"resend"` // asked for, not done yet
	Entry    stream.Entry `json:"-"`
}

// Park keeps what was refused; a repeat renews the reason and ends a pending
// resend, which has just failed.
func (s *Store) Park(ctx context.Context, p Parked) error {
	text, err := json.Marshal(p.Entry)
	if err != nil {
		return fmt.Errorf("encode parked finding: %w", err)
	}
	_, err = s.exec(ctx, `INSERT INTO parked (exporter, agent, id, revision, reason, parked_at, document) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (exporter, agent, id, revision) DO UPDATE SET reason = excluded.reason, parked_at = excluded.parked_at, resend = 0`,
		p.Exporter, p.Agent, p.ID, int64(p.Revision), p.Reason, micros(p.At), string(text))
	if err != nil {
		return fmt.Errorf("park finding: %w", err)
	}
	return nil
}

// Parked lists what an exporter parked, the oldest first; of all exporters where
// the name is empty.
func (s *Store) Parked(ctx context.Context, exporter string, limit int) ([]Parked, error) {
	return s.parked(ctx, "(? = '' OR exporter = ?)", limit, exporter, exporter)
}

// Resending lists what is to be sent again, the oldest first. The entry of what is
// no longer kept has no finding.
func (s *Store) Resending(ctx context.Context, exporter string, limit int) ([]Parked, error) {
	list, err := s.parked(ctx, "exporter = ? AND resend = 1", limit, exporter)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if p := &list[i]; p.Entry.Agent == "" { // parked by Backfill
			if p.Entry, err = s.entry(ctx, p.Agent, p.ID); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

func (s *Store) parked(ctx context.Context, where string, limit int, args ...any) ([]Parked, error) {
	var list []Parked
	query := "SELECT key, exporter, agent, id, revision, reason, parked_at, resend, document FROM parked WHERE " + where + " ORDER BY key LIMIT ?"
	err := s.each(ctx, query, append(args, limit), func(rows *sql.Rows) error {
		var p Parked
		var at, resend int64
		var text string
		if err := rows.Scan(&p.Key, &p.Exporter, &p.Agent, &p.ID, &p.Revision, &p.Reason, &at, &resend, &text); err != nil {
			return err
		}
		p.At, p.Resend = fromMicros(at), resend != 0
		if text == "" {
			list = append(list, p)
			return nil
		}
		if err := json.Unmarshal([]byte(text), &p.Entry); err != nil {
			return fmt.Errorf("decode parked finding: %w", err)
		}
		list = append(list, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list parked findings: %w", err)
	}
	return list, nil
}

// CountParked counts by exporter.
func (s *Store) CountParked(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	err := s.each(ctx, "SELECT exporter, COUNT(*) FROM parked GROUP BY exporter", nil, func(rows *sql.Rows) error {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			return err
		}
		counts[name] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count parked findings: %w", err)
	}
	return counts, nil
}

// Resend asks for everything an exporter parked to be sent again, and says how
// much that is.
func (s *Store) Resend(ctx context.Context, exporter string) (int, error) {
	n, err := s.exec(ctx, "UPDATE parked SET resend = 1 WHERE exporter = ?", exporter)
	if err != nil {
		return 0, fmt.Errorf("resend parked findings: %w", err)
	}
	return int(n), nil
}

// Unpark removes what was sent after all.
func (s *Store) Unpark(ctx context.Context, key int64) error {
	if _, err := s.exec(ctx, "DELETE FROM parked WHERE key = ?", key); err != nil {
		return fmt.Errorf("remove parked finding: %w", err)
	}
	return nil
}

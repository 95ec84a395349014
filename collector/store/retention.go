package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"
)

// SetLegalHold keeps a finding and its packets whatever their age, or ends that.
func (s *Store) SetLegalHold(ctx context.Context, agent, id string, hold bool) error {
	n, err := s.exec(ctx, "UPDATE findings SET legal_hold = ? WHERE agent = ? AND id = ?", number(hold), agent, id)
	if err != nil {
		return fmt.Errorf("set legal hold: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("finding %s of %s: %w", id, agent, ErrNotFound)
	}
	return nil
}

// Expired is what Retain removed.
type Expired struct{ Findings, Evidence int64 }

const held = " AND NOT EXISTS (SELECT 1 FROM findings f WHERE f.agent = x.agent AND f.id = x.id AND f.legal_hold = 1)"

// Retain removes what is older than the configuration keeps, never what is under
// legal hold.
func (s *Store) Retain(ctx context.Context, now time.Time) (Expired, error) {
	var gone Expired
	err := s.tx(ctx, func(tx *sql.Tx) error {
		remove := func(query string, before int64) (int64, error) {
			res, err := tx.ExecContext(ctx, s.dialect.bind(query), before)
			if err != nil {
				return 0, fmt.Errorf("remove expired: %w", err)
			}
			return res.RowsAffected()
		}
		var err error
		if s.cfg.KeepEvidence > 0 {
			before := micros(now.Add(-s.cfg.KeepEvidence))
			if gone.Evidence, err = remove("DELETE FROM evidence AS x WHERE x.received < ?"+held, before); err != nil {
				return err
			}
		}
		if s.cfg.Keep == 0 {
			return nil
		}
		before := micros(now.Add(-s.cfg.Keep))
		for _, table := range []string{"evidence", "revisions"} {
			if _, err := remove("DELETE FROM "+table+` AS x WHERE EXISTS (SELECT 1 FROM findings f
WHERE f.agent = x.agent AND f.id = x.id AND f.received < ? AND f.legal_hold = 0)`, before); err != nil {
				return err
			}
		}
		if err := s.retainRecord(ctx, tx, before, now); err != nil {
			return err
		}
		gone.Findings, err = remove("DELETE FROM findings WHERE received < ? AND legal_hold = 0", before)
		return err
	})
	return gone, err
}

// retainRecord takes the documents and salts of expired entries out of the
// record; their digests stay, so that the rest can still be verified.
func (s *Store) retainRecord(ctx context.Context, tx *sql.Tx, before int64, now time.Time) error {
	_, err := tx.ExecContext(ctx, s.dialect.bind(`UPDATE record_entries SET document = '', salt = '', removed = ? WHERE kind IN ('finding', 'rejected', 'coverage', 'decision') AND received < ? AND removed = 0
AND NOT EXISTS (SELECT 1 FROM findings f WHERE f.agent = record_entries.agent AND f.id = record_entries.id AND (f.legal_hold = 1 OR f.received >= ?))`),
		micros(now), before, before)
	if err != nil {
		return fmt.Errorf("remove expired record: %w", err)
	}
	_, err = tx.ExecContext(ctx, s.dialect.bind(`DELETE FROM decisions WHERE EXISTS (SELECT 1 FROM findings f
WHERE f.agent = decisions.agent AND f.id = decisions.id AND f.received < ? AND f.legal_hold = 0)`), before)
	if err != nil {
		return fmt.Errorf("remove expired decisions: %w", err)
	}
	return nil
}

// Revision is one revision of a finding as it came.
type Revision struct {
	Revision uint64    `json:"revision"`
	State    string    `json:"state"`
	Severity int64     `json:"severity"` // rank
	Flows    uint64    `json:"flows"`
	Received time.Time `json:"received"`
}

// Revisions lists the revisions of a finding that came, the newest first.
func (s *Store) Revisions(ctx context.Context, agent, id string, limit int) ([]Revision, error) {
	var list []Revision
	err := s.each(ctx, "SELECT revision, state, severity, flows, received FROM revisions WHERE agent = ? AND id = ? ORDER BY revision DESC LIMIT ?",
		[]any{agent, id, limit}, func(rows *sql.Rows) error {
			var r Revision
			var received int64
			if err := rows.Scan(&r.Revision, &r.State, &r.Severity, &r.Flows, &received); err != nil {
				return err
			}
			r.Received = fromMicros(received)
			list = append(list, r)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("list revisions: %w", err)
	}
	return list, nil
}

// countLimit is how far Counts counts: what a person is shown need not be exact
// beyond, and counting ten millions would take seconds.
const countLimit = 100_000

// Counts are the sizes of the store; countLimit+1 says "more than countLimit".
type Counts struct{ Findings, Revisions int64 }

func (c Counts) String() string {
	return counted(c.Findings) + " kept, " + counted(c.Revisions) + " revisions received"
}

func counted(n int64) string {
	if n > countLimit {
		return "more than " + strconv.Itoa(countLimit)
	}
	return strconv.FormatInt(n, 10)
}

// Counts counts findings and the revisions that came, up to a limit.
func (s *Store) Counts(ctx context.Context) (Counts, error) {
	var c Counts
	limit := strconv.Itoa(countLimit + 1)
	err := s.read.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM findings LIMIT "+limit+") x), (SELECT COUNT(*) FROM (SELECT 1 FROM revisions LIMIT "+limit+") x)").
		Scan(&c.Findings, &c.Revisions)
	if err != nil {
		return Counts{}, fmt.Errorf("count findings: %w", err)
	}
	return c, nil
}

// CopyTo writes a copy of a SQLite store as of now, while it is in use.
func (s *Store) CopyTo(ctx context.Context, path string) error {
	if s.dialect.numbered {
		return fmt.Errorf("copy store: it is in PostgreSQL; use pg_dump")
	}
	if _, err := s.read.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return fmt.Errorf("copy store: %w", err)
	}
	return nil
}

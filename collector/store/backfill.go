package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"sallyport/collector/stream"
	"sallyport/rules"
)

// ReasonMissed is why a finding is parked that an exporter did not take from the
// stream in time.
const ReasonMissed = "the stream was trimmed before the exporter took it"

// Backfill has an exporter get, from here, the findings received between two
// times, and says how many. They are parked to be sent again, without their
// document: it is read when they are sent, in its latest revision.
func (s *Store) Backfill(ctx context.Context, exporter string, from, to time.Time) (int, error) {
	n, err := s.exec(ctx, `INSERT INTO parked (exporter, agent, id, revision, reason, parked_at, resend, document)
SELECT ?, agent, id, revision, ?, ?, 1, '' FROM findings WHERE received BETWEEN ? AND ? ORDER BY received
ON CONFLICT (exporter, agent, id, revision) DO NOTHING`,
		exporter, ReasonMissed, micros(time.Now()), micros(from), micros(to))
	if err != nil {
		return 0, fmt.Errorf("backfill exporter: %w", err)
	}
	return int(n), nil
}

// LastReceived is when the last finding came that is kept; zero for none.
func (s *Store) LastReceived(ctx context.Context) (time.Time, error) {
	var us int64
	if err := s.read.QueryRowContext(ctx, "SELECT COALESCE(MAX(received), 0) FROM findings").Scan(&us); err != nil {
		return time.Time{}, fmt.Errorf("read last time of receipt: %w", err)
	}
	return fromMicros(us), nil
}

// entry makes the entry of a finding as it is kept; its finding is nil where
// retention removed it.
func (s *Store) entry(ctx context.Context, agent, id string) (stream.Entry, error) {
	e := stream.Entry{Agent: agent}
	var revision, received int64
	var document string
	err := s.read.QueryRowContext(ctx, s.dialect.bind("SELECT revision, received, document FROM findings WHERE agent = ? AND id = ?"), agent, id).
		Scan(&revision, &received, &document)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return e, nil
	case err != nil:
		return e, fmt.Errorf("read finding: %w", err)
	}
	f := rules.Finding{ID: id, Revision: uint64(revision)}
	e.ID, e.Received, e.Finding = f.MessageID(), fromMicros(received), []byte(document)
	packets, err := s.Evidence(ctx, agent, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return e, nil
	case err != nil:
		return e, err
	}
	e.Finding, err = rules.WithPackets(e.Finding, packets.PCAPNG)
	return e, err
}

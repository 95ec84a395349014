package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Evidence is the packets of a finding.
type Evidence struct {
	Revision uint64 // of the finding they came with
	SHA256   string
	Packets  int
	Content  bool
	PCAPNG   []byte
	Received time.Time
}

// Evidence reads the packets kept for a finding.
func (s *Store) Evidence(ctx context.Context, agent, id string) (Evidence, error) {
	return s.evidence(ctx, "pcapng", agent, id)
}

// EvidenceFacts is Evidence without the packets themselves.
func (s *Store) EvidenceFacts(ctx context.Context, agent, id string) (Evidence, error) {
	return s.evidence(ctx, "NULL", agent, id)
}

func (s *Store) evidence(ctx context.Context, packets, agent, id string) (Evidence, error) {
	var e Evidence
	var content, received int64
	query := "SELECT revision, sha256, packets, content, received, " + packets + " FROM evidence WHERE agent = ? AND id = ?"
	err := s.read.QueryRowContext(ctx, s.dialect.bind(query), agent, id).
		Scan(&e.Revision, &e.SHA256, &e.Packets, &content, &received, &e.PCAPNG)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Evidence{}, fmt.Errorf("evidence of %s: %w", id, ErrNotFound)
	case err != nil:
		return Evidence{}, fmt.Errorf("read evidence: %w", err)
	}
	e.Content, e.Received = content != 0, fromMicros(received)
	return e, nil
}

// Access is one look at what has a log of its own.
type Access struct {
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Subject string    `json:"subject"`
	Address string    `json:"address"`
}

// LogAccess notes a look. What cannot be noted must not be shown.
func (s *Store) LogAccess(ctx context.Context, a Access) error {
	_, err := s.exec(ctx, "INSERT INTO access_log (at, actor, action, subject, address) VALUES (?, ?, ?, ?, ?)",
		micros(a.At), a.Actor, a.Action, a.Subject, a.Address)
	if err != nil {
		return fmt.Errorf("log access: %w", err)
	}
	return nil
}

// AccessLog lists the latest looks.
func (s *Store) AccessLog(ctx context.Context, limit int) ([]Access, error) {
	var list []Access
	err := s.each(ctx, "SELECT at, actor, action, subject, address FROM access_log ORDER BY key DESC LIMIT ?", []any{limit}, func(rows *sql.Rows) error {
		var a Access
		var at int64
		if err := rows.Scan(&at, &a.Actor, &a.Action, &a.Subject, &a.Address); err != nil {
			return err
		}
		a.At = fromMicros(at)
		list = append(list, a)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list access log: %w", err)
	}
	return list, nil
}

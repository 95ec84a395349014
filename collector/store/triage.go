package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// States of triage.
const (
	TriageNew        = "new"
	TriageInProgress = "in_progress"
	TriageClosed     = "closed"
)

// TriageStates and Decisions are what a reviewer may say. A decision may be
// missing while the triage goes on.
var (
	TriageStates = []string{TriageNew, TriageInProgress, TriageClosed}
	Decisions    = []string{"licensed", "benign", "confirmed_contact"}
)

// maxNote and maxAssignee bound what a reviewer writes, in bytes.
const (
	maxNote     = 4000
	maxAssignee = 100
)

// Decision is what a reviewer said of a finding. The last one counts; all are
// kept, and stand in the record.
type Decision struct {
	Key      int64     `json:"key"`
	Agent    string    `json:"agent"`
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	Author   string    `json:"author"`
	State    string    `json:"state"`
	Assignee string    `json:"assignee,omitempty"`
	Decision string    `json:"decision,omitempty"`
	Note     string    `json:"note,omitempty"`
}

// Validate says what a reviewer must write instead.
func (d Decision) Validate() error {
	switch {
	case !slices.Contains(TriageStates, d.State):
		return fmt.Errorf("state %q is unknown; give new, in_progress or closed", d.State)
	case d.Decision != "" && !slices.Contains(Decisions, d.Decision):
		return fmt.Errorf("decision %q is unknown; give licensed, benign or confirmed_contact", d.Decision)
	case d.State == TriageClosed && d.Decision == "":
		return errors.New("a closed finding needs a decision: licensed, benign or confirmed_contact")
	case d.Decision == "licensed" && d.Note == "":
		return errors.New("licensed needs a note that names the licence")
	case len(d.Note) > maxNote:
		return fmt.Errorf("the note is longer than %d bytes", maxNote)
	case len(d.Assignee) > maxAssignee:
		return fmt.Errorf("the assignee is longer than %d bytes", maxAssignee)
	}
	return nil
}

// Decide keeps a decision and gives it its key.
func (s *Store) Decide(ctx context.Context, d Decision) (Decision, error) {
	d.At = d.At.UTC().Truncate(time.Microsecond)
	err := s.tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, s.dialect.bind("UPDATE findings SET triage = ?, assignee = ?, decision = ? WHERE agent = ? AND id = ?"),
			d.State, d.Assignee, d.Decision, d.Agent, d.ID)
		if err != nil {
			return fmt.Errorf("set triage: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("finding %s of %s: %w", d.ID, d.Agent, ErrNotFound))
		}
		err = tx.QueryRowContext(ctx, s.dialect.bind(`INSERT INTO decisions (agent, id, at, author, state, assignee, decision, note)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING key`), d.Agent, d.ID, micros(d.At), d.Author, d.State, d.Assignee, d.Decision, d.Note).Scan(&d.Key)
		if err != nil {
			return fmt.Errorf("keep decision: %w", err)
		}
		return nil
	})
	return d, err
}

// DecisionsOf lists what reviewers said of a finding, the last first.
func (s *Store) DecisionsOf(ctx context.Context, agent, id string) ([]Decision, error) {
	return s.decisions(ctx, "agent = ? AND id = ? ORDER BY key DESC", agent, id)
}

// DecisionsAfter lists decisions by their keys.
func (s *Store) DecisionsAfter(ctx context.Context, key int64, limit int) ([]Decision, error) {
	return s.decisions(ctx, "key > ? ORDER BY key LIMIT ?", key, limit)
}

// Unrecorded lists decisions that the record has not.
func (s *Store) Unrecorded(ctx context.Context, limit int) ([]Decision, error) {
	return s.decisions(ctx, `NOT EXISTS (SELECT 1 FROM record_entries r WHERE r.kind = 'decision' AND r.agent = decisions.agent AND r.id = decisions.id
AND r.revision = decisions.key) ORDER BY key LIMIT ?`, limit)
}

func (s *Store) decisions(ctx context.Context, where string, args ...any) ([]Decision, error) {
	var list []Decision
	err := s.each(ctx, "SELECT key, agent, id, at, author, state, assignee, decision, note FROM decisions WHERE "+where, args, func(rows *sql.Rows) error {
		var d Decision
		var at int64
		if err := rows.Scan(&d.Key, &d.Agent, &d.ID, &at, &d.Author, &d.State, &d.Assignee, &d.Decision, &d.Note); err != nil {
			return err
		}
		d.At = fromMicros(at)
		list = append(list, d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list decisions: %w", err)
	}
	return list, nil
}

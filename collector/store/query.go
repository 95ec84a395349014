package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"sallyport/rules"
)

// ErrCursor is returned for a cursor that no page gave.
var ErrCursor = errors.New("not a cursor of this list")

// MaxPage bounds how many findings one page holds.
const MaxPage = 500

// Query selects findings. A zero field selects all.
type Query struct {
	Text       string // words, all of which must be found
	Severity   rules.Severity
	ID         string
	Agent      string
	Host       string
	Rule       string
	Entity     string // id
	Protocol   string
	Direction  string
	Outcome    string
	State      string
	Remote     string // address
	Executable string
	User       string
	Pod        string // namespace/name
	Triage     string // state
	Assignee   string
	Decision   string
	Test       *bool
	Suppressed *bool
	From, To   time.Time // of the last flow
	Cursor     string    // of the page before
	Limit      int
}

// Finding is a finding as it is kept, without its packets.
type Finding struct {
	Received  time.Time     `json:"received"` // of its last revision
	LegalHold bool          `json:"legal_hold,omitempty"`
	Triage    string        `json:"triage"` // new, in_progress or closed
	Assignee  string        `json:"assignee,omitempty"`
	Decision  string        `json:"decision,omitempty"` // licensed, benign or confirmed_contact
	Finding   rules.Finding `json:"finding"`
	// Reporter is the agent whose certificate sent it.
	Reporter string `json:"reporter"`
}

// Page is a part of a list, newest first. Next is empty on the last.
type Page struct {
	Findings []Finding `json:"findings"`
	Next     string    `json:"next,omitempty"`
}

const findingColumns = "f.key, f.agent, f.received, f.legal_hold, f.triage, f.assignee, f.decision, f.document"

// Findings lists what q selects, the latest flow first.
func (s *Store) Findings(ctx context.Context, q Query) (Page, error) {
	if q.Limit <= 0 || q.Limit > MaxPage {
		q.Limit = MaxPage
	}
	p, err := s.plan(ctx, q)
	if err != nil {
		return Page{}, err
	}
	query := "SELECT " + findingColumns + " FROM " + p.from + p.condition() + " ORDER BY " + p.key + " DESC LIMIT " + strconv.Itoa(q.Limit+1)
	var page Page
	var next int64
	err = s.each(ctx, query, p.args, func(rows *sql.Rows) error {
		f, key, err := scanFinding(rows)
		if err != nil {
			return err
		}
		if len(page.Findings) == q.Limit {
			page.Next = encodeCursor(next)
			return nil
		}
		next = key
		page.Findings = append(page.Findings, f)
		return nil
	})
	if err != nil {
		return Page{}, fmt.Errorf("list findings: %w", err)
	}
	return page, nil
}

// Finding reads one finding.
func (s *Store) Finding(ctx context.Context, agent, id string) (Finding, error) {
	page, err := s.Findings(ctx, Query{Agent: agent, ID: id, Limit: 1})
	if err != nil {
		return Finding{}, err
	}
	if len(page.Findings) == 0 {
		return Finding{}, fmt.Errorf("finding %s of %s: %w", id, agent, ErrNotFound)
	}
	return page.Findings[0], nil
}

// scanFinding reads findingColumns and what is selected after them, and gives the
// key too.
func scanFinding(rows *sql.Rows, more ...any) (Finding, int64, error) {
	var f Finding
	var key, received, hold int64
	var document string
	into := append([]any{&key, &f.Reporter, &received, &hold, &f.Triage, &f.Assignee, &f.Decision, &document}, more...)
	if err := rows.Scan(into...); err != nil {
		return Finding{}, 0, err
	}
	if err := json.Unmarshal([]byte(document), &f.Finding); err != nil {
		return Finding{}, 0, fmt.Errorf("decode finding: %w", err)
	}
	f.Received, f.LegalHold = fromMicros(received), hold != 0
	return f, key, nil
}

func encodeCursor(key int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(key, 10)))
}

func decodeCursor(text string) (int64, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return 0, ErrCursor
	}
	key, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, ErrCursor
	}
	return key, nil
}

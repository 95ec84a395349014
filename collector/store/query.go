package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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

const findingColumns = "f.key, f.agent, f.last_seen, f.received, f.legal_hold, f.triage, f.assignee, f.decision, f.document"

// Findings lists what q selects, the latest flow first.
func (s *Store) Findings(ctx context.Context, q Query) (Page, error) {
	if q.Limit <= 0 || q.Limit > MaxPage {
		q.Limit = MaxPage
	}
	where, args, err := s.conditions(q)
	if err != nil {
		return Page{}, err
	}
	query := "SELECT " + findingColumns + " FROM findings f" + where + " ORDER BY f.last_seen DESC, f.key DESC LIMIT " + strconv.Itoa(q.Limit+1)
	var page Page
	var next [2]int64
	err = s.each(ctx, query, args, func(rows *sql.Rows) error {
		f, at, err := scanFinding(rows)
		if err != nil {
			return err
		}
		if len(page.Findings) == q.Limit {
			page.Next = encodeCursor(next)
			return nil
		}
		next = at
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

// scanFinding reads findingColumns and what is selected after them.
func scanFinding(rows *sql.Rows, more ...any) (Finding, [2]int64, error) {
	var f Finding
	var key, last, received, hold int64
	var document string
	into := append([]any{&key, &f.Reporter, &last, &received, &hold, &f.Triage, &f.Assignee, &f.Decision, &document}, more...)
	if err := rows.Scan(into...); err != nil {
		return Finding{}, [2]int64{}, err
	}
	if err := json.Unmarshal([]byte(document), &f.Finding); err != nil {
		return Finding{}, [2]int64{}, fmt.Errorf("decode finding: %w", err)
	}
	f.Received, f.LegalHold = fromMicros(received), hold != 0
	return f, [2]int64{last, key}, nil
}

// conditions builds the WHERE clause.
func (s *Store) conditions(q Query) (string, []any, error) {
	var where []string
	var args []any
	add := func(cond string, a ...any) {
		where = append(where, cond)
		args = append(args, a...)
	}
	for _, c := range []struct{ column, value string }{
		{"id", q.ID}, {"agent", q.Agent}, {"host", q.Host}, {"rule", q.Rule}, {"protocol", q.Protocol}, {"direction", q.Direction},
		{"outcome", q.Outcome}, {"state", q.State}, {"remote", q.Remote}, {"executable", q.Executable}, {"username", q.User}, {"pod", q.Pod},
		{"triage", q.Triage}, {"assignee", q.Assignee}, {"decision", q.Decision},
	} {
		if c.value != "" {
			add("f."+c.column+" = ?", c.value)
		}
	}
	if q.Severity != "" {
		add("f.severity >= ?", Rank(q.Severity))
	}
	if q.Entity != "" {
		add("f.key IN (SELECT key FROM finding_entities WHERE entity = ?)", q.Entity)
	}
	if q.Test != nil {
		add("f.test = ?", number(*q.Test))
	}
	if q.Suppressed != nil {
		add("f.suppressed = ?", number(*q.Suppressed))
	}
	if !q.From.IsZero() {
		add("f.last_seen >= ?", micros(q.From))
	}
	if !q.To.IsZero() {
		add("f.last_seen < ?", micros(q.To))
	}
	if text := s.dialect.search(q.Text); text != "" {
		add(s.dialect.words, text)
	}
	if q.Cursor != "" {
		at, err := decodeCursor(q.Cursor)
		if err != nil {
			return "", nil, err
		}
		add("(f.last_seen, f.key) < (?, ?)", at[0], at[1])
	}
	if len(where) == 0 {
		return "", nil, nil
	}
	return " WHERE " + strings.Join(where, " AND "), args, nil
}

func encodeCursor(at [2]int64) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", at[0], at[1]))
}

func decodeCursor(text string) ([2]int64, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return [2]int64{}, ErrCursor
	}
	last, key, ok := strings.Cut(string(raw), ".")
	if !ok {
		return [2]int64{}, ErrCursor
	}
	l, err1 := strconv.ParseInt(last, 10, 64)
	k, err2 := strconv.ParseInt(key, 10, 64)
	if err1 != nil || err2 != nil {
		return [2]int64{}, ErrCursor
	}
	return [2]int64{l, k}, nil
}

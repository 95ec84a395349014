package store

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"sallyport/rules"
)

// maxText bounds what a person searches for, in bytes.
const maxText = 500

// parameters of a query that are texts compared as they are.
func (q *Query) texts() map[string]*string {
	return map[string]*string{
		"q": &q.Text, "id": &q.ID, "agent": &q.Agent, "host": &q.Host, "rule": &q.Rule, "entity": &q.Entity, "protocol": &q.Protocol,
		"direction": &q.Direction, "outcome": &q.Outcome, "state": &q.State, "remote": &q.Remote, "executable": &q.Executable,
		"user": &q.User, "pod": &q.Pod, "triage": &q.Triage, "assignee": &q.Assignee, "decision": &q.Decision, "cursor": &q.Cursor,
	}
}

// ParseQuery reads a query from the parameters of a URL. Unknown parameters are
// refused: a misspelt filter would show too much.
func ParseQuery(v url.Values) (Query, error) {
	q := Query{Limit: 50}
	texts := q.texts()
	for name := range v {
		value := v.Get(name)
		if value == "" {
			continue
		}
		if len(value) > maxText {
			return q, fmt.Errorf("%s is longer than %d bytes", name, maxText)
		}
		if field, ok := texts[name]; ok {
			*field = value
			continue
		}
		if err := q.set(name, value); err != nil {
			return q, err
		}
	}
	if q.Remote != "" {
		a, err := netip.ParseAddr(q.Remote)
		if err != nil {
			return q, fmt.Errorf("remote %q is not an address", q.Remote)
		}
		q.Remote = a.String()
	}
	return q, nil
}

// set reads the parameters that are not texts.
func (q *Query) set(name, value string) (err error) {
	switch name {
	case "severity":
		if q.Severity = rules.Severity(value); Rank(q.Severity) == 0 {
			return fmt.Errorf("severity %q is unknown; give info, low, medium, high or critical", value)
		}
	case "test":
		q.Test, err = parseBool(name, value)
	case "suppressed":
		q.Suppressed, err = parseBool(name, value)
	case "from":
		q.From, err = ParseTime(name, value)
	case "to":
		q.To, err = ParseTime(name, value)
	case "limit":
		if q.Limit, err = strconv.Atoi(value); err != nil || q.Limit < 1 || q.Limit > MaxPage {
			return fmt.Errorf("limit must lie between 1 and %d", MaxPage)
		}
	default:
		return fmt.Errorf("parameter %q is unknown", name)
	}
	return err
}

func parseBool(name, value string) (*bool, error) {
	b, err := strconv.ParseBool(value)
	if err != nil {
		return nil, fmt.Errorf("%s must be true or false", name)
	}
	return &b, nil
}

// ParseTime reads RFC 3339, or a date, which begins in UTC.
func ParseTime(name, value string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, value); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %q is not a time; write 2025-01-03 or 2025-01-03T15:04:05Z", name, value)
}

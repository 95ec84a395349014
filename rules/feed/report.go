package feed

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// shownRejections bounds the rejected rows a report holds; the rest is counted.
const shownRejections = 1000

// Rejection is a row that could not be used.
type Rejection struct {
	Document string `json:"document,omitempty"` // where a feed has several
	Line     int    `json:"line"`
	Value    string `json:"value"`
	Reason   string `json:"reason"`
}

// Report counts what an import did.
type Report struct {
	Kind       string         `json:"kind"`
	From       string         `json:"from"`
	Rows       int            `json:"rows"`       // rows or objects that could have held a value
	Accepted   int            `json:"accepted"`   // became an indicator or an entity
	Duplicates int            `json:"duplicates"` // said nothing new
	Rejected   int            `json:"rejected"`
	Reasons    map[string]int `json:"reasons,omitempty"` // rejected rows by reason
	Rejections []Rejection    `json:"rejections,omitempty"`
	Notes      []string       `json:"notes,omitempty"` // columns ignored and the like
}

func (r *Report) reject(document string, line int, value, reason string) {
	r.Rejected++
	if r.Reasons == nil {
		r.Reasons = map[string]int{}
	}
	class, _, _ := strings.Cut(reason, ": ")
	if len(r.Reasons) < 200 || r.Reasons[class] > 0 {
		r.Reasons[class]++
	}
	if len(r.Rejections) < shownRejections {
		r.Rejections = append(r.Rejections, Rejection{document, line, printable(value, 200), reason})
	}
}

// note adds a remark once.
func (r *Report) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	if len(r.Notes) < 100 && !slices.Contains(r.Notes, n) {
		r.Notes = append(r.Notes, n)
	}
}

// WriteTo prints the report for a person.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d rows, %d accepted, %d duplicates, %d rejected\n", r.From, r.Rows, r.Accepted, r.Duplicates, r.Rejected)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
		fmt.Fprintf(&b, "  %6d rejected: %s\n", r.Reasons[reason], reason)
	}
	for _, x := range r.Rejections {
		where := fmt.Sprintf("line %d", x.Line)
		if x.Document != "" {
			where = x.Document + " " + where
		}
		fmt.Fprintf(&b, "  %s: %q: %s\n", where, x.Value, x.Reason)
	}
	if more := r.Rejected - len(r.Rejections); more > 0 {
		fmt.Fprintf(&b, "  and %d more\n", more)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// printable makes a value of a feed safe to show: no control characters, and
// not longer than limit.
func printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0xfffd {
			return ' '
		}
		return r
	}, s)
}

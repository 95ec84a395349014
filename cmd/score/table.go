package main

import (
	"fmt"
	"io"
	"sort"
	"strings"
)

// printTable shows the first score whole and the others' precision, recall and
// F1 beside it, then a line of totals for each.
func printTable(w io.Writer, scores []*score) {
	fmt.Fprintf(w, "%-22s %6s %7s %5s %5s %5s", "", "", "", "", "", "")
	for _, s := range scores {
		fmt.Fprintf(w, " | %-20s", s.tool)
	}
	fmt.Fprintf(w, "\n%-22s %6s %7s %5s %5s %5s", "category", "flows", "files", "TP", "FP", "FN")
	for range scores {
		fmt.Fprintf(w, " | %6s %6s %6s", "prec", "recall", "F1")
	}
	fmt.Fprintln(w)
	for _, name := range names(scores) {
		c := scores[0].category(name)
		fmt.Fprintf(w, "%-22s %6d %7s %5d %5d %5d", name, c.flows, fmt.Sprintf("%d/%d", len(c.seen), len(c.captures)), c.right, c.wrong, c.missed)
		for _, s := range scores {
			c := s.category(name)
			fmt.Fprintf(w, " | %6.3f %6.3f %6.3f", c.precision(), c.recall(), c.f1())
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	for _, s := range scores {
		printTotals(w, s)
	}
}

func printTotals(w io.Writer, s *score) {
	macro, n := s.macro()
	t := s.total()
	fmt.Fprintf(w, "%s: macro F1 %.4f over %d categories; micro precision %.4f recall %.4f F1 %.4f; false positives among %d negatives (%d with payload): %d (%d without payload)%s\n",
		s.tool, macro, n, t.precision(), t.recall(), t.f1(), s.negatives, s.negativesPayload, s.falseOnNegatives, s.falseNoData, falseLabels(s))
}

func falseLabels(s *score) string {
	var parts []string
	for label, n := range s.falseLabels {
		parts = append(parts, fmt.Sprintf("%s %d", label, n))
	}
	if len(parts) == 0 {
		return ""
	}
	sort.Strings(parts)
	return ": " + strings.Join(parts, ", ")
}

// printMistakes shows what the first tool got wrong, and what was left out.
func printMistakes(w io.Writer, s *score, most int) {
	fmt.Fprintf(w, "\nnot scored because the label is ambiguous: %d; predictions about flows without a label: %d (%d identified)\n", s.ambiguous, s.unmatched, s.unmatchedIdentified)
	fmt.Fprintf(w, "right answers that are suspected only, and count as right: %d of %d\n", s.suspected, s.total().right)
	for _, m := range s.mistakes[:min(most, len(s.mistakes))] {
		fmt.Fprintf(w, "wrong: %s protocol %d %s:%d %s:%d: label %s, said %s\n", m.flow.capture, m.flow.proto, m.flow.a.addr, m.flow.a.port, m.flow.b.addr, m.flow.b.port, m.want, m.have)
	}
	if left := len(s.mistakes) - most; left > 0 {
		fmt.Fprintf(w, "and %d more (-errors %d)\n", left, len(s.mistakes))
	}
}

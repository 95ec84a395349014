package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// output is how a list is shown: "table" for people, "json" for programs.
type output struct {
	format *string
	w      io.Writer
}

func outputFlag(cmd *cobra.Command, w io.Writer) output {
	return output{cmd.Flags().StringP("output", "o", "table", "table or json"), w}
}

// show prints rows as a table, or v as JSON.
func (o output) show(v any, header []string, rows [][]string) error {
	switch *o.format {
	case "json":
		e := json.NewEncoder(o.w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "table":
	default:
		return fmt.Errorf("output %q is unknown; give table or json", *o.format)
	}
	t := tabwriter.NewWriter(o.w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, r := range rows {
		for i := range r {
			r[i] = printable(r[i])
		}
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// printable keeps what came from outside from steering the terminal.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

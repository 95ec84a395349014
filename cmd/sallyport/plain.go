package main

import (
	"strconv"
	"strings"
	"unicode"
)

// plain makes a text safe for a terminal: values come from packs, captures and
// the command line, and may hold control sequences.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\uFFFD' {
			return '?'
		}
		return r
	}, text)
}

// percent prints a share without needless zeros.
func percent(share float64) string { return strconv.FormatFloat(share, 'f', -1, 64) + " %" }

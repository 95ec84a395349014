package export

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// cutMark ends a value that was cut.
const cutMark = "..."

// cut shortens s to limit characters, and shows it.
func cut(s string, limit int) string {
	if len(s) <= limit || utf8.RuneCountInString(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n == limit-len(cutMark) {
			return s[:i] + cutMark
		}
		n++
	}
	return s
}

// clean replaces what could end a line, steer a terminal or reorder text on
// screen by spaces, and what is not UTF-8 by U+FFFD. keep are control characters
// that the caller escapes itself.
func clean(s, keep string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(keep, r) {
			return r
		}
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

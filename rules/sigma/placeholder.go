package sigma

import (
	"fmt"
	"strings"
)

// expandPlaceholders replaces each %name% by each of its values. A percent sign
// after a backslash is plain.
func expandPlaceholders(s string, values map[string][]string) ([]string, error) {
	parts, err := splitPlaceholders(s)
	if err != nil {
		return nil, err
	}
	out := []string{""}
	for _, p := range parts {
		with := []string{p.text}
		if p.name {
			if with = values[p.text]; len(with) == 0 {
				return nil, fmt.Errorf("placeholder %%%s%% has no values: give it some, or leave the rule out", p.text)
			}
		}
		if len(out)*len(with) > maxValues {
			return nil, fmt.Errorf("placeholders stand for more than %d values", maxValues)
		}
		out = product(out, with)
	}
	return out, nil
}

func product(heads, tails []string) []string {
	out := make([]string, 0, len(heads)*len(tails))
	for _, h := range heads {
		for _, t := range tails {
			out = append(out, h+t)
		}
	}
	return out
}

type placeholderPart struct {
	text string
	name bool
}

func splitPlaceholders(s string) ([]placeholderPart, error) {
	var out []placeholderPart
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '%':
			b.WriteByte('%')
			i++
		case s[i] == '\\' && i+1 < len(s):
			b.WriteString(s[i : i+2]) // an escape of the pattern: not ours to read
			i++
		case s[i] == '%':
			end := strings.IndexByte(s[i+1:], '%')
			if end < 1 {
				return nil, fmt.Errorf("%q holds a %% that neither begins nor ends a placeholder: write \\%%", s)
			}
			out = append(out, placeholderPart{text: b.String()}, placeholderPart{text: s[i+1 : i+1+end], name: true})
			b.Reset()
			i += end + 1
		default:
			b.WriteByte(s[i])
		}
	}
	return append(out, placeholderPart{text: b.String()}), nil
}

package export

import (
	"strconv"
	"strings"

	"sallyport/rules"
)

// summary is the finding in one sentence: what its first match states, else its
// title.
func summary(f *rules.Finding) string {
	if len(f.Matches) > 0 && f.Matches[0].Statement != "" {
		return f.Title + ": " + f.Matches[0].Statement
	}
	return f.Title
}

// subject names a finding among those of all agents: no agent can stand in the
// way of another's by its id.
func subject(f *rules.Finding) string { return f.Agent.Name + "/" + f.ID }

// revision names one revision of it.
func revision(f *rules.Finding) string { return f.Agent.Name + "/" + f.MessageID() }

// designation is a legal act in a few words.
func designation(d rules.DesignationRef) string {
	var parts []string
	for _, p := range []string{d.Authority, d.List, d.Programme, d.Designated} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	text := strings.Join(parts, " ")
	if d.Lifted != "" {
		text += " (lifted " + d.Lifted + ")"
	}
	return text
}

// entities names each matched entity once.
func entities(matches []rules.Match) []string {
	return each(matches, func(m rules.Match) []string { return []string{m.Entity.Name} })
}

// acts names each legal act behind the matches once.
func acts(matches []rules.Match) []string {
	return each(matches, func(m rules.Match) []string {
		var out []string
		for _, d := range m.Designations {
			out = append(out, designation(d))
		}
		return out
	})
}

// indicators names each indicator once, as TYPE:VALUE.
func indicators(matches []rules.Match) []string {
	return each(matches, func(m rules.Match) []string { return []string{m.Indicator.Type + ":" + m.Indicator.Value} })
}

// each collects words without repeats, in order.
func each(matches []rules.Match, words func(rules.Match) []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, m := range matches {
		for _, w := range words(m) {
			if w != "" && !seen[w] {
				seen[w] = true
				out = append(out, w)
			}
		}
	}
	return out
}

func decimal[T ~uint16 | ~uint32 | ~uint64](n T) string { return strconv.FormatUint(uint64(n), 10) }

// number is n in decimal, "" for 0, which means that it is not known.
func number[T ~uint16 | ~uint32 | ~uint64](n T) string {
	if n == 0 {
		return ""
	}
	return decimal(n)
}

// truth is "true" or nothing.
func truth(b bool) string {
	if b {
		return "true"
	}
	return ""
}

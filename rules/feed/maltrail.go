package feed

import (
	"context"
	"errors"
	"strings"

	"sallyport/rules"
)

// readMaltrail reads a trail file: one trail a line, "# Reference:" lines before
// the trails they vouch for, other comments of no meaning to us.
func readMaltrail(ctx context.Context, j *job) error {
	var references []string
	inTrails := false
	return eachLine(ctx, j, func(line int, s string) error {
		if ref, ok := strings.CutPrefix(strings.TrimSpace(s), "# Reference:"); ok {
			if inTrails {
				references, inTrails = nil, false
			}
			references = append(references, strings.TrimSpace(ref))
			return nil
		}
		trail := withoutComment(s)
		if trail == "" {
			return nil
		}
		inTrails = true
		j.report.Rows++
		in, err := maltrailTrail(trail)
		if err != nil {
			j.reject(line, trail, reason(err))
			return nil
		}
		if len(references) > 0 && in.Note == "" {
			in.Note = "reference: " + strings.Join(references[:min(len(references), 2)], ", ")
		}
		return j.add(line, trail, in)
	})
}

func maltrailTrail(trail string) (rules.Indicator, error) {
	if strings.ContainsAny(trail, "*\\()[]") && !strings.HasPrefix(trail, "[") && !strings.HasPrefix(trail, "*.") {
		return rules.Indicator{}, errors.New("a trail that is a regular expression")
	}
	return guess(trail, rules.TypeTLSSHA1)
}

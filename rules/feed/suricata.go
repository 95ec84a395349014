package feed

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"sallyport/rules"
)

// readSuricata reads a dataset (one value a line, texts in base64, an optional
// reputation after a comma) or an iprep file (address or prefix, category,
// score). Suricata itself does not say in the file which one it is; three
// columns whose last two are numbers are iprep.
func readSuricata(ctx context.Context, j *job) error {
	return eachLine(ctx, j, func(line int, s string) error {
		s = strings.TrimSpace(s)
		if s == "" || strings.HasPrefix(s, "#") {
			return nil
		}
		j.report.Rows++
		if strings.HasPrefix(s, "{") {
			j.reject(line, s, "a JSON dataset, which is not supported: export it as plain values")
			return nil
		}
		in, err := j.suricataRow(s)
		if err != nil {
			j.reject(line, s, reason(err))
			return nil
		}
		return j.add(line, s, in)
	})
}

func (j *job) suricataRow(s string) (rules.Indicator, error) {
	cells := strings.Split(s, ",")
	value := strings.TrimSpace(cells[0])
	if len(cells) == 3 {
		return iprep(value, strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2]))
	}
	if len(cells) > 3 {
		return rules.Indicator{}, fmt.Errorf("a row of %d columns, which is neither a dataset's nor iprep's", len(cells))
	}
	if in, ok := guessAddress(value); ok {
		return in, nil
	}
	if text, err := base64.StdEncoding.DecodeString(value); err == nil && !isHex(value, 32) && !isHex(value, 40) && !isHex(value, 64) {
		value = string(text)
	}
	return guess(value, j.req.Type)
}

// iprep scores run from 1 to 127; 0 takes a reputation away.
func iprep(value, category, score string) (rules.Indicator, error) {
	in, ok := guessAddress(value)
	if !ok {
		return in, fmt.Errorf("%q is not an address or prefix", printable(value, 60))
	}
	c, err := strconv.Atoi(category)
	if err != nil || c < 1 || c > 60 {
		return in, fmt.Errorf("category %q is not 1 to 60", printable(category, 20))
	}
	n, err := strconv.Atoi(score)
	if err != nil || n < 0 || n > 127 {
		return in, fmt.Errorf("score %q is not 0 to 127", printable(score, 20))
	}
	if n == 0 {
		return in, fmt.Errorf("score 0: the source holds nothing against it")
	}
	in.Note = fmt.Sprintf("reputation score %d in category %d", n, c)
	return in, nil
}

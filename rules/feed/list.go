package feed

import "context"

// readList reads one value a line: address, prefix, name, URL, address or name
// with a port, fingerprint. Comments begin with #, ; or //.
func readList(ctx context.Context, j *job) error {
	return eachLine(ctx, j, func(line int, s string) error {
		value := withoutComment(s)
		if value == "" {
			return nil
		}
		j.report.Rows++
		in, err := guess(value, j.req.Type)
		if err != nil {
			j.reject(line, value, reason(err))
			return nil
		}
		return j.add(line, value, in)
	})
}

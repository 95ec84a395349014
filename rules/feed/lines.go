package feed

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
)

// maxLine bounds a line of a text feed.
const maxLine = 1 << 20

// eachLine reads the feed line by line, without byte order mark and line ends.
func eachLine(ctx context.Context, j *job, do func(line int, s string) error) error {
	r, err := j.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	return scanLines(ctx, r, do)
}

func scanLines(ctx context.Context, r io.Reader, do func(line int, s string) error) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 64<<10), maxLine)
	line := 0
	for scanner.Scan() {
		line++
		if line%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := scanner.Bytes()
		if line == 1 {
			b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
		}
		if err := do(line, strings.TrimRight(string(b), "\r")); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("line %d: %w", line+1, err)
	}
	return nil
}

// withoutComment cuts a comment at the line's start or after white space.
func withoutComment(s string) string {
	for _, mark := range []string{"#", ";", "//"} {
		if strings.HasPrefix(strings.TrimSpace(s), mark) {
			return ""
		}
		for _, space := range []string{" ", "\t"} {
			if i := strings.Index(s, space+mark); i >= 0 {
				s = s[:i]
			}
		}
	}
	return strings.TrimSpace(s)
}

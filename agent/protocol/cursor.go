package protocol

import "strings"

// cursor reads big-endian fields from hostile bytes. A read past the end
// yields zero values and clears ok for good, so that a parser tests ok once.
type cursor struct {
	b  []byte
	ok bool
}

func newCursor(b []byte) cursor { return cursor{b: b, ok: true} }

// take gives the next n bytes, nil when there are fewer.
func (c *cursor) take(n int) []byte {
	if !c.ok || n < 0 || n > len(c.b) {
		c.ok = false
		return nil
	}
	part := c.b[:n:n]
	c.b = c.b[n:]
	return part
}

// uint reads a number of n bytes, n at most 4.
func (c *cursor) uint(n int) int {
	v := 0
	for _, x := range c.take(n) {
		v = v<<8 | int(x)
	}
	return v
}

// vector reads a length of n bytes and as many bytes as it says.
func (c *cursor) vector(n int) []byte { return c.take(c.uint(n)) }

// begins says whether b starts with magic, or is itself the start of magic: a
// first segment may be a single byte.
func begins(b []byte, magic string) bool {
	n := min(len(b), len(magic))
	return n > 0 && string(b[:n]) == magic[:n]
}

// starts says whether b starts with the whole of magic.
func starts(b []byte, magic string) bool {
	return len(b) >= len(magic) && string(b[:len(magic)]) == magic
}

// only says whether every byte of b is in set.
func only(b []byte, set string) bool {
	for _, c := range b {
		if strings.IndexByte(set, c) < 0 {
			return false
		}
	}
	return true
}

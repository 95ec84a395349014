package protocol

// Limits of what one step of a counter may be: datagrams overtake each other by
// a few places, and some are lost.
const (
	sequenceBack  = 64
	sequenceAhead = 1 << 16
	sequenceStep  = 32 // on average, of counters that count packets
)

// sequence follows the counter that a tunnel puts into each datagram of one
// direction. The zero value is ready.
type sequence struct {
	first, last uint64
	n           int
}

// add takes the next value and says whether it can follow the ones before: no
// repetition of the last, a little back, not far ahead.
func (s *sequence) add(v uint64) bool {
	if s.n == 0 {
		s.first, s.last, s.n = v, v, 1
		return true
	}
	if v == s.last || v+sequenceBack < s.last || v > s.last+sequenceAhead {
		return false
	}
	s.last = v
	s.n++
	return true
}

// steady says that the values went up about as packets do, one each: what grows
// faster is a clock, or the bytes sent.
func (s *sequence) steady() bool { return s.last-s.first <= sequenceStep*uint64(s.n) }

// rising says that at least n values came and that they went up.
func (s *sequence) rising(n int) bool { return s.n >= n && s.last > s.first }

package flow

// maxRanges bounds the holes of a stream; what would need more is dropped.
const maxRanges = 16

// span is a run of bytes that has come: from, to are offsets into the stream.
type span struct{ from, to int }

// stream assembles one direction of a TCP flow. What came first stays: a
// retransmission with other bytes changes nothing.
type stream struct {
	known bool   // base is set
	base  uint32 // sequence number of data[0]
	data  []byte // has holes beyond ready
	have  []span // sorted, apart from each other
}

func (s *stream) reset() {
	s.known, s.base = false, 0
	s.data, s.have = s.data[:0], s.have[:0]
}

// start sets the sequence number of the first byte, once.
func (s *stream) start(seq uint32) {
	if !s.known {
		s.known, s.base = true, seq
	}
}

// ready is what has come in order from the first byte.
func (s *stream) ready() []byte {
	if len(s.have) == 0 || s.have[0].from != 0 {
		return nil
	}
	return s.data[:s.have[0].to]
}

// add takes a segment and says whether ready has grown. full: a hole too many,
// the segment is dropped.
func (s *stream) add(seq uint32, payload []byte, limit int) (grown, full bool) {
	s.start(seq)
	from := int(int32(seq - s.base))
	if from < 0 {
		if -from >= len(payload) {
			return false, false
		}
		payload, from = payload[-from:], 0
	}
	to := min(from+len(payload), limit)
	if from >= to {
		return false, false
	}
	before := len(s.ready())
	if to <= before {
		return false, false
	}
	if from == before && from == len(s.data) { // in order, nothing waits: the common case
		s.data = append(s.data, payload[:to-from]...)
		s.have = append(s.have[:0], span{0, to})
		return true, false
	}
	if len(s.have) == maxRanges {
		return false, true
	}
	s.fill(from, to, payload)
	s.join(span{from, to})
	return len(s.ready()) > before, false
}

// fill copies what has not come before.
func (s *stream) fill(from, to int, payload []byte) {
	if to > len(s.data) {
		s.data = grow(s.data, to)
	}
	at := from
	for _, h := range s.have {
		if h.from >= to {
			break
		}
		if h.from > at {
			copy(s.data[at:h.from], payload[at-from:])
		}
		at = max(at, h.to)
	}
	if at < to {
		copy(s.data[at:to], payload[at-from:])
	}
}

// join adds a span and merges what touches it.
func (s *stream) join(n span) {
	kept := 0
	placed := false
	var merged [maxRanges + 1]span
	for _, h := range s.have {
		switch {
		case h.to < n.from:
			merged[kept] = h
			kept++
		case h.from > n.to:
			if !placed {
				merged[kept] = n
				kept, placed = kept+1, true
			}
			merged[kept] = h
			kept++
		default:
			n.from, n.to = min(n.from, h.from), max(n.to, h.to)
		}
	}
	if !placed {
		merged[kept] = n
		kept++
	}
	s.have = append(s.have[:0], merged[:kept]...)
}

// consume drops the first n ready bytes.
func (s *stream) consume(n int) {
	s.base += uint32(n)
	s.data = s.data[:copy(s.data, s.data[n:])]
	kept := s.have[:0]
	for _, h := range s.have {
		if h.to > n {
			kept = append(kept, span{max(h.from-n, 0), h.to - n})
		}
	}
	s.have = kept
}

func grow(b []byte, n int) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	bigger := make([]byte, n, max(n, 2*cap(b)))
	copy(bigger, b)
	return bigger
}

package protocol

// dtlsHeader is the length of a DTLS record header: type, version, epoch,
// sequence number, length (RFC 6347 section 4.1).
const dtlsHeader = 13

// dtlsBadVersion is the version that OpenSSL calls DTLS1_BAD_VER: DTLS as it
// was before RFC 4347, still spoken by Cisco AnyConnect.
const dtlsBadVersion = 0x0100

// dtlsPlausible asks more of a header whose version bytes are as weak as 01 00:
// a length that fits in a datagram and, in epoch 0, a handshake message.
func dtlsPlausible(b []byte) bool {
	epoch, n := int(b[3])<<8|int(b[4]), int(b[11])<<8|int(b[12])
	if n == 0 || n > maxRecord || epoch > 16 || b[5] != 0 || b[6] != 0 {
		return false
	}
	return epoch > 0 || b[0] == recordHandshake && n >= dtlsMessageHeader && n < MaxDatagram
}

// dtlsMessageHeader is the length of a DTLS handshake header: type, length,
// message sequence, fragment offset and length (RFC 6347 section 4.2.2).
const dtlsMessageHeader = 12

// fragment is a piece of a DTLS handshake message.
type fragment struct {
	kind     byte
	length   int // of the whole message
	sequence int
	offset   int
	body     []byte
}

// fragments walks the handshake fragments in the clear of one side's datagrams.
type fragments struct {
	datagrams [][]byte
	record    []byte // handshake bytes of the present record
	rest      []byte // of the present datagram
	valid     bool
	encrypted bool // a record of a later epoch was seen
	version   int
}

func (w *fragments) next() (fragment, bool) {
	for {
		if f, ok := w.cut(); ok {
			return f, true
		}
		if !w.enter() {
			return fragment{}, false
		}
	}
}

// cut takes one fragment from the present record.
func (w *fragments) cut() (fragment, bool) {
	c := newCursor(w.record)
	f := fragment{kind: byte(c.uint(1)), length: c.uint(3), sequence: c.uint(2), offset: c.uint(3)}
	f.body = c.take(c.uint(3))
	if !c.ok || f.offset+len(f.body) > f.length {
		w.record = nil
		return fragment{}, false
	}
	w.record = c.b
	return f, true
}

// enter steps into the next handshake record of epoch 0.
func (w *fragments) enter() bool {
	for {
		for !dtlsStarts(w.rest) {
			if len(w.datagrams) == 0 {
				return false
			}
			w.rest, w.datagrams = w.datagrams[0], w.datagrams[1:]
		}
		kind, epoch := w.rest[0], int(w.rest[3])<<8|int(w.rest[4])
		n := dtlsHeader + int(w.rest[11])<<8 + int(w.rest[12])
		if epoch == 0 && n > len(w.rest) && len(w.rest) < MaxDatagram {
			w.rest = nil // longer than its datagram: not DTLS
			continue
		}
		w.valid, w.version = true, int(w.rest[1])<<8|int(w.rest[2])
		body := w.rest[dtlsHeader:min(n, len(w.rest))]
		w.rest = w.rest[min(n, len(w.rest)):]
		if epoch > 0 {
			w.encrypted = true
			continue
		}
		if kind == recordHandshake {
			w.record = body
			return true
		}
	}
}

// maxGathered bounds the messages of one side that a look puts together from
// fragments: a handshake has three that matter.
const maxGathered = 4

// message gives the whole body of f's message, put together from the side's
// other fragments where need be: in any order, overlapping, repeated. It
// allocates only when all of them have come.
func (f *fragment) message(side *Side) ([]byte, bool) {
	if len(f.body) == f.length {
		return f.body, true
	}
	if f.offset != 0 || f.length > maxHandshake {
		return nil, false
	}
	var seen [maxHandshake / 64]uint64
	missing := f.length
	for w := (fragments{datagrams: side.Datagrams}); missing > 0; {
		g, ok := w.next()
		if !ok {
			return nil, false
		}
		if !g.continues(f) {
			continue
		}
		for i := g.offset; i < g.offset+len(g.body); i++ {
			if seen[i/64]&(1<<(i%64)) == 0 {
				seen[i/64] |= 1 << (i % 64)
				missing--
			}
		}
	}
	whole := make([]byte, f.length)
	for w := (fragments{datagrams: side.Datagrams}); ; {
		g, ok := w.next()
		if !ok {
			return whole, true
		}
		if g.continues(f) {
			copy(whole[g.offset:], g.body)
		}
	}
}

func (g *fragment) continues(f *fragment) bool {
	return g.kind == f.kind && g.sequence == f.sequence && g.length == f.length
}

func lookDTLS(f *Flow) Result {
	var r tlsReading
	client, cOver, cVersion := r.datagrams(f.Facts, &f.Client)
	server, sOver, sVersion := r.datagrams(f.Facts, &f.Server)
	r.records, r.both = client || server, client && server
	r.done = r.both && cOver && sOver
	if r.records {
		if answer := anyconnectDTLS(f, r, cVersion, sVersion); answer.State != Unknown {
			return answer
		}
	}
	return judgeTLS(f, r, "dtls")
}

// datagrams reads one side of a DTLS handshake into facts.
func (r *tlsReading) datagrams(facts *Facts, side *Side) (records, over bool, version int) {
	w := fragments{datagrams: side.Datagrams}
	var spoke byte
	gathered := 0
	for {
		f, ok := w.next()
		if !ok {
			return w.valid, w.encrypted, w.version
		}
		r.verified = r.verified || f.kind == helloVerify
		if f.kind != helloClient && f.kind != helloServer && f.kind != certificates {
			continue
		}
		if f.offset == 0 && len(f.body) < f.length {
			if gathered++; gathered > maxGathered {
				continue
			}
		}
		if body, ok := f.message(side); ok {
			spoke = r.message(facts, f.kind, body, spoke, datagramHello)
		}
	}
}

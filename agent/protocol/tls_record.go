package protocol

// Handshake message types, RFC 8446 section 4.
const (
	helloClient  = 1
	helloServer  = 2
	helloVerify  = 3 // DTLS, RFC 6347 section 4.3.2
	certificates = 11
)

// maxRecord bounds a record: 2^14 bytes and at most 2048 of expansion (RFC 5246
// section 6.2.3).
const maxRecord = 1<<14 + 2048

// maxHandshake bounds the messages that are put together from several records.
const maxHandshake = MaxStream

// tlsReading is what one look at the two sides of a handshake yielded.
type tlsReading struct {
	records bool // at least one side is TLS records
	both    bool // both sides are
	done    bool // nothing more of the handshake will come in the clear
	hello   clientHello
	session []byte // of the ServerHello

	verified bool // the server has sent a HelloVerifyRequest
}

// handshakes walks the handshake messages of one side of a TLS stream.
type handshakes struct {
	rest    []byte // records not yet entered
	message []byte // handshake bytes of the present record
	valid   bool   // a whole record header was seen, and no bad one
	over    bool   // a record of another kind came: the clear part has ended
}

// next gives the next whole message. ok is false when there is none yet, or
// never (over).
func (h *handshakes) next() (kind byte, body []byte, ok bool) {
	for len(h.message) == 0 {
		if !h.enter() {
			return 0, nil, false
		}
	}
	if len(h.message) >= 4 {
		if n := 4 + int(h.message[1])<<16 + int(h.message[2])<<8 + int(h.message[3]); n <= len(h.message) {
			kind, body, h.message = h.message[0], h.message[4:n], h.message[n:]
			return kind, body, true
		}
	}
	return h.gather()
}

// enter steps into the next record, whole or not.
func (h *handshakes) enter() bool {
	if len(h.rest) < 5 || h.over {
		return false
	}
	n := int(h.rest[3])<<8 | int(h.rest[4])
	if !tlsStarts(h.rest) || n > maxRecord || n == 0 && h.rest[0] != recordData {
		h.over = true
		return false
	}
	h.valid = true
	if h.rest[0] != recordHandshake {
		h.over = true
		return false
	}
	h.message = h.rest[5:min(len(h.rest), 5+n)]
	h.rest = h.rest[min(len(h.rest), 5+n):]
	return true
}

// gather puts a message together that several records carry. It allocates only
// when all of it has come.
func (h *handshakes) gather() (kind byte, body []byte, ok bool) {
	have, want := len(h.message), -1
	var head [4]byte
	n := copy(head[:], h.message)
	ahead := handshakes{rest: h.rest}
	for {
		if n == 4 && want < 0 {
			want = 4 + int(head[1])<<16 + int(head[2])<<8 + int(head[3])
			if want > maxHandshake {
				h.over = true
				return 0, nil, false
			}
		}
		if want >= 0 && have >= want {
			break
		}
		if !ahead.enter() {
			h.over = ahead.over
			return 0, nil, false
		}
		n += copy(head[n:], ahead.message)
		have += len(ahead.message)
	}
	whole := make([]byte, 0, have)
	whole = append(whole, h.message...)
	for len(whole) < want && h.enter() {
		whole = append(whole, h.message...)
	}
	h.message = whole[want:]
	return whole[0], whole[4:want], true
}

// readTLS reads both sides of a TLS stream into facts. Which side sent the
// ClientHello is told by the messages, not by who opened the flow: a capture of
// one direction knows no better.
func readTLS(facts *Facts, client, server []byte) tlsReading {
	var r tlsReading
	a, aDone := r.side(facts, client)
	b, bDone := r.side(facts, server)
	r.records, r.both = a || b, a && b
	t := facts.TLS
	r.done = r.both && (aDone && bDone || t != nil && t.ServerHello && t.JA4 != "" && t.Version >= 0x0304)
	return r
}

// side reads the messages of one side.
func (r *tlsReading) side(facts *Facts, stream []byte) (records, over bool) {
	h := handshakes{rest: stream}
	var spoke byte
	for {
		kind, body, ok := h.next()
		if !ok {
			return h.valid, h.over
		}
		spoke = r.message(facts, kind, body, spoke, streamHello)
	}
}

// helloForm says how a ClientHello is carried.
type helloForm uint8

const (
	streamHello helloForm = iota
	datagramHello
	quicHello
)

// message reads one handshake message into facts. What an earlier look has
// read is not read again. spoke is the hello this side has sent before, 0 for
// none, and says whose a certificate is.
func (r *tlsReading) message(facts *Facts, kind byte, body []byte, spoke byte, form helloForm) byte {
	switch kind {
	case helloClient:
		hello, ok := parseClientHello(body, form)
		if !ok {
			return spoke
		}
		if r.hello.ciphers == nil {
			r.hello = hello
		}
		if t := facts.tls(form); t.JA4 == "" {
			hello.fill(t, form)
		}
		return kind
	case helloServer:
		if c := newCursor(body); c.take(34) != nil {
			r.session = c.vector(1)
		}
		if t := facts.tls(form); !t.ServerHello {
			parseServerHello(body, t)
		}
		return kind
	case certificates:
		t := facts.tls(form)
		if spoke == helloServer && t.Certificates == nil {
			t.Certificates = parseCertificates(body)
		}
		if spoke == helloClient && t.ClientCertificates == nil {
			t.ClientCertificates = parseCertificates(body)
		}
	}
	return spoke
}

// tls gives the flow's TLS facts, made on first use.
func (f *Facts) tls(form helloForm) *TLS {
	if f.TLS == nil {
		f.TLS = &TLS{QUIC: form == quicHello, DTLS: form == datagramHello}
	}
	return f.TLS
}

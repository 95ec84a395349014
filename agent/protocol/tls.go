package protocol

// TLS record content types, RFC 8446 section 5.1.
const (
	recordChangeCipherSpec = 20
	recordHandshake        = 22
	recordData             = 23
	recordHeartbeat        = 24 // RFC 6520
)

// tls reads TLS and DTLS handshakes, fills Facts.TLS, and names the products
// that a handshake proves. What it cannot name it labels "tls" or "dtls".
func tls() Detector {
	return Detector{
		Name: "tls",
		Doc: Doc{
			How:      "TLS and DTLS records with a handshake, from the first byte, after an X.224 negotiation, an HTTP CONNECT or a PROXY header",
			Confirms: "a ClientHello from one side and a ServerHello from the other",
			Limits:   "internal label: ordinary TLS is no category. TLS 1.3 hides the certificates, ECH the true name; a VPN whose handshake looks like a browser's or OpenSSL's cannot be told from HTTPS by its packets",
			Source:   "RFC 8446, RFC 5246, RFC 6347, RFC 9147, RFC 9849",
		},
		TCP:   func(first []byte, _ bool) bool { return tlsStarts(first) || tlsFollows(first) },
		UDP:   func(first []byte, _ int, _ bool) bool { return dtlsStarts(first) },
		Facts: true,
		Look:  lookTLS,
	}
}

// tlsStarts is the cheap test of a record header, or as much of it as came.
func tlsStarts(b []byte) bool {
	return len(b) > 0 && b[0] >= recordChangeCipherSpec && b[0] <= recordHeartbeat &&
		(len(b) < 2 || b[1] == 3) && (len(b) < 3 || b[2] <= 4)
}

// tlsFollows says that TLS may come after what b begins: TPKT (RDP), the
// connection request of an HTTP proxy, a PROXY protocol header.
func tlsFollows(b []byte) bool {
	return begins(b, "\x03\x00") || begins(b, "CONNECT ") || begins(b, "PROXY ") || begins(b, proxyV2)
}

// dtlsStarts is the cheap test of a DTLS record header (RFC 6347 section 4.1),
// with Cisco's pre-standard version 1.0 (OpenSSL DTLS1_BAD_VER 0x0100).
func dtlsStarts(b []byte) bool {
	if len(b) < dtlsHeader || b[0] < recordChangeCipherSpec || b[0] > recordHeartbeat {
		return false
	}
	switch version := int(b[1])<<8 | int(b[2]); version {
	case 0xfeff, 0xfefd, 0xfefc:
		return true
	case dtlsBadVersion:
		return dtlsPlausible(b)
	}
	return false
}

func lookTLS(f *Flow) Result {
	if f.Proto == 17 {
		return lookDTLS(f)
	}
	client, server, state := tlsStreams(f)
	if state != Suspected {
		return Result{State: state}
	}
	return judgeTLS(f, readTLS(f.Facts, client, server), "tls")
}

// tlsStreams finds where TLS begins on each side. Suspected: it may begin
// there; NeedMore: what comes before it is not over.
func tlsStreams(f *Flow) (client, server []byte, state State) {
	client, server = f.Client.Stream, f.Server.Stream
	switch {
	case begins(client, "\x03\x00") || begins(server, "\x03\x00"):
		client, server = afterTPKT(client), afterTPKT(server)
	default:
		n, m := prefaceEnd(client, server)
		if n < 0 {
			return nil, nil, NeedMore
		}
		client, server = client[n:], server[m:]
	}
	if len(client) == 0 && len(server) == 0 {
		if f.Closed {
			return nil, nil, NotThis
		}
		return nil, nil, NeedMore
	}
	// A side that is not TLS does not take from the other what it shows: a
	// server may answer a ClientHello in plain HTTP.
	if !tlsStarts(client) {
		client = nil
	}
	if !tlsStarts(server) {
		server = nil
	}
	switch short := len(client) < 5 && len(server) < 5; {
	case len(client) == 0 && len(server) == 0, short && f.Closed:
		return nil, nil, NotThis
	case short:
		return nil, nil, NeedMore
	}
	return client, server, Suspected
}

// afterTPKT skips one TPKT packet (RFC 1006 section 6): the X.224 connection
// request or confirm that an RDP client and server exchange before TLS. The
// rest is empty while the packet is not whole.
func afterTPKT(b []byte) []byte {
	if !starts(b, "\x03\x00") || len(b) < 4 {
		return nil
	}
	n := int(b[2])<<8 | int(b[3])
	if n < 7 || n > len(b) {
		return nil
	}
	return b[n:]
}

// judgeTLS turns what was read into an answer.
func judgeTLS(f *Flow, r tlsReading, label string) Result {
	if !r.records {
		return Result{State: NotThis}
	}
	done := r.done || f.Closed || len(f.Client.Stream) >= MaxStream || len(f.Server.Stream) >= MaxStream ||
		len(f.Client.Datagrams) >= MaxDatagrams && len(f.Server.Datagrams) >= MaxDatagrams
	answer := tlsProduct(f)
	if answer.State == Unknown {
		answer = ordinaryTLS(label, r.both)
	}
	if answer.State == Confirmed && !done {
		answer.State = Suspected // the rest of the handshake is still wanted
	}
	return answer
}

// ordinaryTLS is the answer for a handshake that names no product.
func ordinaryTLS(label string, both bool) Result {
	answer := Result{State: Suspected, Label: label}
	switch {
	case both && label == "dtls":
		answer.State, answer.Evidence = Confirmed, "DTLS records from both sides"
	case both:
		answer.State, answer.Evidence = Confirmed, "TLS records from both sides"
	case label == "dtls":
		answer.Evidence = "DTLS records from one side"
	default:
		answer.Evidence = "TLS records from one side"
	}
	return answer
}

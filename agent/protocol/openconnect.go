package protocol

import "bytes"

// openconnect recognises AnyConnect's CSTP frames in the clear; openconnectHTTP
// names its HTTP, anyconnectDTLS its datagrams.
func openconnect() Detector {
	return Detector{
		Name: "openconnect",
		Doc: Doc{
			How:      "AnyConnect's CSTP frames (STF) or its HTTP requests, where TLS has been taken off",
			Confirms: "frames from both sides, or the server's HTTP answer",
			Limits:   "under TLS nothing of it shows but its DTLS channel, which is category anyconnect-dtls",
			Source:   "draft-mavrogiannopoulos-openconnect, \"The CSTP Channel Protocol\"",
		},
		TCP:  func(first []byte, _ bool) bool { return starts(first, "STF\x01") },
		Look: lookCSTP,
	}
}

// cstpFrame reads a CSTP header: "STF", 1, length, type, 0.
func cstpFrame(b []byte) bool {
	return len(b) >= 8 && starts(b, "STF\x01") && b[6] <= 9 && b[7] == 0
}

func lookCSTP(f *Flow) Result {
	c, s := cstpFrame(f.Client.Stream), cstpFrame(f.Server.Stream)
	switch state := sidesAgree(c, s); state {
	case Confirmed:
		return Result{State: state, Label: "openconnect", Evidence: "CSTP frames from both sides, without TLS"}
	case Suspected:
		return Result{State: state, Label: "openconnect", Evidence: "CSTP frames from one side, without TLS"}
	}
	return undecided(f)
}

// anyconnectDoc documents the datagram channel, which tls finds.
func anyconnectDoc() Doc {
	return Doc{
		How: "DTLS of version 01 00, which is older than RFC 4347 and which only Cisco AnyConnect and its kin still speak, with a session id set in advance; " +
			"a DTLS resumption with one cipher suite, of those that its headers name or without extensions; or a DTLS 1.2 ClientHello that offers only pre-shared keys with a session id set in advance, as the channel's PSK-NEGOTIATE has it",
		Confirms: "DTLS of the same kind from both sides; for PSK-NEGOTIATE the server's whole handshake under an id of its own, without asking for a cookie",
		Limits:   "AnyConnect's DTLS 1.2 that resumes with a certificate suite looks like other resumed DTLS",
		Source:   "draft-mavrogiannopoulos-openconnect (the secondary UDP channel); OpenConnect dtls.c; OpenSSL DTLS1_BAD_VER; own captures of ocserv and openconnect",
	}
}

// anyconnectDTLS names AnyConnect's datagram channel.
func anyconnectDTLS(f *Flow, r tlsReading, client, server int) Result {
	answer := Result{State: Suspected, Label: "anyconnect-dtls", Product: "Cisco AnyConnect or OpenConnect"}
	preset := len(r.hello.session) == 32
	resumed := preset && bytes.Equal(r.session, r.hello.session)
	switch {
	case client == dtlsBadVersion && preset:
		answer.Evidence = "DTLS of Cisco's version 01 00, with a session id set in advance"
		if server == client {
			answer.State = Confirmed
			answer.Evidence += "; answered in the same version"
		}
	case client == dtlsBadVersion && server == dtlsBadVersion && r.hello.ciphers == nil && r.session == nil && f.Facts.TLS == nil && full(f):
		answer.Evidence = "DTLS of Cisco's version 01 00 from both sides, in the middle of a session"
	case preset && pskOnly(r.hello.ciphers):
		// Other clients with pre-shared keys resume a session so; then the server
		// takes the id over, or has asked for a cookie first (RFC 6347 section
		// 4.2.1), which here its own id does in place of.
		if resumed || r.verified || r.session == nil && !f.Closed {
			return Result{}
		}
		answer.Evidence = "DTLS ClientHello with pre-shared keys only and a session id set in advance (PSK-NEGOTIATE)"
		if r.session != nil {
			answer.State = Confirmed
			answer.Evidence += ", answered by a whole handshake without a cookie"
		}
	case resumed && len(words(r.hello.ciphers)) <= 2 && (len(r.hello.extensions) == 0 || ciscoSuites(r.hello.ciphers)):
		answer.Evidence = "DTLS that resumes a session this flow never had, with a single cipher suite"
	default:
		return Result{}
	}
	return answer
}

// ciscoSuites says whether all cipher suites are ones that the X-DTLS-CipherSuite
// and X-DTLS12-CipherSuite headers of the channel name (OpenConnect dtls.c):
// AES-CBC and 3DES with SHA-1, AES-GCM, with RSA, DHE or ECDHE.
func ciscoSuites(ciphers []byte) bool {
	n := 0
	for _, v := range words(ciphers) {
		switch v {
		case 0x00ff: // RFC 5746
		case 0x000a, 0x002f, 0x0033, 0x0035, 0x0039, 0x009c, 0x009d, 0x009e, 0x009f, 0xc02b, 0xc02c, 0xc02f, 0xc030:
			n++
		default:
			return false
		}
	}
	return n == 1
}

// pskOnly says whether all cipher suites use a pre-shared key and nothing else:
// RFC 4279, RFC 5487, RFC 6655, RFC 7905. Signalling suites do not count.
func pskOnly(ciphers []byte) bool {
	n := 0
	for _, v := range words(ciphers) {
		switch {
		case v == 0x00ff || v == 0x5600: // RFC 5746, RFC 7507
		case v >= 0x008a && v <= 0x008d, v == 0x00a8, v == 0x00a9, v == 0x00ae, v == 0x00af,
			v >= 0xc0a4 && v <= 0xc0a9, v == 0xccab:
			n++
		default:
			return false
		}
	}
	return n > 0
}

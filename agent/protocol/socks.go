package protocol

// socks is the detector of SOCKS 4, 4a and 5. It waits for the request, which
// names the flow's true remote, before it confirms.
func socks() Detector {
	return Detector{
		Name: "socks",
		Doc: Doc{
			How:      "SOCKS 5: a list of methods that fills its length, then a request. SOCKS 4: command, port, address, user and, for 4a, a name. The target is read and named.",
			Confirms: "The server's choice of an offered method; for SOCKS 4 the eight-byte reply.",
			Limits:   "A GSSAPI session may encrypt its request; a UDP association's datagrams are other flows.",
			Source:   "RFC 1928, RFC 1929, RFC 1961; Lee, SOCKS: A protocol for TCP proxy; Lee, SOCKS 4A",
		},
		TCP:   socksFirst,
		Facts: true,
		Look:  lookSOCKS,
	}
}

// Versions and commands (RFC 1928 sections 3 and 4).
const (
	socks4 = 4
	socks5 = 5

	socksConnect   = 1
	socksBind      = 2
	socksAssociate = 3

	socksNoMethod   = 0xff
	socksLastReply  = 8
	socksTor        = 0xf0 // and above: Tor's commands (RESOLVE, RESOLVE_PTR) and replies (tor socks-extensions.txt)
	socksLastMethod = 9    // IANA "Socket Secure (SOCKS) Parameters"
	socksUserPass   = 2
	socksGSSAPI     = 1
)

// socksFirst looks at either side: in a capture that starts in the middle of the
// connection's handshake the flow table cannot tell which is the client.
func socksFirst(b []byte, _ bool) bool {
	if len(b) < 3 {
		return false
	}
	switch b[0] {
	case socks5:
		return b[1] >= 1
	case socks4:
		return b[1] == socksConnect || b[1] == socksBind
	}
	return false
}

func lookSOCKS(f *Flow) Result {
	client, server := f.Client.Stream, f.Server.Stream
	if f.MidFlow && !socksFirst(client, true) && socksFirst(server, true) {
		client, server = server, client
	}
	var r Result
	switch {
	case len(client) == 0 && !f.Closed && starts(server, "\x05\x02") && socksReply(server[2:], socksUserPass):
		return Result{State: NeedMore} // a password was asked for, and the answer is seen first
	case len(client) == 0 || client[0] != socks4 && client[0] != socks5:
		return Result{State: NotThis}
	case client[0] == socks4:
		r = lookSOCKS4(f, client, server)
	default:
		r = lookSOCKS5(f, client, server)
	}
	if f.MidFlow && r.State == Suspected && len(server) == 0 {
		r = Result{State: NeedMore} // a few bytes of one side in the middle of a flow prove nothing
	}
	return r
}

func lookSOCKS4(f *Flow, client, reply []byte) Result {
	request, state := readSOCKS4(client)
	switch {
	case state == NeedMore && !f.Closed:
		return Result{State: NeedMore}
	case state != Suspected:
		return Result{State: NotThis}
	}
	// The reply's version is 0 and its code 90 to 93; it has eight bytes.
	if len(reply) > 0 && reply[0] != 0 || len(reply) > 1 && (reply[1] < 90 || reply[1] > 93) {
		return Result{State: NotThis}
	}
	if len(reply) < 8 {
		if !socksGoesOn(request.rest) { // a client that goes on before the reply proves little
			if f.Closed {
				return Result{State: NotThis}
			}
			return Result{State: NeedMore}
		}
		return Result{State: Suspected, Label: "socks", Evidence: "SOCKS 4 request, not answered"}
	}
	request.name(f.Facts)
	if request.by == "socks4a" {
		return Result{State: Confirmed, Label: "socks", Evidence: "SOCKS 4a request with a host name, and its reply"}
	}
	return Result{State: Confirmed, Label: "socks", Evidence: "SOCKS 4 request and its reply"}
}

func lookSOCKS5(f *Flow, c, s []byte) Result {
	n := 2
	if len(c) >= 2 {
		n += int(c[1])
	}
	if len(c) < 2 || len(c) < n {
		if f.Closed || len(c) == 2 && c[1] == 0 {
			return Result{State: NotThis}
		}
		return Result{State: NeedMore}
	}
	if !socksMethods(c[2:n]) || len(s) > 0 && s[0] != socks5 {
		return Result{State: NotThis}
	}
	if len(s) < 2 {
		if len(c) > n { // a client that does not wait must have sent a request at once
			switch state := socksAhead(c[2:n], c[n:]); {
			case state == NeedMore && !f.Closed:
				return Result{State: NeedMore}
			case state != Suspected:
				return Result{State: NotThis}
			}
		}
		if !socksAssigned(c[2:n]) {
			return Result{State: NeedMore} // two bytes that fit are too few without an answer
		}
		return Result{State: Suspected, Label: "socks", Evidence: "SOCKS 5 list of methods, not answered"}
	}
	if s[1] == socksNoMethod {
		if len(c) > n || len(s) > 2 { // the client must close now (section 3)
			return Result{State: NotThis}
		}
		return Result{State: Confirmed, Label: "socks", Evidence: "SOCKS 5 list of methods, and the server accepted none"}
	}
	if !socksOffered(c[2:n], s[1]) || !socksReply(s[2:], s[1]) {
		return Result{State: NotThis}
	}
	return socks5Request(f, c[n:], s[1])
}

// socksAhead judges what a client sent behind its list before the server's choice
// was seen: a request, or a name, a password and a request (RFC 1929).
func socksAhead(methods, rest []byte) State {
	state := NotThis
	for _, method := range [...]byte{0, socksUserPass} {
		if !socksOffered(methods, method) {
			continue
		}
		switch _, _, found := readSOCKS5(rest, method); {
		case found == Suspected:
			return found
		case found == NeedMore:
			state = found
		}
	}
	return state
}

// socks5Request looks for the request behind the agreed method.
func socks5Request(f *Flow, rest []byte, method byte) Result {
	r := Result{State: Confirmed, Label: "socks", Evidence: "SOCKS 5 list of methods, and the server chose one of them"}
	request, authenticated, state := readSOCKS5(rest, method)
	switch {
	case state == NotThis && (method == 0 || method == socksUserPass):
		return Result{State: NotThis} // nothing is encrypted under these
	case state == NeedMore && !f.Closed && len(rest) < MaxStream/2:
		r.State = Suspected // both agree, but the target is still to come
		return r
	case state == Suspected:
		request.name(f.Facts)
		r.Evidence = "SOCKS 5 methods and choice, then a request that names its target"
		if authenticated {
			r.Evidence = "SOCKS 5 methods and choice, user name and password, then a request that names its target"
		}
	}
	return r
}

// socksGoesOn says whether what a client has sent behind its request, of which no
// reply was captured, is nothing or begins as a relayed protocol does.
func socksGoesOn(rest []byte) bool {
	return len(rest) == 0 || starts(rest, "\x16\x03") || starts(rest, "SSH-") || httpStarts(rest)
}

// socksReply says whether the server's bytes behind its choice, as many as have
// come, fit the method: a reply (RFC 1928 section 6) or, for a password, a status
// (RFC 1929 section 2) and then a reply.
func socksReply(b []byte, method byte) bool {
	switch method {
	case 0:
	case socksUserPass:
		if len(b) > 0 && b[0] != 1 && b[0] != socks5 { // some servers get the version wrong
			return false
		}
		if len(b) < 2 || b[1] != 0 {
			return true
		}
		b = b[2:]
	default:
		return true
	}
	return (len(b) < 1 || b[0] == socks5) && (len(b) < 2 || b[1] <= socksLastReply || b[1] >= socksTor) && (len(b) < 3 || b[2] == 0) &&
		(len(b) < 4 || b[3] == 1 || b[3] == 3 || b[3] == 4)
}

// socksMethods says whether the offered methods are a set, as RFC 1928 section 3
// has it: none twice, and not the one that means "none".
func socksMethods(methods []byte) bool {
	var seen [4]uint64
	for _, m := range methods {
		if m == socksNoMethod || seen[m>>6]&(1<<(m&63)) != 0 {
			return false
		}
		seen[m>>6] |= 1 << (m & 63)
	}
	return len(methods) > 0
}

// socksAssigned says whether all methods are ones that IANA has assigned: any
// byte may be one in private use.
func socksAssigned(methods []byte) bool {
	for _, m := range methods {
		if m > socksLastMethod {
			return false
		}
	}
	return true
}

func socksOffered(methods []byte, chosen byte) bool {
	for _, m := range methods {
		if m == chosen {
			return true
		}
	}
	return false
}

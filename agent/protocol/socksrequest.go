package protocol

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// socksRequest is a request's target. It points into the stream.
type socksRequest struct {
	by      string
	command byte
	address []byte // 4 or 16 bytes
	host    []byte // or a name
	port    uint16
	rest    []byte // SOCKS 4: what has come behind it
}

// name puts the target into the facts. A UDP association names the client's own
// address, not a target (RFC 1928 section 7).
func (r *socksRequest) name(facts *Facts) {
	if facts == nil || facts.Hidden != nil || r.command == socksAssociate || r.command >= socksTor {
		return
	}
	host := string(r.host)
	if a, ok := netip.AddrFromSlice(r.address); ok {
		host = a.Unmap().String()
	}
	facts.Hidden = &Hidden{Host: host, Port: r.port, By: r.by}
}

// readSOCKS4 reads a request: version, command, port, address, a user that a
// zero ends and, for addresses 0.0.0.x, a name that a zero ends. It answers
// Suspected for one that is whole.
func readSOCKS4(b []byte) (r socksRequest, state State) {
	if len(b) < 9 {
		return r, NeedMore
	}
	r = socksRequest{by: "socks4", command: b[1], port: binary.BigEndian.Uint16(b[2:]), address: b[4:8]}
	if r.command != socksConnect && r.command != socksBind || r.port == 0 {
		return r, NotThis
	}
	user, rest, state := socksText(b[8:])
	if state == Suspected && !visibleASCII(user) {
		state = NotThis
	}
	if state != Suspected {
		return r, state
	}
	if zero(b[4:7]) { // version 4a
		r.by, r.address = "socks4a", nil
		r.host, rest, state = socksText(rest)
		if state == Suspected && (b[7] == 0 || !hostName(r.host)) {
			state = NotThis
		}
		if state != Suspected {
			return r, state
		}
	}
	r.rest = rest
	return r, Suspected
}

// socksTextLimit bounds user and host name.
const socksTextLimit = 512

// socksText takes what is before a zero byte.
func socksText(b []byte) (text, rest []byte, state State) {
	end := bytes.IndexByte(b[:min(len(b), socksTextLimit)], 0)
	switch {
	case end >= 0:
		return b[:end], b[end+1:], Suspected
	case len(b) >= socksTextLimit:
		return nil, nil, NotThis
	}
	return nil, nil, NeedMore
}

// readSOCKS5 reads what follows the methods: for method 2 the user and password
// (RFC 1929), for method 1 tokens (RFC 1961 section 3), then the request (RFC
// 1928 section 4). It answers Suspected for one that is whole, NotThis where
// bytes do not fit, as behind an encrypting method.
func readSOCKS5(b []byte, method byte) (r socksRequest, authenticated bool, state State) {
	switch method {
	case socksUserPass:
		n, state := socksPassword(b)
		if state != Suspected {
			return r, false, state
		}
		b, authenticated = b[n:], true
	case socksGSSAPI:
		for len(b) > 0 && b[0] == 1 { // version 1, type, 16-bit length, token
			if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint16(b[2:])) {
				return r, false, NeedMore
			}
			b = b[4+int(binary.BigEndian.Uint16(b[2:])):]
		}
	}
	r, state = socksTarget(b)
	return r, authenticated, state
}

// socksPassword is the size of a user name and password message.
func socksPassword(b []byte) (size int, state State) {
	if len(b) < 2 {
		return 0, NeedMore
	}
	if b[0] != 1 {
		return 0, NotThis
	}
	user := 2 + int(b[1])
	if len(b) < user+1 || len(b) < user+1+int(b[user]) {
		return 0, NeedMore
	}
	return user + 1 + int(b[user]), Suspected
}

// socksTarget reads the request itself: version, command, zero, address type,
// address, port.
func socksTarget(b []byte) (r socksRequest, state State) {
	if len(b) < 5 {
		return r, NeedMore
	}
	if b[0] != socks5 || b[1] < socksConnect || b[1] > socksAssociate && b[1]&^1 != socksTor || b[2] != 0 {
		return r, NotThis
	}
	r = socksRequest{by: "socks5", command: b[1]}
	at, n := 4, 0
	switch b[3] {
	case 1:
		n = 4
	case 4:
		n = 16
	case 3:
		at, n = 5, int(b[4])
	default:
		return r, NotThis
	}
	if len(b) < at+n+2 {
		return r, NeedMore
	}
	if b[3] == 3 {
		r.host = b[at : at+n]
		if !hostName(r.host) {
			return r, NotThis
		}
	} else {
		r.address = b[at : at+n]
	}
	r.port = binary.BigEndian.Uint16(b[at+n:])
	return r, Suspected
}

// hostName says whether b can be shown and matched as a host: an address or a
// name of printable bytes without spaces.
func hostName(b []byte) bool {
	return len(b) > 0 && len(b) <= 255 && visibleASCII(b) && bytes.IndexByte(b, ' ') < 0
}

// visibleASCII says whether b has only printable ASCII.
func visibleASCII(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

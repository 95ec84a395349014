package protocol

// rustdesk recognises RustDesk's rendezvous, relay and session messages.
func rustdesk() Detector {
	return Detector{
		Name: "rustdesk",
		Doc: Doc{
			How: "one protobuf message that fills its datagram or frame: RegisterPeer or RegisterPk with an id, PunchHoleRequest, RequestRelay with a UUID; " +
				"between peers the exchange of a signed id and a public key",
			Confirms: "the answer that belongs to the message, from the other side",
			Limits:   "an encrypted session caught in the middle shows nothing; WebSocket and KCP transports are not read",
			Source:   "rustdesk/hbb_common protos/rendezvous.proto, protos/message.proto, src/bytes_codec.rs",
		},
		TCP: func(first []byte, _ bool) bool { return rustFrameStarts(first) },
		UDP: func(first []byte, length int, _ bool) bool {
			return length == len(first) && length <= 512 && rendezvousKind(first) != 0
		},
		Look: lookRustDesk,
	}
}

// Fields of RendezvousMessage's union (rendezvous.proto).
const (
	rustRegisterPeer         = 6
	rustRegisterPeerResponse = 7
	rustPunchHoleRequest     = 8
	rustPunchHoleResponse    = 11
	rustRegisterPk           = 15
	rustRegisterPkResponse   = 16
	rustRequestRelay         = 18
	rustRelayResponse        = 19
)

// Fields of Message's union (message.proto).
const (
	rustSignedID  = 3
	rustPublicKey = 4
)

// protobufField takes the next field: its number, its wire type, and its bytes
// when it has a length.
func (c *cursor) protobufField() (number, wire int, body []byte) {
	tag := c.protobufVarint()
	number, wire = tag>>3, tag&7
	switch wire {
	case 0:
		c.protobufVarint()
	case 1:
		c.take(8)
	case 2:
		body = c.take(c.protobufVarint())
	case 5:
		c.take(4)
	default:
		c.ok = false
	}
	if number == 0 {
		c.ok = false
	}
	return number, wire, body
}

// protobufVarint reads a varint of at most 10 bytes; what does not fit in 31
// bits is no length or tag of ours.
func (c *cursor) protobufVarint() int {
	v := 0
	for shift := 0; shift < 70; shift += 7 {
		b := c.uint(1)
		if shift < 28 {
			v |= (b & 0x7f) << shift
		}
		if b < 0x80 {
			return v
		}
	}
	c.ok = false
	return 0
}

// union reads a message that is one field with a length and nothing else.
func union(b []byte) (number int, body []byte, ok bool) {
	c := newCursor(b)
	number, wire, body := c.protobufField()
	return number, body, c.ok && wire == 2 && len(c.b) == 0
}

// member gives the bytes of a field of a message that parses to its end.
func member(b []byte, want int) []byte {
	var found []byte
	for c := newCursor(b); len(c.b) > 0; {
		number, wire, body := c.protobufField()
		if !c.ok {
			return nil
		}
		if number == want && wire == 2 {
			found = body
		}
	}
	return found
}

// rendezvousKind gives the kind of a RendezvousMessage, 0 for anything else.
// Only kinds whose content can be checked count.
func rendezvousKind(b []byte) int {
	kind, body, ok := union(b)
	if !ok {
		return 0
	}
	switch kind {
	case rustRegisterPeer, rustPunchHoleRequest:
		if rustID(member(body, 1)) {
			return kind
		}
	case rustRegisterPk:
		if rustID(member(body, 1)) && len(member(body, 3)) == 32 {
			return kind
		}
	case rustRequestRelay:
		if uuid(member(body, 2)) {
			return kind
		}
	case rustRegisterPeerResponse, rustRegisterPkResponse:
		if c := newCursor(body); len(body) <= 4 {
			for len(c.b) > 0 && c.ok {
				if number, wire, _ := c.protobufField(); number > 2 || wire != 0 {
					return 0
				}
			}
			if c.ok {
				return kind
			}
		}
	case rustPunchHoleResponse, rustRelayResponse:
		if len(body) > 0 && parses(body) {
			return kind
		}
	}
	return 0
}

func parses(b []byte) bool {
	c := newCursor(b)
	for len(c.b) > 0 && c.ok {
		c.protobufField()
	}
	return c.ok
}

// rustID says whether b can be a peer's id: 6 to 32 of the characters that
// RustDesk allows.
func rustID(b []byte) bool {
	if len(b) < 6 || len(b) > 32 {
		return false
	}
	for _, c := range b {
		if !alphanumeric(c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func uuid(b []byte) bool {
	return len(b) == 36 && b[8] == '-' && b[13] == '-' && b[18] == '-' && b[23] == '-' && only(b, "0123456789abcdefABCDEF-")
}

// rustFrame cuts a frame: the two low bits of the first byte say how many more
// bytes the little-endian header has, the rest of it is the length
// (src/bytes_codec.rs).
func rustFrame(b []byte) (body []byte, whole bool) {
	if len(b) == 0 {
		return nil, false
	}
	n := int(b[0]&3) + 1
	if len(b) < n {
		return nil, false
	}
	size := 0
	for i := n - 1; i >= 0; i-- {
		size = size<<8 | int(b[i])
	}
	size >>= 2
	if size > len(b)-n {
		return nil, false
	}
	return b[n : n+size], true
}

// rustFrameStarts is the cheap test: a frame whose message starts with a tag
// of the unions above.
func rustFrameStarts(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	switch p := b[b[0]&3+1:]; {
	case p[0] == rustRegisterPeer<<3|2, p[0] == rustPunchHoleRequest<<3|2, p[0] == rustPunchHoleResponse<<3|2,
		p[0] == rustRegisterPk<<3|2, p[0] == rustSignedID<<3|2, p[0] == rustPublicKey<<3|2:
		return b[0] != 3 // a header that is no TPKT's
	case p[1] == 1:
		return p[0] == 0x92 || p[0] == 0x9a || p[0] == 0x82 // fields 18, 19, 16
	}
	return false
}

func lookRustDesk(f *Flow) Result {
	if f.Proto == 17 {
		return lookRustDeskUDP(f)
	}
	if len(f.Client.Stream) >= MaxStream || len(f.Server.Stream) >= MaxStream {
		return Result{State: NotThis}
	}
	c, cWhole := rustFrame(f.Client.Stream)
	s, sWhole := rustFrame(f.Server.Stream)
	answer := Result{State: Suspected, Label: "rustdesk", Product: "RustDesk"}
	ask, reply := rendezvousKind(c), rendezvousKind(s)
	signed, key := sessionKey(s, c)
	switch {
	case signed && key:
		answer.State, answer.Evidence = Confirmed, "RustDesk session: a signed id, answered with a public key"
	case rustAsks(ask) && (reply == ask+1 || ask == rustPunchHoleRequest && (reply == rustPunchHoleResponse || reply == rustRelayResponse)):
		answer.State, answer.Evidence = Confirmed, "RustDesk rendezvous message with a peer's id, and its answer"
	case ask == rustRequestRelay:
		answer.Evidence = "RustDesk request for a relay, with its UUID"
		if signed || reply == rustRelayResponse {
			answer.State = Confirmed
		}
	case rustAsks(ask):
		answer.Evidence = "RustDesk rendezvous message with a peer's id"
	case f.Closed, cWhole && sWhole:
		return Result{State: NotThis}
	default:
		return Result{State: NeedMore}
	}
	return answer
}

// rustAsks says whether a kind is one that a peer sends and that names it.
func rustAsks(kind int) bool {
	return kind == rustRegisterPeer || kind == rustRegisterPk || kind == rustPunchHoleRequest
}

// sessionKey reads the key exchange between peers: the controlled side's
// SignedId (a signature of 64 bytes and what it signs), the other's PublicKey
// (32 bytes, and a sealed key of 48).
func sessionKey(from, to []byte) (signed, key bool) {
	kind, body, ok := union(from)
	signed = ok && kind == rustSignedID && len(member(body, 1)) > 64
	kind, body, ok = union(to)
	key = ok && kind == rustPublicKey && len(member(body, 1)) == 32 && len(member(body, 2)) == 48
	return signed, key
}

func lookRustDeskUDP(f *Flow) Result {
	kinds := func(s *Side) (mask uint32) {
		for i, d := range s.Datagrams {
			if s.Lengths[i] == len(d) {
				mask |= 1 << rendezvousKind(d)
			}
		}
		return mask &^ 1
	}
	c, s := kinds(&f.Client), kinds(&f.Server)
	const asks = 1<<rustRegisterPeer | 1<<rustRegisterPk | 1<<rustPunchHoleRequest
	const answers = 1<<rustRegisterPeerResponse | 1<<rustRegisterPkResponse | 1<<rustPunchHoleResponse
	switch {
	case c&asks != 0 && s&answers != 0:
		return Result{State: Confirmed, Label: "rustdesk", Product: "RustDesk", Evidence: "RustDesk rendezvous message with a peer's id, and its answer"}
	case c&asks != 0:
		return Result{State: Suspected, Label: "rustdesk", Product: "RustDesk", Evidence: "RustDesk rendezvous message with a peer's id"}
	}
	return undecided(f)
}

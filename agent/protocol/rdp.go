package protocol

// rdp recognises RDP over TCP.
func rdp() Detector {
	return Detector{
		Name: "rdp",
		Doc: Doc{
			How: "TPKT with an X.224 connection request or confirm as RDP forms them: cookie or routing token, negotiation request, response or failure; " +
				"a Hyper-V preconnection PDU; RD Gateway's HTTP methods; MCS with RDP's client and server data; a Windows Remote Desktop certificate where TLS comes first",
			Confirms: "the server's connection confirm, its MCS answer, or its HTTP answer to RDG_OUT_DATA",
			Limits:   "RDP inside stunnel or an RD Gateway under TLS cannot be told from other TLS; of a flow caught in the middle only unencrypted MCS data is seen, and stays suspected",
			Source:   "[MS-RDPBCGR] 2.2.1, RFC 1006, ITU-T X.224, T.125; [MS-RDPEPS] 2.2.1; [MS-TSGU] 2.2.3.1; [MS-RPCH] 2.1.2.1",
		},
		TCP: func(first []byte, _ bool) bool {
			return begins(first, "\x03\x00") || preconnectionStarts(first) || gatewayStarts(first)
		},
		Look: lookRDP,
	}
}

// X.224 TPDU codes in the high half of the octet, ITU-T X.224 section 13.
const (
	x224Request = 0xe0
	x224Confirm = 0xd0
	x224Data    = 0xf0
)

// RDP_NEG_* structures, [MS-RDPBCGR] 2.2.1.1.1, 2.2.1.2.1, 2.2.1.2.2, 2.2.1.1.2.
const (
	negRequest     = 1
	negResponse    = 2
	negFailure     = 3
	negCorrelation = 6
)

// x224 is one TPKT packet with an X.224 TPDU (RFC 1006 section 6).
type x224 struct {
	code     byte
	dst, src int
	variable []byte // what follows the fixed part of a request or a confirm
	user     []byte // what follows the TPDU
}

// parseX224 reads the packet at the start of b. whole is false while it is too
// short to tell; ok is false when it is none.
func parseX224(b []byte) (p x224, rest []byte, whole, ok bool) {
	if len(b) < 7 {
		return p, nil, false, begins(b, "\x03\x00")
	}
	n, li := int(b[2])<<8|int(b[3]), int(b[4])
	if b[0] != 3 || b[1] != 0 || n < 7 {
		return p, nil, true, false
	}
	if li < 2 || 5+li > n {
		whole, ok := cookied(b)
		if !whole || !ok {
			return p, nil, whole, ok
		}
		li = n - 5 // some scanners get the header's length wrong
	}
	if len(b) < n {
		return p, nil, false, true
	}
	p.code, p.user = b[5]&0xf0, b[5+li:n]
	if p.code == x224Request || p.code == x224Confirm {
		if li < 6 {
			return p, nil, true, false
		}
		p.dst, p.src = int(b[6])<<8|int(b[7]), int(b[8])<<8|int(b[9])
		p.variable = b[11 : 5+li]
	}
	return p, b[n:], true, true
}

// cookied says whether b is a connection request with RDP's cookie, whatever
// its lengths. whole is false while it could still be one.
func cookied(b []byte) (whole, ok bool) {
	const at, cookie = 11, "Cookie: mstshash="
	if b[5] != x224Request || len(b) > at && !begins(b[at:], cookie) {
		return true, false
	}
	return len(b) >= at+len(cookie), true
}

func lookRDP(f *Flow) Result {
	client, server := f.Client.Stream, f.Server.Stream
	if gatewayStarts(client) {
		return lookGateway(f)
	}
	if len(client) < 12 && preconnectionBegins(client) {
		if f.Closed {
			return Result{State: NotThis}
		}
		return Result{State: NeedMore}
	}
	preconnected := false
	if preconnectionStarts(client) {
		rest, whole, ok := afterPreconnection(client)
		switch {
		case !ok:
			return Result{State: NotThis}
		case !whole:
			return Result{State: NeedMore}
		}
		preconnected, client = true, rest
		if answer := lookPreconnected(client, server); answer.State != Unknown {
			return answer
		}
	}
	if c, s := f.Client.Stream, f.Server.Stream; x224Code(c) == x224Confirm || x224Code(s) == x224Request ||
		mcsChoice(c) == mcsIndication || mcsChoice(s) == mcsSend {
		client, server = server, client // a capture of one direction, or of a flow already open
	}
	c, s := readRDPSide(client, x224Request), readRDPSide(server, x224Confirm)
	return judgeRDP(f, c, s, preconnected)
}

// x224Code peeks at the code of the first TPDU.
func x224Code(b []byte) byte {
	if len(b) < 6 || b[0] != 3 || b[1] != 0 {
		return 0
	}
	return b[5] & 0xf0
}

// rdpSide is how far one side's bytes speak RDP.
type rdpSide struct {
	proof    rdpProof
	evidence string
}

type rdpProof uint8

const (
	rdpNothing rdpProof = iota // no bytes
	rdpAlien                   // bytes that are not RDP
	rdpBare                    // as RDP would, and as other users of X.224 may
	rdpMCS                     // T.125 data as RDP has it
	rdpCertain
)

func readRDPSide(b []byte, want byte) rdpSide {
	if len(b) == 0 {
		return rdpSide{}
	}
	p, rest, whole, ok := parseX224(b)
	switch {
	case !ok:
		return rdpSide{proof: rdpAlien}
	case !whole:
		return cutRequest(b, want)
	case p.code == x224Data:
		return readMCSData(p.user, want)
	case p.code != want:
		return rdpSide{proof: rdpAlien}
	case want == x224Request:
		return readRequest(&p, rest)
	}
	return readConfirm(&p, rest)
}

// judgeRDP weighs both sides.
func judgeRDP(f *Flow, c, s rdpSide, preconnected bool) Result {
	if c.proof == rdpAlien || s.proof == rdpAlien && c.proof < rdpCertain {
		return Result{State: NotThis}
	}
	low, high := min(c.proof, s.proof), max(c.proof, s.proof)
	evidence := c.evidence
	switch {
	case evidence == "":
		evidence = s.evidence
	case s.evidence != "":
		evidence += "; " + s.evidence
	}
	if preconnected {
		evidence = "Hyper-V preconnection PDU; " + evidence
	}
	answer := Result{State: Suspected, Label: "rdp", Evidence: evidence}
	switch {
	case high == rdpCertain && low >= rdpBare && low != rdpMCS:
		answer.State = Confirmed
	case high == rdpCertain, low == rdpMCS, low == rdpBare, c.proof == rdpBare && f.Closed:
	default:
		if f.Closed {
			return Result{State: NotThis}
		}
		return Result{State: NeedMore}
	}
	return answer
}

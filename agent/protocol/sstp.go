package protocol

// sstp recognises SSTP packets that are not under TLS. The HTTP start is named
// by sstpHTTP.
func sstp() Detector {
	return Detector{
		Name: "sstp",
		Doc: Doc{
			How:      "the HTTP method SSTP_DUPLEX_POST; on a flow caught in the middle the SSTP control packets themselves. Both only where TLS has been taken off",
			Confirms: "the server's HTTP 200, or its Call Connect Ack",
			Limits:   "SSTP is made to be under TLS, where nothing of it shows",
			Source:   "[MS-SSTP] 2.2; SoftEtherVPN src/Cedar/Proto_SSTP.h for the HTTP start; a capture of sstpc",
		},
		TCP:  func(first []byte, _ bool) bool { return starts(first, "\x10\x01\x00") },
		Look: lookSSTP,
	}
}

// Messages of [MS-SSTP] 2.2.2.
const (
	sstpConnectRequest = 1
	sstpConnectAck     = 2
	sstpConnectNak     = 3
	sstpEchoRequest    = 8
	sstpEchoResponse   = 9
	sstpMaxPacket      = 4095
)

// sstpMessage reads a control packet: version 0x10, control bit, 12-bit length,
// message type, number of attributes.
func sstpMessage(b []byte) (kind int, ok bool) {
	c := newCursor(b)
	version, control, length := c.uint(1), c.uint(1), c.uint(2)
	kind = c.uint(2)
	attributes := c.uint(2)
	if !c.ok || version != 0x10 || control != 1 || length < 8 || length > sstpMaxPacket || kind < 1 || kind > 9 || attributes > 4 {
		return 0, false
	}
	if len(b) < length {
		return 0, false
	}
	at := 8
	for ; attributes > 0 && at+4 <= length; attributes-- {
		n := int(b[at+2])<<8 | int(b[at+3])
		if b[at] != 0 || n < 4 {
			return 0, false
		}
		at += n
	}
	return kind, attributes == 0 && at == length
}

func lookSSTP(f *Flow) Result {
	c, cOK := sstpMessage(f.Client.Stream)
	s, sOK := sstpMessage(f.Server.Stream)
	answer := Result{State: Suspected, Label: "sstp", Evidence: "SSTP control packet from one side, without TLS"}
	switch {
	case cOK && sOK && (c == sstpConnectRequest && (s == sstpConnectAck || s == sstpConnectNak) || c >= sstpEchoRequest && s >= sstpEchoRequest):
		answer.State, answer.Evidence = Confirmed, "SSTP control packets from both sides, without TLS"
	case cOK && c == sstpConnectRequest:
	case f.Closed:
		return Result{State: NotThis}
	default:
		return Result{State: NeedMore}
	}
	return answer
}

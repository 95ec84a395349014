package protocol

import "bytes"

// lookWebSocket looks at the first frames of a WebSocket (RFC 6455 section 5.2)
// for RFB, which noVNC and its like carry there. open says that the server's
// first frame may still come: a VNC server speaks first.
func lookWebSocket(client, server []byte) (answer Result, open bool) {
	end := []byte("\r\n\r\n")
	c, s := bytes.Index(client, end), bytes.Index(server, end)
	if c < 0 || s < 0 {
		return Result{}, true
	}
	client, server = client[c+len(end):], server[s+len(end):]
	var their, ours [rfbVersion]byte
	if n := frameStart(server, their[:]); n < rfbVersion || readRFB(their[:]) != Suspected {
		return Result{}, len(server) == 0 || len(server) < 2+rfbVersion && begins(server, "\x82\x0cRFB ")
	}
	answer = Result{State: Suspected, Label: "vnc", Evidence: "RFB protocol version of the server in a WebSocket"}
	switch n := frameStart(client, ours[:]); {
	case n < rfbVersion:
		return answer, true
	case readRFB(ours[:]) == Suspected:
		answer.State, answer.Evidence = Confirmed, "RFB protocol version from both sides, in a WebSocket"
	}
	return answer, false
}

// frameStart copies the start of the first frame's payload to out, unmasked,
// and says how much came. Only short binary frames are read.
func frameStart(b, out []byte) int {
	c := newCursor(b)
	kind, n := c.uint(1)&0x0f, c.uint(1)
	var mask []byte
	if n&0x80 != 0 {
		mask = c.take(4)
	}
	if n &= 0x7f; !c.ok || kind != 2 || n >= 126 {
		return 0
	}
	have := copy(out[:min(n, len(out))], c.b)
	for i := range out[:have] {
		if mask != nil {
			out[i] ^= mask[i%4]
		}
	}
	return have
}

package protocol

import "encoding/binary"

// openvpn is the detector, over UDP and TCP, on any port.
func openvpn() Detector {
	return Detector{
		Name: "openvpn",
		Doc: Doc{
			How:      "Control packets whose opcode, key id, session id, ACK array and message id fit, plain or under tls-auth (MD5 to SHA-512), tls-crypt or tls-crypt-v2; over TCP behind their length.",
			Confirms: "One side repeats the other's session id; under tls-crypt, which hides it, a client's and a server's reset, or control packets both ways.",
			Limits:   "Static-key mode has no field in the clear and cannot be told from noise, nor can packets scrambled by a patch. In the middle of a flow only version 2 data shows, by a lasting peer id and a rising packet id or whole cipher blocks, which is no more than suspected; version 1 data has one byte in the clear and is left unknown.",
			Source:   "OpenVPN wire protocol (openvpn.github.io/openvpn-rfc), doc/tls-crypt-v2.txt; Xue et al., OpenVPN is Open to VPN Fingerprinting, USENIX Security 2022",
		},
		UDP: func(first []byte, _ int, _ bool) bool {
			return len(first) >= openvpnPlain && openvpnOpcode(first[0]) != 0 && !isSTUN(first)
		},
		TCP:  func(first []byte, _ bool) bool { return openvpnStream(first) },
		Look: lookOpenVPN,
	}
}

// openvpnStream is the cheap test of a stream: a length, and an opcode.
func openvpnStream(first []byte) bool {
	if len(first) < 3 {
		return false
	}
	n, op := binary.BigEndian.Uint16(first), openvpnOpcode(first[2])
	return n >= openvpnPlain && n <= openvpnLargest && op != 0 && op != openvpnDataV1
}

// openvpnCursor walks the packets of a side.
type openvpnCursor struct {
	side *Side
	tcp  bool
	at   int
}

func (c *openvpnCursor) next() (b []byte, length int, ok bool) {
	if !c.tcp {
		if c.at >= len(c.side.Datagrams) {
			return nil, 0, false
		}
		c.at++
		return c.side.Datagrams[c.at-1], c.side.Lengths[c.at-1], true
	}
	rest := c.side.Stream[c.at:]
	if len(rest) < 2 {
		return nil, 0, false
	}
	length = int(binary.BigEndian.Uint16(rest))
	if len(rest) < 2+length {
		return nil, 0, false
	}
	c.at += 2 + length
	return rest[2 : 2+length], length, true
}

// openvpnRead is how many packets of a side are weighed.
const openvpnRead = 8

// openvpnSide is what one side's packets show under one wrap.
type openvpnSide struct {
	sessions [openvpnRead]uint64
	remotes  [openvpnRead]uint64
	n        int
	reset    byte // opcode of its first hard reset
	times    [openvpnRead]uint32
	lasting  bool // two packets or more, the last of the first's session and counter
	tls      bool // one of them carries a TLS record
}

// readOpenVPN reads a side's control packets. ok is false when a packet cannot
// be OpenVPN's under this wrap.
func readOpenVPN(s *Side, tcp bool, w openvpnWrap) (o openvpnSide, ok bool) {
	c := openvpnCursor{side: s, tcp: tcp}
	for i := 0; i < openvpnRead; i++ {
		b, length, more := c.next()
		if !more {
			break
		}
		if len(b) == 0 {
			return o, false
		}
		if op := openvpnOpcode(b[0]); op == openvpnDataV1 || op == openvpnDataV2 {
			continue
		}
		m, fits := w.read(b, length)
		if !fits && len(b) < length {
			continue // cut by the capture: its fields cannot be told
		}
		if !fits {
			return o, false
		}
		o.lasting = o.n > 0 && m.session == o.sessions[0] && m.time-o.times[0]+openvpnApart <= 2*openvpnApart
		o.sessions[o.n], o.remotes[o.n], o.times[o.n] = m.session, m.remote, m.time
		o.n++
		o.tls = o.tls || m.tls
		if o.reset == 0 && openvpnReset(m.opcode) {
			o.reset = m.opcode
		}
	}
	return o, true
}

func lookOpenVPN(f *Flow) Result {
	tcp := f.Proto == 6
	best, fits := Result{}, false
	for _, w := range openvpnWraps {
		client, ok := readOpenVPN(&f.Client, tcp, w)
		if !ok {
			continue
		}
		server, ok := readOpenVPN(&f.Server, tcp, w)
		if !ok {
			continue
		}
		fits = fits || client.n+server.n > 0
		r := judgeOpenVPN(&client, &server, w)
		if r.State == Confirmed {
			return r
		}
		if r.State == Suspected && best.State != Suspected {
			best = r
		}
	}
	switch {
	case best.State == Suspected:
		return best
	case fits && !openvpnLast(f, tcp):
		return Result{State: NeedMore}
	}
	return lookOpenVPNData(f, tcp)
}

// judgeOpenVPN weighs both sides under one wrap.
func judgeOpenVPN(client, server *openvpnSide, w openvpnWrap) Result {
	if client.echoes(server) || server.echoes(client) {
		return Result{State: Confirmed, Label: "openvpn", Evidence: openvpnEchoEvidence(w)}
	}
	if w == openvpnCrypt {
		clientReset := client.reset == openvpnClientV2 || client.reset == openvpnClientV3
		if clientReset && server.reset == openvpnServerV2 || client.lasting && server.lasting && client.sessions[0] != server.sessions[0] {
			if client.reset == openvpnClientV3 {
				return Result{State: Confirmed, Label: "openvpn", Evidence: "client reset with a tls-crypt-v2 wrapped key, and the server's tls-crypt answer"}
			}
			return Result{State: Confirmed, Label: "openvpn", Evidence: "tls-crypt control packets both ways, with packet id and time in front"}
		}
	}
	switch {
	case client.reset == openvpnClientV3 || server.reset == openvpnClientV3:
		return Result{State: Suspected, Label: "openvpn", Evidence: "hard reset (opcode 10) that ends in a tls-crypt-v2 wrapped key of its own length, not answered"}
	case client.telling(w) || server.telling(w):
		return Result{State: Suspected, Label: "openvpn", Evidence: openvpnResetEvidence(w)}
	case client.lasting && (w != 0 || client.tls), server.lasting && (w != 0 || server.tls):
		return Result{State: Suspected, Label: "openvpn", Evidence: "control packets of one session, one way"}
	}
	return Result{}
}

// telling says whether the side's reset tells by itself. Under tls-crypt a server's
// may have many lengths and a high packet id, and needs a second packet.
func (o *openvpnSide) telling(w openvpnWrap) bool {
	return o.reset != 0 && (w != openvpnCrypt || o.reset != openvpnServerV2 || o.lasting)
}

// echoes says whether o has repeated a session id of from.
func (o *openvpnSide) echoes(from *openvpnSide) bool {
	for _, remote := range o.remotes[:o.n] {
		for _, session := range from.sessions[:from.n] {
			if remote != 0 && remote == session {
				return true
			}
		}
	}
	return false
}

func openvpnEchoEvidence(w openvpnWrap) string {
	if w > 0 {
		return "control packets under tls-auth, and one side acknowledged with the other's session id"
	}
	return "control packets, and one side acknowledged with the other's session id"
}

func openvpnResetEvidence(w openvpnWrap) string {
	switch {
	case w == openvpnCrypt:
		return "hard reset under tls-crypt, with packet id and time in front, one way"
	case w > 0:
		return "hard reset under tls-auth, with digest, packet id and time in front, one way"
	}
	return "hard reset with session id and message 0, one way"
}

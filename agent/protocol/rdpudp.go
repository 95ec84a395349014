package protocol

// rdpUDP recognises the handshake of RDP's UDP transport, versions 1 to 3.
func rdpUDP() Detector {
	return Detector{
		Name: "rdp-udp",
		Doc: Doc{
			How:      "a SYN datagram: source acknowledgement ff ff ff ff, flag SYN, both MTUs 1132 to 1232, zero padding; versions from its SYNEX payload. Caught in the middle, data packets of version 1 or 2 whose numbers agree",
			Confirms: "a SYN+ACK that acknowledges the client's initial sequence number; or data packets from both sides that acknowledge each other's",
			Limits:   "version 3 (RDPEUDP2) shows only its handshake",
			Source:   "[MS-RDPEUDP] 2.2.2, 3.1.5.1; [MS-RDPEUDP2] 1.3",
		},
		UDP: func(first []byte, length int, _ bool) bool {
			if len(first) < 16 {
				return false
			}
			if first[7]&rdpudpSYN != 0 {
				_, ok := parseRDPUDP(first, length)
				return ok
			}
			_, ok := parseRDPUDPData(first)
			return ok
		},
		Look: lookRDPUDP,
	}
}

// Flags of RDPUDP_FEC_HEADER, [MS-RDPEUDP] 2.2.2.1.
const (
	rdpudpSYN      = 0x0001
	rdpudpACK      = 0x0004
	rdpudpLossy    = 0x0200
	rdpudpID       = 0x0800
	rdpudpSYNEX    = 0x1000
	rdpudpSYNFlags = rdpudpSYN | rdpudpACK | rdpudpLossy | rdpudpID | rdpudpSYNEX | 0x00e0 // CN, CWR, SACK
)

// MTU limits, [MS-RDPEUDP] 2.2.2.5.
const (
	rdpudpMinMTU = 1132
	rdpudpMaxMTU = 1232
)

// rdpudpSYNPacket is a SYN or SYN+ACK.
type rdpudpSYNPacket struct {
	acknowledged, sequence uint32
	flags                  int
	version                int // 0 when not said
}

func parseRDPUDP(b []byte, length int) (rdpudpSYNPacket, bool) {
	c := newCursor(b)
	p := rdpudpSYNPacket{acknowledged: uint32(c.uint(4))}
	window := c.uint(2)
	p.flags, p.sequence = c.uint(2), uint32(c.uint(4))
	up, down := c.uint(2), c.uint(2)
	if !c.ok || p.flags&rdpudpSYN == 0 || p.flags&^rdpudpSYNFlags != 0 || window == 0 ||
		!mtu(up) || !mtu(down) {
		return p, false
	}
	ack := p.flags&rdpudpACK != 0
	if ack == (p.acknowledged == 0xffffffff) || length < rdpudpMinMTU && !ack || length > rdpudpMaxMTU+64 {
		return p, false
	}
	if p.flags&rdpudpID != 0 {
		c.take(32)
	}
	if p.flags&rdpudpSYNEX != 0 && !ack {
		if flags := c.uint(2); flags&1 != 0 {
			p.version = c.uint(2)
		}
	}
	return p, true
}

func mtu(n int) bool { return n >= rdpudpMinMTU && n <= rdpudpMaxMTU }

func lookRDPUDP(f *Flow) Result {
	syn, asked := findRDPUDP(&f.Client, 0)
	reply, answered := findRDPUDP(&f.Server, rdpudpACK)
	if !asked && !answered { // the capture may have begun with the server's answer
		reply, answered = findRDPUDP(&f.Client, rdpudpACK)
		syn, asked = findRDPUDP(&f.Server, 0)
	}
	answer := Result{State: Suspected, Label: "rdp-udp"}
	switch {
	case asked && answered && reply.acknowledged == syn.sequence:
		answer.State, answer.Evidence = Confirmed, "RDP-UDP SYN"+rdpudpVersion(syn.version)+", and a SYN+ACK that acknowledges its sequence number"
	case asked:
		answer.Evidence = "RDP-UDP SYN" + rdpudpVersion(syn.version)
	case answered:
		answer.Evidence = "RDP-UDP SYN+ACK"
	default:
		return lookRDPUDPData(f)
	}
	return answer
}

// findRDPUDP finds the first SYN whose ACK flag is as wanted.
func findRDPUDP(side *Side, ack int) (rdpudpSYNPacket, bool) {
	for i, d := range side.Datagrams {
		if p, ok := parseRDPUDP(d, side.Lengths[i]); ok && p.flags&rdpudpACK == ack {
			return p, true
		}
	}
	return rdpudpSYNPacket{}, false
}

// rdpudpVersion names uUdpVer of the SYNEX payload, [MS-RDPEUDP] 2.2.2.9.
func rdpudpVersion(v int) string {
	switch v {
	case 1:
		return " of version 1"
	case 2:
		return " of version 2"
	case 0x0101:
		return " of version 3"
	}
	return ""
}

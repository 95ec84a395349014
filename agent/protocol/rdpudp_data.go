package protocol

// Flags of a data packet of version 1 and 2, [MS-RDPEUDP] 2.2.2.1.
const (
	rdpudpData      = 0x0008
	rdpudpAckOfAcks = 0x0100
	rdpudpDataFlags = rdpudpACK | rdpudpData | rdpudpAckOfAcks | 0x00e0 | 0x0400 // CN, CWR, SACK, ACKDELAYED
)

// rdpudpDataPacket is a source packet with an acknowledgement.
type rdpudpDataPacket struct {
	acknowledged, sequence uint32
	payload                []byte
}

// parseRDPUDPData reads a data packet of a session in progress: the header, the
// ACK vector padded to four bytes ([MS-RDPEUDP] 2.2.2.7), perhaps the ACK of
// ACKs (2.2.2.6), and the source payload header (2.2.2.4), whose two sequence
// numbers are equal where no redundancy is in use.
func parseRDPUDPData(b []byte) (rdpudpDataPacket, bool) {
	c := newCursor(b)
	p := rdpudpDataPacket{acknowledged: uint32(c.uint(4))}
	window, flags := c.uint(2), c.uint(2)
	if !c.ok || window == 0 || flags&(rdpudpACK|rdpudpData) != rdpudpACK|rdpudpData || flags&^rdpudpDataFlags != 0 {
		return p, false
	}
	size := c.uint(2)
	if size > 2048 {
		return p, false
	}
	c.take((2+size+3)/4*4 - 2)
	if flags&rdpudpAckOfAcks != 0 {
		c.take(4)
	}
	coded := uint32(c.uint(4))
	p.sequence = uint32(c.uint(4))
	p.payload = c.b
	return p, c.ok && coded == p.sequence && coded != 0 && len(p.payload) > 0
}

// lookRDPUDPData judges a flow whose handshake was not seen.
func lookRDPUDPData(f *Flow) Result {
	c, cSecure := findRDPUDPData(&f.Client)
	s, sSecure := findRDPUDPData(&f.Server)
	answer := Result{State: Suspected, Label: "rdp-udp", Evidence: "RDP-UDP data packets that carry TLS or DTLS records, from one side"}
	switch {
	case c > 0 && s > 0 && rdpudpAgree(&f.Client, &f.Server):
		answer.State = Confirmed
		answer.Evidence = "RDP-UDP data packets from both sides, each acknowledging the other's sequence numbers"
	case cSecure > 1 || sSecure > 1:
	default:
		return undecided(f)
	}
	return answer
}

// findRDPUDPData counts data packets, and those that carry whole TLS or DTLS
// records.
func findRDPUDPData(side *Side) (n, secure int) {
	for _, d := range side.Datagrams {
		if p, ok := parseRDPUDPData(d); ok {
			n++
			if wholeRecords(p.payload) {
				secure++
			}
		}
	}
	return n, secure
}

// rdpudpAgree says whether each side acknowledges a number near those that the
// other has sent: a datagram may be on its way.
func rdpudpAgree(a, b *Side) bool {
	return rdpudpAcknowledges(a, b) && rdpudpAcknowledges(b, a)
}

func rdpudpAcknowledges(a, b *Side) bool {
	for _, x := range a.Datagrams {
		p, ok := parseRDPUDPData(x)
		if !ok {
			continue
		}
		for _, y := range b.Datagrams {
			if q, ok := parseRDPUDPData(y); ok && q.sequence-p.acknowledged+MaxDatagrams < 2*MaxDatagrams {
				return true
			}
		}
	}
	return false
}

// wholeRecords says whether b is TLS or DTLS records to its end.
func wholeRecords(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	for len(b) > 0 {
		head := 5
		if dtlsStarts(b) {
			head = dtlsHeader
		} else if !tlsStarts(b) {
			return false
		}
		if len(b) < head {
			return false
		}
		n := head + int(b[head-2])<<8 + int(b[head-1])
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}

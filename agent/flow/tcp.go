package flow

import (
	"sallyport/agent/capture"
	"sallyport/rules"
)

// tcpState is what the flags of both sides have shown. Bits are set and never
// cleared, so that reordering does no harm.
type tcpState struct {
	seen      uint8
	clientISN uint32
}

const (
	clientSYN = 1 << iota
	serverSYN
	clientACK
	clientFIN
	serverFIN
	reset
)

// closed says whether the flow has ended by its own packets.
func (s tcpState) closed() bool {
	return s.seen&reset != 0 || s.seen&(clientFIN|serverFIN) == clientFIN|serverFIN
}

// opening says whether nothing but a SYN has come.
func (s tcpState) opening() bool { return s.seen&^clientSYN == 0 }

// reopened says whether p opens a new flow on the tuple of this one: a SYN with
// another sequence number than this flow's own, once this one has ended or the
// number shows that it is no retransmission.
func (s tcpState) reopened(p *capture.Packet) bool {
	if p.Flags&(capture.SYN|capture.ACK) != capture.SYN || p.Flags&capture.RST != 0 {
		return false
	}
	return s.closed() || s.seen&clientSYN == 0 || s.clientISN != p.Seq
}

// tcpPacket follows the flags.
func (f *Flow) tcpPacket(p *capture.Packet, fromClient bool) {
	s := &f.tcp
	switch {
	case p.Flags&capture.RST != 0:
		if !fromClient && s.seen&(serverSYN|clientACK) == 0 && f.FromServer.Payloads == 0 && !f.MidFlow {
			f.reached(rules.OutcomeRefused)
		}
		s.seen |= reset
		return
	case p.Flags&capture.SYN != 0 && fromClient:
		s.seen |= clientSYN
		s.clientISN = p.Seq
	case p.Flags&capture.SYN != 0:
		s.seen |= serverSYN
	case fromClient && p.Flags&capture.ACK != 0:
		s.seen |= clientACK
	}
	if p.Flags&capture.FIN != 0 {
		if fromClient {
			s.seen |= clientFIN
		} else {
			s.seen |= serverFIN
		}
	}
	switch {
	case f.FromClient.Payloads > 0 && f.FromServer.Payloads > 0:
		f.reached(rules.OutcomeData)
	case s.seen&serverSYN != 0 && s.seen&clientACK != 0, f.MidFlow && p.Sent > 0:
		f.reached(rules.OutcomeEstablished)
	default:
		f.reached(rules.OutcomeAttempted)
	}
}

// start tells the streams where they begin.
func (l *look) start(p *capture.Packet, fromClient bool) {
	if p.Flags&capture.SYN == 0 {
		return
	}
	l.sides[index(fromClient)].stream.start(p.Seq + 1)
	if p.Flags&capture.ACK != 0 { // the far side's first byte is the one acknowledged
		l.sides[index(!fromClient)].stream.start(p.Ack)
	}
}

func index(fromClient bool) int {
	if fromClient {
		return 0
	}
	return 1
}

package protocol

import "encoding/binary"

// The first 16 bits of L2TP (RFC 2661 section 3.1, RFC 3931 section 3.2.1).
const (
	l2tpControl  = 0x8000
	l2tpLength   = 0x4000
	l2tpSequence = 0x0800
	l2tpOffset   = 0x0200
	l2tpReserved = 0x34f0
	l2tpVersion  = 0x000f

	l2tpControl2 = l2tpControl | l2tpLength | l2tpSequence | 2 // what every control message has
	l2tpControl3 = l2tpControl | l2tpLength | l2tpSequence | 3

	l2tpHeader = 12 // of a control message in both versions
	l2tpAVP    = 8  // message type: flags and length, vendor, attribute, value
)

// l2tp is the detector of versions 2 and 3 over UDP, and of version 3 directly
// on IP (protocol 115).
func l2tp() Detector {
	return Detector{
		Name: "l2tp",
		Doc: Doc{
			How:      "Control messages: flags c802 or c803, the datagram's own length, and a message-type AVP first. Data: a sound header and PPP whose own length or version fits. IP protocol 115.",
			Confirms: "Both sides send such messages.",
			Limits:   "L2TP inside IPsec shows as IPsec. Data of version 3 over UDP without its control messages has no structure of its own.",
			Source:   "RFC 2661, RFC 3931",
		},
		UDP: func(first []byte, length int, _ bool) bool {
			return l2tpMessage(first, length) || l2tpPPP(first, length)
		},
		Proto: 115,
		Look:  lookL2TP,
	}
}

func lookL2TP(f *Flow) Result {
	if f.Proto == 115 {
		if len(f.Client.Datagrams) > 0 && len(f.Server.Datagrams) > 0 {
			return Result{State: Confirmed, Label: "l2tp", Evidence: "L2TPv3 directly on IP (protocol 115) both ways"}
		}
		return Result{State: Suspected, Label: "l2tp", Evidence: "L2TPv3 directly on IP (protocol 115) one way"}
	}
	clientControl, clientData, clientOK := readL2TP(&f.Client)
	serverControl, serverData, serverOK := readL2TP(&f.Server)
	if !clientOK || !serverOK {
		return Result{State: NotThis}
	}
	state := sidesAgree(clientControl || clientData, serverControl || serverData)
	switch {
	case state == NeedMore:
		return undecided(f)
	case clientControl && serverControl:
		return Result{State: state, Label: "l2tp", Evidence: "L2TP control messages both ways, each with its message-type AVP first"}
	case clientControl || serverControl:
		return Result{State: state, Label: "l2tp", Evidence: "L2TP control message with its message-type AVP first"}
	}
	return Result{State: state, Label: "l2tp", Evidence: "L2TP data header with sound PPP behind it (no control message seen)"}
}

// readL2TP says what a side has sent, and whether all of it can be L2TP.
func readL2TP(s *Side) (control, data, ok bool) {
	for i, b := range s.Datagrams {
		switch {
		case l2tpMessage(b, s.Lengths[i]):
			control = control || s.Lengths[i] > l2tpHeader
		case l2tpPPP(b, s.Lengths[i]):
			data = true
		case len(b) >= 2 && l2tpOther(binary.BigEndian.Uint16(b)):
		default:
			return false, false, false
		}
	}
	return control, data, true
}

// l2tpOther says whether a datagram may be data whose payload tells nothing: a
// header of version 2 with sound flags, or of version 3 (RFC 3931 4.1.2.1).
func l2tpOther(head uint16) bool {
	return head&(l2tpControl|l2tpReserved|l2tpVersion) == 2 || head == 3
}

// l2tpMessage says whether a datagram is a control message: one that only
// acknowledges (the header alone), or one that opens with the message-type AVP
// (RFC 2661 4.1: attribute 0 of vendor 0, eight bytes, must be first).
func l2tpMessage(b []byte, length int) bool {
	if len(b) < l2tpHeader || int(binary.BigEndian.Uint16(b[2:])) != length {
		return false
	}
	if head := binary.BigEndian.Uint16(b); head != l2tpControl2 && head != l2tpControl3 {
		return false
	}
	if length == l2tpHeader {
		return true
	}
	if len(b) < l2tpHeader+l2tpAVP {
		return false
	}
	avp := b[l2tpHeader:]
	kind := binary.BigEndian.Uint16(avp[6:])
	return avp[0]&0x7f == 0 && avp[1] == l2tpAVP && zero(avp[2:6]) && kind >= 1 && kind <= 32
}

// l2tpPPP says whether a datagram is data of version 2 with PPP inside (RFC 2661
// 3.1), and the PPP frame is sound by itself.
func l2tpPPP(b []byte, length int) bool {
	if len(b) < 8 {
		return false
	}
	head := binary.BigEndian.Uint16(b)
	if head&(l2tpControl|l2tpReserved) != 0 || head&l2tpVersion != 2 {
		return false
	}
	at := 6 // flags, tunnel, session
	if head&l2tpLength != 0 {
		if int(binary.BigEndian.Uint16(b[2:])) != length {
			return false
		}
		at += 2
	}
	if head&l2tpSequence != 0 {
		at += 4
	}
	if head&l2tpOffset != 0 {
		if at+2 > len(b) {
			return false
		}
		at += 2 + int(binary.BigEndian.Uint16(b[at:]))
	}
	return at < len(b) && pppFrame(b[at:], length-at)
}

// pppFrame says whether b is a PPP frame whose payload bears it out: a control
// protocol with its own length (RFC 1661 5), or IP with its version. Where the
// address and control field (RFC 1662 3.1) is compressed away, and with it 16
// fixed bits, only IP that fills the frame counts.
func pppFrame(b []byte, length int) bool {
	if len(b) < 8 {
		return false
	}
	if b[0] != 0xff || b[1] != 0x03 {
		at := 2
		if b[0] != 0 {
			at = 1 // the protocol is compressed too (RFC 1661 6.5)
		}
		version := pppIP(uint16(b[at-1]))
		return version != 0 && ipFills(b[at:], length-at, version)
	}
	payload, protocol := b[4:], binary.BigEndian.Uint16(b[2:])
	switch protocol {
	case 0xc021, 0x8021, 0x8057, 0x80fd, 0xc023, 0xc223: // LCP, IPCP, IPV6CP, CCP, PAP, CHAP
		n := int(binary.BigEndian.Uint16(payload[2:]))
		return payload[0] >= 1 && payload[0] <= 15 && n >= 4 && n <= length-4
	case 0x00fd, 0x003d: // compressed or encrypted, multilink: nothing to check behind
		return true
	}
	version := pppIP(protocol)
	return version != 0 && payload[0]>>4 == version
}

// pppIP is the version of IP that a PPP protocol carries, 0 for the rest.
func pppIP(protocol uint16) byte {
	switch protocol {
	case 0x21:
		return 4
	case 0x57:
		return 6
	}
	return 0
}

// ipFills says whether b starts an IP packet of exactly length bytes.
func ipFills(b []byte, length int, version byte) bool {
	if len(b) < 6 || b[0]>>4 != version {
		return false
	}
	if version == 4 {
		return int(binary.BigEndian.Uint16(b[2:])) == length
	}
	return int(binary.BigEndian.Uint16(b[4:]))+40 == length
}

package protocol

import (
	"bytes"
	"encoding/binary"
)

// natMarker is how many zero bytes stand before IKE where ESP shares its port
// (RFC 3948 section 2.2).
const natMarker = 4

// ikeTCP opens IKE over TCP (RFC 9329 section 4): then each message has its
// length in front and, if IKE, the four zero bytes.
const ikeTCP = "IKETCP"

// ike is the detector of IKEv1 and IKEv2.
func ike() Detector {
	return Detector{
		Name: "ike",
		Doc: Doc{
			How:      "The 28-byte header with version 1.0 or 2.0, a known exchange and payload, the datagram's own length, and a chain of payloads that fits; with or without the NAT-T marker. Over TCP the IKETCP prefix.",
			Confirms: "Both sides send such messages with the same initiator SPI.",
			Limits:   "What is negotiated behind the first exchange is encrypted. A flow that carries IKE and ESP is called by its IKE.",
			Source:   "RFC 7296, RFC 2408, RFC 2409, RFC 3947, RFC 3948, RFC 7383, RFC 9329",
		},
		UDP: func(first []byte, length int, _ bool) bool {
			v, _ := ikeDatagram(first, length)
			return v != 0
		},
		TCP:  func(first []byte, client bool) bool { return client && bytes.HasPrefix(first, []byte(ikeTCP)) },
		Look: lookIKE,
	}
}

// ikeSide is what one side's datagrams show.
type ikeSide struct {
	version byte
	spi     uint64 // the initiator's, of the last message
}

// readIKE looks for messages and passes over the rest: keepalives, ESP, later
// fragments, and messages of peers that set reserved bits.
func readIKE(s *Side) (k ikeSide) {
	for i, b := range s.Datagrams {
		v, at := ikeDatagram(b, s.Lengths[i])
		if v != 0 {
			k.version, k.spi = v, binary.BigEndian.Uint64(b[at:])
		}
	}
	return k
}

// ikeDatagram is the version of the IKE message in a datagram, 0 when it is
// none, and where it starts: at 0, or behind the NAT-T marker.
func ikeDatagram(b []byte, length int) (version byte, at int) {
	if len(b) > natMarker && binary.BigEndian.Uint32(b) == 0 {
		if v := ikeMessage(b[natMarker:], length-natMarker); v != 0 {
			return v, natMarker
		}
	}
	return ikeMessage(b, length), 0
}

func lookIKE(f *Flow) Result {
	if f.Proto == 6 {
		return lookIKETCP(f)
	}
	client, server := readIKE(&f.Client), readIKE(&f.Server)
	version := max(client.version, server.version)
	if version == 0 {
		return undecided(f)
	}
	return ikeResult(version, client == server)
}

func ikeResult(version byte, both bool) Result {
	r := Result{State: Suspected, Label: "ikev1"}
	if version == ike2 {
		r.Label = "ikev2"
	}
	if both {
		r.State = Confirmed
	}
	switch {
	case both && version == ike2:
		r.Evidence = "IKEv2 messages both ways with the same initiator SPI"
	case both:
		r.Evidence = "ISAKMP (IKEv1) messages both ways with the same initiator cookie"
	case version == ike2:
		r.Evidence = "IKEv2 messages one way, lengths and payloads sound"
	default:
		r.Evidence = "ISAKMP (IKEv1) messages one way, lengths and payloads sound"
	}
	return r
}

// lookIKETCP reads the first message behind the prefix, and the first answer.
func lookIKETCP(f *Flow) Result {
	client, waitClient := ikeStream(bytes.TrimPrefix(f.Client.Stream, []byte(ikeTCP)))
	server, _ := ikeStream(f.Server.Stream)
	switch {
	case client == 0 && waitClient && !f.Closed:
		return Result{State: NeedMore}
	case client == 0:
		return Result{State: NotThis}
	case server == client:
		return ikeTCPResult(client, Confirmed)
	}
	return ikeTCPResult(client, Suspected)
}

// ikeStream is the version of the first message of a stream; wait says that it
// has not come whole.
func ikeStream(s []byte) (version byte, wait bool) {
	if len(s) < 2+natMarker+ikeHeader {
		return 0, true
	}
	n := int(binary.BigEndian.Uint16(s)) // counts itself (RFC 9329 section 3)
	if n < 2+natMarker+ikeHeader || binary.BigEndian.Uint32(s[2:]) != 0 {
		return 0, false
	}
	if len(s) < n {
		return 0, n <= MaxStream
	}
	return ikeMessage(s[2+natMarker:n], n-2-natMarker), false
}

func ikeTCPResult(version byte, state State) Result {
	r := ikeResult(version, state == Confirmed)
	if state == Confirmed {
		r.Evidence = "IKETCP prefix, then IKE messages both ways"
	} else {
		r.Evidence = "IKETCP prefix and an IKE message from the client"
	}
	return r
}

package protocol

import "encoding/binary"

// The header of Nebula (slackhq/nebula, header/header.go): version and type in
// one byte, subtype, two reserved bytes, remote index, message counter.
const (
	nebulaHeader    = 16
	nebulaVersion   = 1
	nebulaHandshake = 0 // message 1 has remote index 0 and counter 1, message 2 counter 2
	nebulaRecvError = 2 // a header alone: the receiver does not know the index
	nebulaLastType  = 6 // control
	nebulaLastSub   = 2
	nebulaPunch     = 1 // a datagram of one byte 01 keeps the NAT open

	nebulaKeys = 32 // a Noise message starts with an ephemeral key
	nebulaTag  = 16 // of AES-GCM and ChaCha20-Poly1305
)

// nebula is the detector.
func nebula() Detector {
	return Detector{
		Name: "nebula",
		Doc: Doc{
			How:      "The 16-byte header: version 1, a known type, reserved bytes zero, and a handshake's index and counter.",
			Confirms: "The handshake's second message from the other side; or, without a handshake, both sides keep their remote index and count up.",
			Limits:   "One packet in the middle of a tunnel tells nothing.",
			Source:   "slackhq/nebula, header/header.go and handshake_ix.go (source read for facts)",
		},
		UDP:  func(first []byte, _ int, _ bool) bool { return nebulaMessage(first) },
		Look: lookNebula,
	}
}

func nebulaMessage(b []byte) bool {
	return len(b) >= nebulaHeader && b[0]>>4 == nebulaVersion && b[0]&0xf <= nebulaLastType &&
		b[1] <= nebulaLastSub && b[2]|b[3] == 0
}

// nebulaSide is what one side's datagrams show.
type nebulaSide struct {
	first, second bool // the messages of a handshake
	index         uint32
	counter       sequence
	strange       bool
}

func readNebula(s *Side) (n nebulaSide) {
	for _, b := range s.Datagrams {
		if len(b) == 1 && b[0] == nebulaPunch {
			continue
		}
		if !nebulaMessage(b) {
			n.strange = true
			return n
		}
		index, counter := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:])
		if b[0]&0xf == nebulaHandshake {
			keyed := len(b) > nebulaHeader+2*nebulaKeys && dense(b[nebulaHeader:nebulaHeader+nebulaKeys])
			n.first = n.first || keyed && index == 0 && counter == 1
			n.second = n.second || keyed && index != 0 && counter == 2
			continue
		}
		if n.counter.n > 0 && index != n.index {
			n.counter = sequence{}
		}
		n.index = index
		sealed := len(b) >= nebulaHeader+nebulaTag && dense(b[nebulaHeader:])
		n.strange = n.strange || !sealed && b[0]&0xf != nebulaRecvError || !n.counter.add(counter)
	}
	return n
}

func lookNebula(f *Flow) Result {
	client, server := readNebula(&f.Client), readNebula(&f.Server)
	switch {
	case client.strange || server.strange:
		return Result{State: NotThis}
	case client.first && server.second, server.first && client.second:
		return Result{State: Confirmed, Label: "nebula", Evidence: "Nebula handshake: first message, and the second with its index from the other side"}
	case client.counter.rising(2) && server.counter.rising(2) && client.index != server.index:
		return Result{State: Confirmed, Label: "nebula", Evidence: "Nebula packets both ways, each with its own lasting remote index and a rising counter (no handshake seen)"}
	case client.first || server.first:
		return Result{State: Suspected, Label: "nebula", Evidence: "first message of a Nebula handshake, not answered"}
	case client.second || server.second:
		return Result{State: Suspected, Label: "nebula", Evidence: "second message of a Nebula handshake"}
	case client.counter.rising(4) || server.counter.rising(4):
		return Result{State: Suspected, Label: "nebula", Evidence: "Nebula packets one way with a lasting remote index and a rising counter"}
	}
	return undecided(f)
}

package protocol

import (
	"bytes"
	"encoding/binary"
)

// A datagram of tinc 1.1 between two nodes (gsliepen/tinc net_packet.c
// send_sptps_data, sptps.c): where it goes, zero for one that is not relayed,
// the sender's node id, a sequence number, and a sealed record whose type takes
// one byte.
const (
	tincSender   = 6
	tincNumber   = 12
	tincSealed   = 16
	tincShortest = tincSealed + 1 + 16
)

// tincUDP is the detector of tinc 1.1's datagrams.
func tincUDP() Detector {
	return Detector{
		Name: "tinc-udp",
		Doc: Doc{
			How:      "Datagrams of tinc 1.1 that go straight to a node: six zero bytes, the sender's node id, a sequence number that rises, ciphertext.",
			Confirms: "Both sides do so, each with its own lasting id.",
			Limits:   "Those of tinc 1.0 have no field in the clear; those that a third node relays, and those of one side alone, are left unknown.",
			Source:   "gsliepen/tinc, src/net_packet.c and src/sptps.c (source read for facts)",
		},
		UDP:  func(first []byte, _ int, _ bool) bool { return tincDatagram(first) },
		Look: lookTincUDP,
	}
}

func tincDatagram(b []byte) bool {
	return len(b) >= tincShortest && zero(b[:tincSender]) && !zero(b[tincSender:tincNumber]) && dense(b[tincSealed:])
}

func lookTincUDP(f *Flow) Result {
	client, clientOK := readTincUDP(&f.Client)
	server, serverOK := readTincUDP(&f.Server)
	switch {
	case !clientOK || !serverOK || client.id != nil && bytes.Equal(client.id, server.id):
		return Result{State: NotThis}
	case client.numbers.rising(2) && server.numbers.rising(2):
		return Result{State: Confirmed, Label: "tinc", Evidence: "tinc 1.1 datagrams both ways, each with its own lasting node id and rising sequence numbers"}
	}
	return undecided(f)
}

// tincSide follows the datagrams of one direction.
type tincSide struct {
	id      []byte
	numbers sequence
}

func readTincUDP(s *Side) (t tincSide, ok bool) {
	for _, b := range s.Datagrams {
		if !tincDatagram(b) {
			return t, false
		}
		id := b[tincSender:tincNumber]
		if t.id != nil && !bytes.Equal(t.id, id) || !t.numbers.add(uint64(binary.BigEndian.Uint32(b[tincNumber:]))) {
			return t, false
		}
		t.id = id
	}
	return t, true
}

package protocol

import "encoding/binary"

// ESP in UDP (RFC 3948): an SPI that is not reserved (RFC 4303 2.1), a sequence
// number, ciphertext; or one byte ff, which keeps the NAT open (2.3).
const (
	natPort      = 4500
	gpPort       = 4501 // GlobalProtect's gateways (OpenConnect gpst.c)
	natKeepalive = 0xff
	espReserved  = 256
	espHeader    = 8
	espShortest  = espHeader + 12
	espAlign     = 4 // the trailer ends on a 32-bit word (RFC 4303 2.4)
	espRising    = 2 // packets of a side that count up
	espOneWay    = 4 // where the other side says nothing
)

// espUDP is the detector of flows that carry only ESP in UDP; where IKE is seen
// beside it, the flow is ike's.
func espUDP() Detector {
	return Detector{
		Name: "esp-udp",
		Doc: Doc{
			How:      "On port 4500, where an SPI lasts, its sequence numbers rise, and the rest is ciphertext.",
			Confirms: "Both sides do so, each with its own SPI.",
			Limits:   "On another port the same bytes could be any protocol with a number and a counter, and are left unknown; on port 4501 they are suspected to be globalprotect.",
			Source:   "RFC 3948 section 2, RFC 4303 section 2",
		},
		UDP: func(first []byte, length int, _ bool) bool {
			return length%espAlign == 0 && len(first) >= espShortest && binary.BigEndian.Uint32(first) >= espReserved
		},
		Look: lookESPUDP,
	}
}

// espFlow follows the ESP packets of one direction.
type espFlow struct {
	seq sequence
	spi uint32
}

func lookESPUDP(f *Flow) Result {
	if f.ServerPort == gpPort || f.ClientPort == gpPort {
		return lookGlobalProtectESP(f)
	}
	if f.ClientPort != natPort && f.ServerPort != natPort {
		return Result{State: NotThis}
	}
	client, ok := readESPUDP(&f.Client)
	if !ok {
		return Result{State: NotThis}
	}
	server, ok := readESPUDP(&f.Server)
	if !ok {
		return Result{State: NotThis}
	}
	switch {
	case client.seq.n > 0 && server.seq.n > 0 && client.spi == server.spi:
		return Result{State: NotThis} // a fixed mark, not two receivers' choices
	case client.seq.rising(espRising) && server.seq.rising(espRising):
		return Result{State: Confirmed, Label: "esp", Evidence: "ESP in UDP on port 4500 both ways, each with its own lasting SPI and rising sequence numbers"}
	case client.seq.rising(espOneWay) && client.seq.steady(), server.seq.rising(espOneWay) && server.seq.steady():
		return Result{State: Suspected, Label: "esp", Evidence: "ESP in UDP on port 4500 one way, with a lasting SPI and rising sequence numbers"}
	}
	return undecided(f)
}

// lookGlobalProtectESP judges the same on the port where GlobalProtect has it, with
// keys that were agreed on over TLS. No more than suspected: only the port tells
// it from other ESP.
func lookGlobalProtectESP(f *Flow) Result {
	client, clientOK := readESPUDP(&f.Client)
	server, serverOK := readESPUDP(&f.Server)
	switch {
	case !clientOK, !serverOK, client.seq.n > 0 && server.seq.n > 0 && client.spi == server.spi:
		return Result{State: NotThis}
	case client.seq.rising(espRising) && server.seq.rising(espRising):
		return Result{State: Suspected, Label: "globalprotect", Product: "GlobalProtect", Evidence: "ESP in UDP on GlobalProtect's port 4501 both ways, each with its own lasting SPI and rising sequence numbers"}
	}
	return undecided(f)
}

// readESPUDP follows one side. ok is false where a datagram cannot be ESP or a
// keepalive.
func readESPUDP(s *Side) (e espFlow, ok bool) {
	for i, b := range s.Datagrams {
		if len(b) == 1 && b[0] == natKeepalive {
			continue
		}
		if len(b) < espShortest || s.Lengths[i]%espAlign != 0 || !dense(b[espHeader:]) {
			return e, false
		}
		spi := binary.BigEndian.Uint32(b)
		if spi < espReserved || e.seq.n > 0 && spi != e.spi || !e.seq.add(uint64(binary.BigEndian.Uint32(b[4:]))) {
			return e, false
		}
		e.spi = spi
	}
	return e, true
}

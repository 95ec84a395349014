package protocol

import "encoding/binary"

// What open descriptions of LogMeIn Hamachi agree on; the protocol is closed.
const (
	hamachiMagic   = 0x7b7a0dad // at offset 12 of the first message to a server (nDPI, hamachi.c, 2025)
	hamachiMagicAt = 12
	hamachiLeast   = 296 // that message is longer than 300 bytes with its length

	hamachiHello = 76 // relay mode opens with datagrams of this size (libprotoident and nDPI)
	hamachiRim   = 8  // zero bytes at both ends

	hamachiData = 46    // the shortest data datagram observed
	hamachiPort = 17771 // the default for tunnels
)

// hamachi is the detector.
func hamachi() Detector {
	return Detector{
		Name: "hamachi",
		Doc: Doc{
			How:      "The server connection's first message with its length and magic number; the 76-byte datagrams that open a relayed tunnel; on port 17771 data with a lasting number, a small rising counter and a lasting short number per direction.",
			Confirms: "For the server connection, a length-prefixed answer; for a relayed tunnel, its opening both ways.",
			Limits:   "The protocol is closed: this rests on what others observed. Direct data is never more than suspected.",
			Source:   "nDPI hamachi.c (2025), libprotoident lpi_hamachi.cc (sources read for facts)",
		},
		TCP: func(first []byte, client bool) bool {
			return client && len(first) >= hamachiMagicAt+4 && binary.BigEndian.Uint32(first[hamachiMagicAt:]) == hamachiMagic
		},
		UDP: func(first []byte, length int, _ bool) bool {
			return hamachiOpening(first, length) || hamachiPacket(first)
		},
		Look: lookHamachi,
	}
}

func hamachiOpening(b []byte, length int) bool {
	return length == hamachiHello && len(b) == hamachiHello && zero(b[:hamachiRim]) && zero(b[hamachiHello-hamachiRim:]) &&
		dense(b[hamachiRim:hamachiHello-hamachiRim])
}

func hamachiPacket(b []byte) bool {
	if len(b) < hamachiData {
		return false
	}
	number, counter := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	return number != 0 && number != 0xffffffff && counter != 0 && counter <= 0xffff
}

func lookHamachi(f *Flow) Result {
	if f.Proto == 6 {
		return lookHamachiTCP(f)
	}
	clientOpen, client := readHamachi(&f.Client)
	serverOpen, server := readHamachi(&f.Server)
	switch {
	case clientOpen && serverOpen:
		return Result{State: Confirmed, Label: "hamachi", Evidence: "76-byte datagrams with zeros at both ends, both ways, as Hamachi opens a relayed tunnel"}
	case client.strange || server.strange:
		return Result{State: NotThis}
	case f.ClientPort != hamachiPort && f.ServerPort != hamachiPort:
		return undecided(f) // ESP, and others with a number and a counter, have the same bytes
	case client.counter.rising(4) && server.counter.rising(4) && client.number != server.number && client.short != server.short:
		return Result{State: Suspected, Label: "hamachi", Evidence: "data both ways with a lasting number, a small rising counter and a lasting short number each, as Hamachi's tunnels have"}
	}
	return undecided(f)
}

// hamachiSide follows the data packets of one direction.
type hamachiSide struct {
	number  uint32
	short   uint16
	counter sequence
	strange bool
}

func readHamachi(s *Side) (open bool, h hamachiSide) {
	for i, b := range s.Datagrams {
		if hamachiOpening(b, s.Lengths[i]) {
			open = true
			continue
		}
		if !hamachiPacket(b) || !dense(b[10:]) {
			h.strange = true
			return open, h
		}
		number, short := binary.BigEndian.Uint32(b), binary.BigEndian.Uint16(b[8:])
		if h.counter.n > 0 && (number != h.number || short != h.short) || !h.counter.add(uint64(binary.BigEndian.Uint32(b[4:]))) {
			h.strange = true
			return open, h
		}
		h.number, h.short = number, short
	}
	return open, h
}

func lookHamachiTCP(f *Flow) Result {
	c, s := f.Client.Stream, f.Server.Stream
	size := int(binary.BigEndian.Uint32(c)) // the cheap test saw that it has these bytes
	if f.MidFlow || size < hamachiLeast || size > MaxStream || len(c) > 4+size && len(s) == 0 {
		return Result{State: NotThis}
	}
	if len(s) >= 4 {
		if n := int(binary.BigEndian.Uint32(s)); n > 0 && n <= MaxStream && len(s) >= 4+n {
			return Result{State: Confirmed, Label: "hamachi", Evidence: "first message with Hamachi's magic number and its length, and a length-prefixed answer"}
		}
	}
	return Result{State: Suspected, Label: "hamachi", Evidence: "first message with Hamachi's magic number and its length"}
}

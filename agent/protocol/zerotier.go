package protocol

import (
	"bytes"
	"encoding/binary"
)

// The header of a ZeroTier packet (ZeroTierOne, node/Packet.hpp): id and nonce,
// destination, source, flags with cipher and hops, MAC, verb.
const (
	zerotierDest   = 8
	zerotierSource = 13
	zerotierFlags  = 18
	zerotierVerb   = 27
	zerotierMin    = 28
	zerotierAddr   = 5

	// HELLO, sent in the clear: protocol version, software version, milliseconds
	// since 1970, then the sender's identity, which starts with its address.
	zerotierHello    = 1
	zerotierProtocol = 28
	zerotierTime     = 33
	zerotierIdentity = 41
	zerotierKind     = 46
	zerotierHelloMin = 47 + 64

	zerotierLastCipher = 3 // AES-GMAC-SIV

	zerotierNewest = 32             // protocol version; 13 in 1.14
	zerotierOldest = 1_300_000_000  // seconds: 2011, before the first release
	zerotierLatest = 10_000_000_000 // seconds: 2286
)

// zerotier is the detector.
func zerotier() Detector {
	return Detector{
		Name: "zerotier",
		Doc: Doc{
			How:      "HELLO in the clear whose identity starts with the packet's source address; else both sides' packets name the same two 40-bit addresses, swapped.",
			Confirms: "A HELLO, and a packet from the other side that names both addresses swapped.",
			Limits:   "What is inside is encrypted. Packets that a root relays for others name other addresses and prove nothing.",
			Source:   "ZeroTierOne, node/Packet.hpp (source read for facts)",
		},
		UDP: func(first []byte, _ int, _ bool) bool {
			return len(first) >= zerotierMin && dense(first[:zerotierDest]) && first[zerotierFlags]>>3&7 <= zerotierLastCipher &&
				zerotierAddress(first[zerotierDest:]) && zerotierAddress(first[zerotierSource:])
		},
		Look: lookZerotier,
	}
}

// zerotierAddress says whether b starts with an address that a node can have:
// none starts with ff, which marks fragments, and none is zero.
func zerotierAddress(b []byte) bool {
	return b[0] != 0xff && !zero(b[:zerotierAddr]) && !(b[0] == b[1] && b[1] == b[2] && b[2] == b[3] && b[3] == b[4])
}

func isZerotierHello(b []byte) bool {
	if len(b) < zerotierHelloMin || b[zerotierFlags]>>3&7 != 0 || b[zerotierVerb] != zerotierHello {
		return false
	}
	seconds := binary.BigEndian.Uint64(b[zerotierTime:]) / 1000
	return b[zerotierProtocol] >= 1 && b[zerotierProtocol] <= zerotierNewest &&
		seconds >= zerotierOldest && seconds <= zerotierLatest &&
		bytes.Equal(b[zerotierSource:zerotierSource+zerotierAddr], b[zerotierIdentity:zerotierIdentity+zerotierAddr]) &&
		b[zerotierKind] <= 1
}

// zerotierSwapped says whether two packets name the same two addresses in
// opposite order.
func zerotierSwapped(a, b []byte) bool {
	return len(a) >= zerotierMin && len(b) >= zerotierMin &&
		zerotierAddress(a[zerotierDest:]) && zerotierAddress(a[zerotierSource:]) &&
		!bytes.Equal(a[zerotierDest:zerotierSource], a[zerotierSource:zerotierFlags]) &&
		bytes.Equal(a[zerotierDest:zerotierSource], b[zerotierSource:zerotierFlags]) &&
		bytes.Equal(a[zerotierSource:zerotierFlags], b[zerotierDest:zerotierSource])
}

func lookZerotier(f *Flow) Result {
	hello, swapped := false, 0
	for _, c := range f.Client.Datagrams {
		hello = hello || isZerotierHello(c)
		for _, s := range f.Server.Datagrams {
			if zerotierSwapped(c, s) {
				swapped++
			}
		}
	}
	for _, s := range f.Server.Datagrams {
		hello = hello || isZerotierHello(s)
	}
	switch {
	case hello && swapped > 0:
		return Result{State: Confirmed, Label: "zerotier", Evidence: "ZeroTier HELLO, and the other side's packets name both addresses swapped"}
	case hello:
		return Result{State: Suspected, Label: "zerotier", Evidence: "ZeroTier HELLO whose identity is the packet's source address"}
	case swapped >= 4 && zerotierVaried(&f.Client) && zerotierVaried(&f.Server):
		return Result{State: Suspected, Label: "zerotier", Evidence: "packets both ways that name the same two 40-bit addresses swapped, behind a fresh id each (no HELLO seen)"}
	case swapped == 0 && len(f.Client.Datagrams) > 1 && len(f.Server.Datagrams) > 1:
		return Result{State: NotThis}
	}
	return undecided(f)
}

// zerotierVaried says whether a side's first two packets differ in their ids and
// look encrypted behind the header.
func zerotierVaried(s *Side) bool {
	if len(s.Datagrams) < 2 {
		return false
	}
	a, b := s.Datagrams[0], s.Datagrams[1]
	return len(a) >= zerotierMin+8 && len(b) >= zerotierMin+8 && !bytes.Equal(a[:4], b[:4]) &&
		dense(a[zerotierFlags+1:]) && dense(b[zerotierFlags+1:])
}

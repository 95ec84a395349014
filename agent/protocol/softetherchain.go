package protocol

import "bytes"

// SoftEther's own UDP packets have no fixed byte, but each names the
// initialisation vector of the next inside its ciphertext, where anyone can see
// it (SoftEtherVPN, src/Cedar/UdpAccel.c UdpAccelSend, src/Mayaqua/Network.c
// RUDPSendSegmentNow and RUDPBulkSend):
//
//   - UDP acceleration and R-UDP bulk: IV, ciphertext; the next IV is the start
//     of the ciphertext. 12 bytes in version 2, 20 in version 1.
//   - R-UDP: 20-byte signature, 20-byte IV, ciphertext; the next IV is 20 bytes
//     of the finished packet at a random place.
const (
	softEtherIV2  = 12
	softEtherIV1  = 20
	softEtherSign = 20

	softEtherShortest = softEtherSign + softEtherIV1 + softEtherBeyond
	softEtherReach    = 3 // datagrams back: order may be lost, and kinds alternate
)

// softEtherLinked says whether the last datagram's IV was announced by one of
// those before it. head is what stands in front of each, such as an ICMP header.
func softEtherLinked(datagrams [][]byte, head int) bool {
	last := len(datagrams) - 1
	if last < 1 || len(datagrams[last]) < head+softEtherShortest {
		return false
	}
	for i := max(0, last-softEtherReach); i < last; i++ {
		if len(datagrams[i]) >= head+softEtherShortest && softEtherFollows(datagrams[i][head:], datagrams[last][head:]) {
			return true
		}
	}
	return false
}

// softEtherChain says whether any datagram of a side is linked to one before.
func softEtherChain(s *Side, head int) bool {
	for n := len(s.Datagrams); n > 1; n-- {
		if softEtherLinked(s.Datagrams[:n], head) {
			return true
		}
	}
	return false
}

// softEtherFollows says whether a announces the IV of b. Bytes that repeat by
// themselves do not count: both must look random as a whole, the IV must stand in
// each once, and what surrounds it must differ.
func softEtherFollows(a, b []byte) bool {
	return (softEtherAnnounced(a, b, softEtherIV2, 0, softEtherIV2) ||
		softEtherAnnounced(a, b, softEtherIV1, 0, softEtherIV1) ||
		softEtherAnnounced(a, b, softEtherIV1, softEtherSign, softEtherAnywhere)) && dense(a) && dense(b)
}

const (
	softEtherAnywhere = -1
	softEtherBeyond   = 4 // bytes behind an IV that must differ
)

// softEtherAnnounced looks in a, at a place or anywhere, for the IV of size bytes
// that b has at offset at.
func softEtherAnnounced(a, b []byte, size, at, place int) bool {
	iv, rest := b[at:at+size], b[at+size:]
	if place == softEtherAnywhere {
		if place = bytes.Index(a, iv); place < 0 {
			return false
		}
	} else if !bytes.Equal(a[place:place+size], iv) {
		return false
	}
	behind := a[place+size:]
	n := min(softEtherBeyond, len(behind))
	return !bytes.Equal(a[at:at+size], iv) && !bytes.Equal(behind[:n], rest[:n]) &&
		bytes.Index(rest, iv) < 0 && bytes.Index(behind, iv) < 0
}

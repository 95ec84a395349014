package protocol

import (
	"bytes"
	"encoding/binary"
)

// Common headers of n2n. Versions 2 and 3: version, TTL, 16-bit flags whose low
// five bits are the packet type, community (n2n wire.c, doc/Protocol). Version
// 1: version, type, TTL, from-supernode, community, two MAC addresses, two peer
// addresses that start with their family (n2n 1.3 n2n.h).
const (
	n2nTypes     = 0x001f
	n2nLastType  = 10 // QUERY_PEER
	n2nFlags     = 0x00e0
	n2nMaxTTL    = 8 // 2 unless set otherwise
	n2nShortest  = 2 // of a community's name: a single letter is too little to tell by
	n2nText2     = 16
	n2nText3     = 20
	n2nFamilies1 = 32 // offset of the public peer address; the private one is 20 on
	n2nHeader1   = 76
	n2nText      = 4

	n2nIPv4 = 2 // AF_INET, AF_INET6 of Linux
	n2nIPv6 = 10
)

// n2n is the detector of versions 1, 2 and 3.
func n2n() Detector {
	return Detector{
		Name: "n2n",
		Doc: Doc{
			How:      "The common header: version, TTL, type and flags, and the community's name with its padding; in version 1 also the families of two peer addresses.",
			Confirms: "Both sides name the same community.",
			Limits:   "With header encryption (-H) nothing is in the clear.",
			Source:   "ntop/n2n doc/Protocol, n2n.h, wire.c (source read for facts)",
		},
		UDP:  func(first []byte, _ int, _ bool) bool { return n2nCommunity(first) != nil },
		Look: lookN2N,
	}
}

// n2nCommunity is the name of the community in a packet, nil when it is none.
func n2nCommunity(b []byte) []byte {
	if len(b) < 28 {
		return nil
	}
	switch b[0] {
	case 1:
		if len(b) < n2nHeader1 || b[1] < 1 || b[1] > 6 || b[2] > n2nMaxTTL || b[3] > 1 ||
			!n2nFamily(b[n2nFamilies1]) || !n2nFamily(b[n2nFamilies1+20]) {
			return nil
		}
		// Behind the name's end this version sends what was in memory.
		name, _, _ := bytes.Cut(b[n2nText:n2nText+n2nText2], []byte{0})
		return n2nName(name)
	case 2:
		return n2nPadded(b, n2nText2)
	case 3:
		return n2nPadded(b, n2nText3)
	}
	return nil
}

func n2nFamily(b byte) bool { return b == n2nIPv4 || b == n2nIPv6 }

// n2nPadded reads the header of versions 2 and 3: the name ends before its field
// does, and zeros fill the rest.
func n2nPadded(b []byte, size int) []byte {
	flags := binary.BigEndian.Uint16(b[2:])
	if b[1] > n2nMaxTTL || flags&n2nTypes > n2nLastType || flags&^(n2nTypes|n2nFlags) != 0 {
		return nil
	}
	field := b[n2nText : n2nText+size]
	name, rest, found := bytes.Cut(field, []byte{0})
	if !found || !zero(rest) {
		return nil
	}
	return n2nName(name)
}

func n2nName(name []byte) []byte {
	if len(name) < n2nShortest {
		return nil
	}
	for _, c := range name {
		if c <= 0x20 || c > 0x7e {
			return nil
		}
	}
	return name
}

func lookN2N(f *Flow) Result {
	client, ok := readN2N(&f.Client)
	if !ok {
		return Result{State: NotThis}
	}
	server, ok := readN2N(&f.Server)
	if !ok {
		return Result{State: NotThis}
	}
	switch {
	case client != nil && bytes.Equal(client, server):
		return Result{State: Confirmed, Label: "n2n", Evidence: "n2n headers both ways that name the same community"}
	case client != nil && server != nil:
		return Result{State: NotThis}
	case client != nil || server != nil:
		return Result{State: Suspected, Label: "n2n", Evidence: "n2n header with a community's name, one way"}
	}
	return undecided(f)
}

// readN2N is the community that all of a side's packets name.
func readN2N(s *Side) (community []byte, ok bool) {
	for _, b := range s.Datagrams {
		name := n2nCommunity(b)
		if name == nil || community != nil && !bytes.Equal(name, community) {
			return nil, false
		}
		community = name
	}
	return community, true
}

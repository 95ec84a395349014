package protocol

import "encoding/binary"

// Fields of the first four bytes of GRE: flags and version (RFC 2784 section 2,
// RFC 2890, RFC 2637 section 4.1), then the EtherType of what it carries.
const (
	greVersion = 0x0007
	gre1       = 0x0001 // enhanced GRE of PPTP
	grePPP     = 0x880b
)

// gre is the detector.
func gre() Detector {
	return Detector{
		Name: "gre",
		Doc: Doc{
			How:      "IP protocol 47.",
			Confirms: "Sound headers both ways.",
			Limits:   "GRE is no VPN by itself; the evidence names what it carries where the EtherType tells.",
			Source:   "RFC 2784, RFC 2890; RFC 2637 section 4.1 for version 1",
		},
		Proto: 47,
		Look:  lookGRE,
	}
}

func lookGRE(f *Flow) Result {
	client, carriesClient := greSound(&f.Client)
	server, carriesServer := greSound(&f.Server)
	carries := max(carriesClient, carriesServer)
	switch {
	case client && server:
		return Result{State: Confirmed, Label: "gre", Evidence: greEvidence(carries, true)}
	case client || server:
		return Result{State: Suspected, Label: "gre", Evidence: greEvidence(carries, false)}
	}
	return Result{State: Suspected, Label: "gre", Evidence: "IP protocol 47, but no sound GRE header"}
}

// greSound says whether a side has sent a sound header, and the EtherType of
// the first.
func greSound(s *Side) (sound bool, etherType uint16) {
	for _, b := range s.Datagrams {
		if len(b) < 4 {
			continue
		}
		flags, carried := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		if flags&greVersion == 0 || flags&greVersion == gre1 && carried == grePPP {
			return true, carried
		}
	}
	return false, 0
}

// greEvidence names the payload types of section "Ether Types" of the IANA
// registry that tell a person something.
func greEvidence(etherType uint16, bothWays bool) string {
	if bothWays {
		switch etherType {
		case grePPP:
			return "GRE version 1 carrying PPP both ways: the data channel of PPTP"
		case 0x0800, 0x86dd:
			return "GRE carrying IP both ways"
		case 0x6558:
			return "GRE carrying Ethernet both ways"
		case 0x88be, 0x22eb:
			return "GRE carrying mirrored traffic (ERSPAN) both ways"
		}
		return "IP protocol 47 both ways, with sound GRE headers"
	}
	switch etherType {
	case grePPP:
		return "GRE version 1 carrying PPP one way: the data channel of PPTP"
	case 0x0800, 0x86dd:
		return "GRE carrying IP one way"
	case 0x6558:
		return "GRE carrying Ethernet one way"
	case 0x88be, 0x22eb:
		return "GRE carrying mirrored traffic (ERSPAN) one way"
	}
	return "IP protocol 47 one way, with a sound GRE header"
}

package protocol

import "encoding/binary"

// esp is the detector of ESP directly on IP; ESP in UDP is part of ike.
func esp() Detector {
	return Detector{
		Name: "esp",
		Doc: Doc{
			How:      "IP protocol 50; inside UDP (RFC 3948) by lasting SPIs and sequence numbers beside IKE or on port 4500.",
			Confirms: "Well-formed packets both ways, each with its own SPI.",
			Limits:   "What is inside is encrypted.",
			Source:   "RFC 4303 section 2; RFC 3948",
		},
		Proto: 50,
		Look: func(f *Flow) Result {
			client, server := espSound(&f.Client), espSound(&f.Server)
			if client && server {
				return Result{State: Confirmed, Label: "esp", Evidence: "IP protocol 50 both ways, with SPI and sequence number"}
			}
			if client || server {
				return Result{State: Suspected, Label: "esp", Evidence: "IP protocol 50 one way, with SPI and sequence number"}
			}
			return Result{State: Suspected, Label: "esp", Evidence: "IP protocol 50, but no sound ESP header"}
		},
	}
}

// espSound says whether a side has sent a packet with an SPI that may be on the
// wire (RFC 4303 2.1: zero may not) and room for the shortest trailer.
func espSound(s *Side) bool {
	for _, b := range s.Datagrams {
		if len(b) >= 12 && binary.BigEndian.Uint32(b) != 0 {
			return true
		}
	}
	return false
}

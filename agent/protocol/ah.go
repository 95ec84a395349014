package protocol

import "encoding/binary"

// ah is the detector of the authentication header.
func ah() Detector {
	return Detector{
		Name: "ah",
		Doc: Doc{
			How:      "IP protocol 51.",
			Confirms: "Headers both ways whose length, reserved field and SPI are sound.",
			Limits:   "AH authenticates and does not hide; what it carries is not looked into.",
			Source:   "RFC 4302 section 2",
		},
		Proto: 51,
		Look: func(f *Flow) Result {
			client, server := ahSound(&f.Client), ahSound(&f.Server)
			if client && server {
				return Result{State: Confirmed, Label: "ah", Evidence: "IP protocol 51 both ways, with sound authentication headers"}
			}
			if client || server {
				return Result{State: Suspected, Label: "ah", Evidence: "IP protocol 51 one way, with a sound authentication header"}
			}
			return Result{State: Suspected, Label: "ah", Evidence: "IP protocol 51, but no sound authentication header"}
		},
	}
}

// ahSound says whether a side has sent a header whose length field counts its
// 32-bit words less two (RFC 4302 2.2), whose reserved field is zero (2.3) and
// whose SPI may be on the wire (2.4).
func ahSound(s *Side) bool {
	for _, b := range s.Datagrams {
		if len(b) >= 12 && int(b[1]) >= 1 && (int(b[1])+2)*4 <= len(b) && b[2]|b[3] == 0 &&
			binary.BigEndian.Uint32(b[4:]) != 0 {
			return true
		}
	}
	return false
}

package protocol

import "encoding/binary"

// The header of a PPTP control message (RFC 2637 section 2): length, message
// type 1, magic cookie, control type, zero.
const (
	pptpHeader     = 12
	pptpMagic      = 0x1a2b3c4d
	pptpLastType   = 15 // Set-Link-Info
	pptpStartSize  = 156
	pptpLargest    = 220 // Incoming-Call-Request
	pptpStart      = 1
	pptpStartReply = 2
)

// pptp is the detector of the control connection; the data runs in GRE.
func pptp() Detector {
	return Detector{
		Name: "pptp",
		Doc: Doc{
			How:      "Control messages with the magic cookie 1a2b3c4d, a known type and length.",
			Confirms: "Both sides send them.",
			Limits:   "The data channel is a flow of its own, GRE version 1, and is called gre.",
			Source:   "RFC 2637 section 2",
		},
		TCP: func(first []byte, _ bool) bool { return pptpMessage(first) != 0 },
		Look: func(f *Flow) Result {
			client, server := pptpMessage(f.Client.Stream), pptpMessage(f.Server.Stream)
			state := sidesAgree(client != 0, server != 0)
			switch {
			case state == NeedMore, len(f.Client.Stream) >= pptpHeader && client == 0, len(f.Server.Stream) >= pptpHeader && server == 0:
				return Result{State: NotThis}
			case client == pptpStart && server == pptpStartReply:
				return Result{State: state, Label: "pptp", Evidence: "Start-Control-Connection-Request and -Reply with the PPTP magic cookie"}
			case state == Confirmed:
				return Result{State: state, Label: "pptp", Evidence: "PPTP control messages both ways"}
			}
			return Result{State: state, Label: "pptp", Evidence: "PPTP control message with its magic cookie, one way"}
		},
	}
}

// pptpMessage is the type of the control message that b starts with, 0 when it
// does not.
func pptpMessage(b []byte) uint16 {
	if len(b) < pptpHeader {
		return 0
	}
	length, kind := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[8:])
	if binary.BigEndian.Uint16(b[2:]) != 1 || binary.BigEndian.Uint32(b[4:]) != pptpMagic ||
		length < pptpHeader || length > pptpLargest || kind < 1 || kind > pptpLastType {
		return 0
	}
	if kind <= pptpStartReply && length != pptpStartSize {
		return 0
	}
	return kind
}

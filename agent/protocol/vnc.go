package protocol

// vnc recognises RFB, the protocol of VNC.
func vnc() Detector {
	return Detector{
		Name: "vnc",
		Doc: Doc{
			How:      `the 12 byte ProtocolVersion "RFB xxx.yyy\n", also as the first frame of a WebSocket without TLS (noVNC)`,
			Confirms: "a ProtocolVersion from both sides",
			Limits:   "VNC inside TLS or SSH is not seen; a flow caught in the middle shows nothing",
			Source:   "RFC 6143 section 7.1.1; RFC 6455",
		},
		TCP:  func(first []byte, _ bool) bool { return begins(first, "RFB ") },
		Look: lookVNC,
	}
}

// rfbVersion is the length of a ProtocolVersion.
const rfbVersion = 12

// readRFB says how much of a ProtocolVersion a side has sent.
func readRFB(b []byte) State {
	for i, c := range b[:min(len(b), rfbVersion)] {
		switch {
		case i < 4 && c != "RFB "[i],
			i == 7 && c != '.',
			i == 11 && c != '\n',
			i >= 4 && i < 11 && i != 7 && (c < '0' || c > '9'):
			return NotThis
		}
	}
	if len(b) < rfbVersion {
		return NeedMore
	}
	return Suspected
}

func lookVNC(f *Flow) Result {
	c, s := readRFB(f.Client.Stream), readRFB(f.Server.Stream)
	switch {
	case c == Suspected && s == Suspected:
		return Result{State: Confirmed, Label: "vnc", Evidence: "RFB protocol version from both sides: " +
			string(f.Server.Stream[:rfbVersion-1]) + " and " + string(f.Client.Stream[:rfbVersion-1])}
	case c == Suspected || s == Suspected:
		return Result{State: Suspected, Label: "vnc", Evidence: "RFB protocol version from one side"}
	case c == NotThis && s == NotThis:
		return Result{State: NotThis}
	}
	if f.Closed {
		return Result{State: NotThis}
	}
	return Result{State: NeedMore}
}

package protocol

// fortivpn recognises the PPP frames of FortiGate's SSL VPN in the clear;
// fortiHTTP names its requests.
func fortivpn() Detector {
	return Detector{
		Name: "fortivpn",
		Doc: Doc{
			How:      "GET /remote/sslvpn-tunnel, and the PPP frames that follow (total length, 50 50, length), where TLS has been taken off",
			Confirms: "the server's answer, or frames from both sides",
			Limits:   "under TLS and DTLS nothing of it shows; a FortiGate's certificate proves the device, not the VPN, and is not used",
			Source:   "OpenConnect fortinet.c, ppp.c; openfortivpn src/io.c",
		},
		TCP: func(first []byte, _ bool) bool {
			return len(first) >= 8 && first[2] == 0x50 && first[3] == 0x50 && fortiFrame(first)
		},
		Look: lookFortiVPN,
	}
}

// fortiFrame reads a frame's header: length of all, 50 50, length of the PPP
// packet, and the PPP packet's protocol: IP, IPv6, their control protocols or
// LCP (RFC 1661 section 2), perhaps after ff 03.
func fortiFrame(b []byte) bool {
	c := newCursor(b)
	total, magic, inner := c.uint(2), c.uint(2), c.uint(2)
	kind := c.uint(2)
	if kind == 0xff03 {
		kind = c.uint(2)
	}
	if !c.ok || magic != 0x5050 || total != inner+6 {
		return false
	}
	switch kind {
	case 0x0021, 0x0057, 0x8021, 0x8057, 0xc021:
		return true
	}
	return false
}

func lookFortiVPN(f *Flow) Result {
	c, s := fortiFrame(f.Client.Stream), fortiFrame(f.Server.Stream)
	switch state := sidesAgree(c, s); state {
	case Confirmed:
		return Result{State: state, Label: "fortivpn", Evidence: "FortiGate's PPP frames from both sides, without TLS"}
	case Suspected:
		return Result{State: state, Label: "fortivpn", Evidence: "FortiGate's PPP frames from one side, without TLS"}
	}
	return undecided(f)
}

package protocol

// globalprotect recognises GlobalProtect's tunnel frames in the clear;
// globalprotectHTTP names its requests.
func globalprotect() Detector {
	return Detector{
		Name: "globalprotect",
		Doc: Doc{
			How:      "GET /ssl-tunnel-connect.sslvpn and its answer START_TUNNEL, gateway logins, and the frames 1a 2b 3c 4d, where TLS has been taken off",
			Confirms: "the server's answer, or frames from both sides",
			Limits:   "under TLS nothing of it shows; its ESP in UDP looks like any other and is suspected by its port 4501 only",
			Source:   "OpenConnect gpst.c, auth-globalprotect.c",
		},
		TCP:  func(first []byte, _ bool) bool { return starts(first, gpMagic) || starts(first, gpStart) },
		Look: lookGlobalProtect,
	}
}

// gpMagic starts each frame of the tunnel: magic, EtherType, length, two
// little-endian words, 1 and 0, which a keep-alive has as 0 and 0. gpStart is the server's consent.
const (
	gpMagic = "\x1a\x2b\x3c\x4d"
	gpStart = "START_TUNNEL"
)

func gpFrame(b []byte) bool {
	if starts(b, gpStart) {
		return true
	}
	if len(b) < 16 || !starts(b, gpMagic) {
		return false
	}
	kind, n := int(b[4])<<8|int(b[5]), int(b[6])<<8|int(b[7])
	switch head := string(b[8:16]); kind {
	case 0: // keep-alive
		return n == 0 && head == "\x00\x00\x00\x00\x00\x00\x00\x00"
	case 0x0800, 0x86dd:
		return n >= 20 && head == "\x01\x00\x00\x00\x00\x00\x00\x00"
	}
	return false
}

func lookGlobalProtect(f *Flow) Result {
	c, s := gpFrame(f.Client.Stream), gpFrame(f.Server.Stream)
	switch state := sidesAgree(c, s); state {
	case Confirmed:
		return Result{State: state, Label: "globalprotect", Evidence: "GlobalProtect tunnel frames from both sides, without TLS"}
	case Suspected:
		return Result{State: state, Label: "globalprotect", Evidence: "GlobalProtect tunnel frames from one side, without TLS"}
	}
	return undecided(f)
}

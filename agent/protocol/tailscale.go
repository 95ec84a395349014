package protocol

import "bytes"

// tailscaleDisco opens every path discovery message: "TS" and a speech balloon,
// then the sender's public key, a nonce and a sealed box whose text has at least
// type and version (tailscale.com/disco).
const (
	tailscaleDisco    = "TS\xf0\x9f\x92\xac"
	tailscaleDiscoMin = 6 + 32 + 24 + 16 + 2
	tailscaleSealed   = 6
)

// Headers by which Tailscale turns an HTTP connection into one of its own
// (tailscale.com/derp/derphttp, tailscale.com/control/controlhttp), in lower
// case.
const (
	derpPath    = "GET /derp"
	derpUpgrade = "upgrade: derp\r\n"
	derpSocket  = "sec-websocket-protocol: derp\r\n"
	derpHello   = "DERP\xf0\x9f\x94\x91" // in the server's first frame: type 1, length, this, its key

	controlPath    = "POST /ts2021"
	controlUpgrade = "upgrade: tailscale-control-protocol\r\n"

	switching = "HTTP/1.1 101"
	httpHead  = 4096 // bytes of a request or answer that are searched for a header
)

// tailscale is the detector: disco over UDP, relay (DERP) and control
// connections over TCP where no TLS hides them.
func tailscale() Detector {
	return Detector{
		Name: "tailscale",
		Doc: Doc{
			How:      "Disco messages (six fixed bytes, key, nonce, box); HTTP upgrades to DERP and to the control protocol.",
			Confirms: "Disco messages both ways, or the server's agreement to the upgrade.",
			Limits:   "Tunnels themselves are WireGuard, and are called so where no disco message is seen. Inside TLS only names tell. The network check's STUN requests are STUN and left so.",
			Source:   "tailscale.com/disco, tailscale.com/derp, tailscale.com/control/controlhttp (BSD-3-Clause sources, read for facts)",
		},
		UDP: func(first []byte, _ int, _ bool) bool { return tailscaleDatagram(first) },
		TCP: func(first []byte, client bool) bool {
			return client && (bytes.HasPrefix(first, []byte(derpPath)) || bytes.HasPrefix(first, []byte(controlPath)))
		},
		Look: lookTailscale,
	}
}

func tailscaleDatagram(b []byte) bool {
	return len(b) >= tailscaleDiscoMin && string(b[:6]) == tailscaleDisco && dense(b[tailscaleSealed:])
}

func lookTailscale(f *Flow) Result {
	if f.Proto == 6 {
		return lookTailscaleTCP(f)
	}
	var disco [2]bool
	for i, s := range [2]*Side{&f.Client, &f.Server} {
		for _, b := range s.Datagrams {
			disco[i] = disco[i] || tailscaleDatagram(b)
		}
	}
	switch {
	case disco[0] && disco[1]:
		return Result{State: Confirmed, Label: "tailscale", Evidence: "Tailscale disco messages both ways"}
	case disco[0] || disco[1]:
		return Result{State: Suspected, Label: "tailscale", Evidence: "Tailscale disco messages one way"}
	}
	return undecided(f)
}

func lookTailscaleTCP(f *Flow) Result {
	c, s := f.Client.Stream, f.Server.Stream
	evidence := [2]string{"HTTP upgrade to DERP, Tailscale's relay, asked for", "HTTP upgrade to DERP, Tailscale's relay, agreed to"}
	derp := bytes.HasPrefix(c, []byte(derpPath))
	asked := derp && (hasFold(c, derpUpgrade) || hasFold(c, derpSocket))
	agreedTo := hasFold(s, derpUpgrade) || hasFold(s, derpSocket)
	if !derp {
		evidence = [2]string{"HTTP upgrade to Tailscale's control protocol asked for", "HTTP upgrade to Tailscale's control protocol agreed to"}
		asked, agreedTo = hasFold(c, controlUpgrade), hasFold(s, controlUpgrade)
	}
	switch {
	case !asked && (f.Closed || len(c) >= httpHead || bytes.Contains(c, []byte("\r\n\r\n"))):
		return Result{State: NotThis}
	case !asked:
		return Result{State: NeedMore}
	case bytes.HasPrefix(s, []byte(switching)) && agreedTo, derp && derpServerHello(s):
		return Result{State: Confirmed, Label: "tailscale", Evidence: evidence[1]}
	}
	return Result{State: Suspected, Label: "tailscale", Evidence: evidence[0]}
}

// derpServerHello says whether s starts with the server's first frame, as it
// does when the client asked for a fast start.
func derpServerHello(s []byte) bool {
	return len(s) >= 13 && s[0] == 1 && string(s[5:13]) == derpHello
}

// hasFold says whether the head of b has lower, in any case.
func hasFold(b []byte, lower string) bool {
	b = b[:min(len(b), httpHead)]
	for i := 0; i+len(lower) <= len(b); i++ {
		j := 0
		for j < len(lower) && lowerASCII(b[i+j]) == lower[j] {
			j++
		}
		if j == len(lower) {
			return true
		}
	}
	return false
}

func lowerASCII(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

package protocol

import (
	"encoding/binary"
	"testing"
)

// pack writes the pieces of one side for a fuzz target: 16-bit length, bytes.
func packPieces(f vpnFlow, server bool) (b []byte) {
	for _, p := range f.pieces {
		if p.server == server {
			b = join(b, be16(uint16(len(p.bytes))), p.bytes)
		}
	}
	return b
}

// unpack takes it apart again; the last piece may be cut.
func unpackPieces(b []byte) (pieces [][]byte) {
	for len(b) >= 2 && len(pieces) < 12 {
		n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
		pieces, b = append(pieces, b[2:2+n]), b[2+n:]
	}
	return pieces
}

// fuzzDetector shows hostile flows to one detector. Whatever comes, it must not
// panic, must answer the same when asked again, must name what it reports, and
// must not confirm what only one side has said.
func fuzzDetector(f *testing.F, d Detector, seeds ...vpnFlow) {
	for _, entry := range vpnManifest(f) {
		seeds = append(seeds, loadVPNFlow(f, entry.File))
	}
	for _, s := range seeds {
		f.Add(s.proto == 6, s.client, s.server, packPieces(s, false), packPieces(s, true))
	}
	f.Fuzz(func(t *testing.T, tcp bool, clientPort, serverPort uint16, client, server []byte) {
		flow := vpnFlow{proto: 17, client: clientPort, server: serverPort}
		switch {
		case d.Proto != 0 && d.UDP == nil && d.TCP == nil:
			flow.proto = d.Proto
		case tcp:
			flow.proto = 6
		}
		for _, b := range unpackPieces(client) {
			flow.pieces = append(flow.pieces, vpnPiece{false, b})
		}
		for i, b := range unpackPieces(server) {
			at := min(2*i+1, len(flow.pieces))
			flow.pieces = append(flow.pieces[:at:at], append([]vpnPiece{{true, b}}, flow.pieces[at:]...)...)
		}
		checkDetector(t, d, flow)
		if r := checkDetector(t, d, flow.one(false)); r.State == Confirmed {
			t.Errorf("confirmed by the client alone: %+v", r)
		}
		if r := checkDetector(t, d, flow.one(true)); r.State == Confirmed {
			t.Errorf("confirmed by the server alone: %+v", r)
		}
	})
}

func checkDetector(t *testing.T, d Detector, flow vpnFlow) (last Result) {
	f := flow.start()
	candidate := d.Proto != 0 && d.Proto == flow.proto
	for i, p := range append(flow.pieces, vpnPiece{}) {
		if i < len(flow.pieces) {
			p.add(f)
			candidate = candidate || firstTest(d, f, p)
		} else {
			f.Closed = true
		}
		if !candidate {
			continue
		}
		last = d.Look(f)
		if again := d.Look(f); again != last {
			t.Errorf("asked twice: %+v, then %+v", last, again)
		}
		if last.State >= Suspected && (last.Label == "" || last.Evidence == "") {
			t.Errorf("no label or evidence: %+v", last)
		}
		if last.State == NotThis || last.State == Confirmed {
			return last
		}
	}
	return last
}

func firstTest(d Detector, f *Flow, p vpnPiece) bool {
	side := &f.Client
	if p.server {
		side = &f.Server
	}
	if f.Proto == 6 {
		return d.TCP != nil && d.TCP(side.Stream[:min(len(side.Stream), FirstBytes)], !p.server)
	}
	return d.UDP != nil && d.UDP(p.bytes, len(p.bytes), !p.server)
}

func FuzzOpenVPN(f *testing.F) {
	a, b := noise(1, 8), noise(2, 8)
	fuzzDetector(f, openvpn(),
		udpFlow(5, 6, "cs", ovpn(7, a, 64, nil, 0, nil), ovpn(8, b, 64, a, 0, nil)),
		udpFlow(5, 6, "cs", ovpnCrypt(10, a, 0x0f000001, 5+288, be16(290)...), ovpnCrypt(8, b, 1, 23)),
		udpFlow(5, 6, "cscs", ovpnData(3, 100, 90), ovpnData(3, 7, 80), ovpnData(3, 101, 90), ovpnData(3, 8, 80)))
}

func FuzzWireGuard(f *testing.F) {
	fuzzDetector(f, wireguard(), udpFlow(5, 6, "css", wgInitiation(1), wgResponse(2, 1), wgCookie(1)))
}

func FuzzIKE(f *testing.F) {
	init := isakmp(ike2, 34, 8, 33, 1, 0, 0, noise(1, 40))
	fuzzDetector(f, ike(), udpFlow(500, 500, "c", init), tcpFlow("c", join(text(ikeTCP), be16(uint16(6+len(init))), make([]byte, 4), init)))
}

func FuzzESPUDP(f *testing.F) {
	fuzzDetector(f, espUDP(), udpFlow(4500, 4500, "cscs", espPacket(0xabcdef01, 1, 60), espPacket(0x12345678, 1, 60), espPacket(0xabcdef01, 2, 92), espPacket(0x12345678, 2, 60)))
}

func FuzzESP(f *testing.F) {
	fuzzDetector(f, esp(), makeFlow(50, 0, 0, "c", [][]byte{espPacket(7, 1, 40)}))
}

func FuzzAH(f *testing.F) {
	fuzzDetector(f, ah(), makeFlow(51, 0, 0, "c", [][]byte{join([]byte{6, 4, 0, 0}, be32(256), be32(1), noise(1, 32))}))
}

func FuzzGRE(f *testing.F) {
	fuzzDetector(f, gre(), makeFlow(47, 0, 0, "c", [][]byte{be32(0x3001880b)}))
}

func FuzzL2TP(f *testing.F) {
	fuzzDetector(f, l2tp(), udpFlow(5, 6, "c", join(be16(2), be16(9), be16(8), []byte{0x21, 0x45, 0}, be16(40), noise(1, 36))))
}

func FuzzPPTP(f *testing.F) { fuzzDetector(f, pptp()) }

func FuzzSOCKS(f *testing.F) {
	fuzzDetector(f, socks(),
		tcpFlow("cscs", []byte{5, 1, 2}, []byte{5, 2}, []byte{1, 1, 'u', 1, 'p'}, []byte{1, 0}),
		tcpFlow("cs", join([]byte{4, 1}, be16(22), []byte{0, 0, 0, 1}, text("\x00host.example\x00")), []byte{0, 90, 0, 0, 0, 0, 0, 0}))
}

func FuzzTailscale(f *testing.F) {
	fuzzDetector(f, tailscale(), udpFlow(5, 6, "c", join(text(tailscaleDisco), noise(1, 100))),
		tcpFlow("c", text("GET /derp HTTP/1.1\r\nUpgrade: DERP\r\n\r\n")))
}

func FuzzZeroTier(f *testing.F) {
	a, b := []byte{0x12, 0x34, 0x56, 0x78, 0x9a}, []byte{0xab, 0xcd, 0xef, 0x01, 0x23}
	fuzzDetector(f, zerotier(), udpFlow(5, 6, "cs", ztHello(a, b), ztPacket(5, b, a)))
}

func FuzzNebula(f *testing.F) {
	fuzzDetector(f, nebula(), udpFlow(5, 6, "cs", nebulaPacket(0, 0, 1, 300), nebulaPacket(0, 77, 2, 280)))
}

func FuzzTinc(f *testing.F) {
	fuzzDetector(f, tinc(), tcpFlow("cs", text("0 a 17.7\n"), text("0 b 17\n")))
}

func FuzzTincUDP(f *testing.F) {
	fuzzDetector(f, tincUDP(), udpFlow(655, 655, "cscs", tincDirect(1, 0, 40), tincDirect(2, 0, 40), tincDirect(1, 1, 60), tincDirect(2, 1, 40)))
}

func FuzzN2N(f *testing.F) {
	fuzzDetector(f, n2n(), udpFlow(5, 6, "cs", n2nPacket(2, 5, 0, "lab"), n2nPacket(3, 6, 0x20, "lab")))
}

func FuzzHamachi(f *testing.F) {
	fuzzDetector(f, hamachi(), tcpFlow("cs", hamachiFirst(400), join(be32(40), noise(2, 40))), udpFlow(5, 6, "cs", hamachiRelay(1), hamachiDirect(9, 1, 5)))
}

func FuzzSoftEtherUDP(f *testing.F) {
	fuzzDetector(f, softEtherUDP(), udpFlow(5, 5004, "cs", text("A"), text("IP=192.0.2.1,PORT=40000")))
}

func FuzzSoftEtherICMP(f *testing.F) { fuzzDetector(f, softEtherICMP()) }

// FuzzSoftEtherPack checks that what parses as a PACK starts like one.
func FuzzSoftEtherPack(f *testing.F) {
	f.Add(join(be32(1), be32(7), text("opcode"), be32(2), be32(1), be32(9), text("get_token")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if opcode, ok := softEtherPack(b); ok && len(b) >= 20 && !softEtherPackStart(b) {
			t.Errorf("PACK with opcode %q, but the cheap test refuses it", opcode)
		}
	})
}

// FuzzSOCKSRequest checks that a target that is named can be shown.
func FuzzSOCKSRequest(f *testing.F) {
	f.Add(join([]byte{5, 1, 0, 3, 4}, text("host"), be16(22)), byte(0))
	f.Add(join([]byte{1, 1, 'u', 1, 'p', 5, 1, 0, 1, 192, 0, 2, 1}, be16(22)), byte(2))
	f.Add(join([]byte{4, 1}, be16(22), []byte{0, 0, 0, 1}, text("u\x00host\x00")), byte(4))
	f.Fuzz(func(t *testing.T, b []byte, method byte) {
		r, state := readSOCKS4(b)
		if method != 4 {
			r, _, state = readSOCKS5(b, method)
		}
		if state != Suspected {
			return
		}
		var facts Facts
		r.name(&facts)
		if h := facts.Hidden; h != nil && (h.Host == "" || !visibleASCII([]byte(h.Host))) {
			t.Errorf("target %q", h.Host)
		}
	})
}

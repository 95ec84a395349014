package protocol

import "testing"

// vpnDetectors are the ones of VPN tunnels and proxies, by their first test.
func vpnDetectors() []Detector {
	return []Detector{openvpn(), tailscale(), wireguard(), ike(), espUDP(), l2tp(), pptp(), socks(), tinc(), nebula(), n2n(), zerotier(), softEtherUDP(), softEtherICMP(), hamachi()}
}

// TestVPNNoise shows random bytes, on the ports where it matters too: ciphertext
// of a protocol that is none of ours must stay unknown.
func TestVPNNoise(t *testing.T) {
	e := NewEngine(vpnDetectors())
	for seed := range uint64(4000) {
		var pieces [][]byte
		for i := range uint64(8) {
			pieces = append(pieces, noise(seed*100+i, 12+int(seed*37+i*61)%1200))
		}
		ports := [...]uint16{53, 443, 500, 1194, 1701, 4500, 5004, 51820}
		for _, f := range []vpnFlow{
			udpFlow(40000, ports[seed%8], "cscscscs", pieces...),
			tcpFlow("cscscscs", pieces...),
		} {
			if r, _ := f.identify(e); r.State >= Suspected {
				t.Fatalf("seed %d, protocol %d: %+v", seed, f.proto, r)
			}
		}
	}
}

// TestVPNNegatives shows what resembles a tunnel by its first bytes.
func TestVPNNegatives(t *testing.T) {
	vxlan := func(seed uint64) []byte { return join([]byte{8, 0, 0, 0}, be32(0x2a<<8), noise(seed, 90)) }
	gtp := func(seq uint32) []byte {
		return join(be32(0x30ff0000|80), be32(0x11223344), be32(seq<<16), noise(uint64(seq), 76))
	}
	stun := join([]byte{0, 1, 0, 8}, be32(0x2112a442), noise(1, 12), be32(0x80220004), text("abcd"))
	dtls := join([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0}, be16(60), []byte{1, 0, 0, 48}, noise(1, 56))
	quic := func(seed uint64) []byte { return join([]byte{0x40 | byte(seed&0x3f)}, noise(9, 8), noise(seed, 60)) }
	zoom := func(seq uint32) []byte { return join([]byte{4, 0, 0, 0}, be32(seq), noise(uint64(seq), 69)) }
	game := func(magic, seq uint32) []byte { return join(be32(magic), be32(seq), noise(uint64(seq), 40)) }
	bfd := join([]byte{0x20, 0xc8, 3, 24}, be32(1), be32(2), be32(1000000), be32(1000000), be32(0))
	dns := join(be16(0x3801), be16(0x0100), be16(1), be16(0), be16(0), be16(0), text("\x07example\x03com\x00"), be16(48), be16(1))
	testVPN(t, []vpnCase{
		{"VXLAN on 8472", udpFlow(45149, 8472, "cccc", vxlan(1), vxlan(2), vxlan(3), vxlan(4)), "none", ""},
		{"VXLAN both ways", udpFlow(8472, 8472, "cscs", vxlan(1), vxlan(2), vxlan(3), vxlan(4)), "none", ""},
		{"GTP-U", udpFlow(2152, 2152, "cscs", gtp(1), gtp(2), gtp(3), gtp(4)), "none", ""},
		{"STUN on the OpenVPN port", udpFlow(40000, 1194, "cs", stun, stun), "none", ""},
		{"RTP", udpFlow(40000, 4500, "cscscs", rtp(1, 160), rtp(9, 160), rtp(2, 160), rtp(10, 160), rtp(3, 160), rtp(11, 160)), "none", ""},
		{"DTLS", udpFlow(40000, 443, "cs", dtls, dtls), "none", ""},
		{"QUIC short headers", udpFlow(443, 40000, "cscscscs", quic(1), quic(2), quic(3), quic(4), quic(5), quic(6), quic(7), quic(8)), "none", ""},
		{"Zoom", udpFlow(40000, 8801, "cccc", zoom(0x01001234), zoom(0x01001235), zoom(0x01001236), zoom(0x01001237)), "none", ""},
		{"a game with magic and counter", udpFlow(40000, 4500, "cscscs", game(0x48000001, 1), game(0x48000001, 5), game(0x48000001, 2), game(0x48000001, 6), game(0x48000002, 3), game(0x48000001, 7)), "none", ""},
		{"BFD", udpFlow(49152, 3784, "cccc", bfd, bfd, bfd, bfd), "none", ""},
		{"DNS with id 3801", udpFlow(40000, 53, "cs", dns, dns), "none", ""},
		{"DNSKEY of a domain", udpFlow(40000, 53, "c", join(be16(7), be16(0x0100), be16(1), be16(0), be16(0), be16(1), text("\x08deadbeef\x03com\x00"), be16(48), be16(1), []byte{0}, be16(41), be16(4096), be32(0x8000), be16(0))), "none", ""},
		{"SSDP answer", udpFlow(1900, 40000, "ccc", text("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n\r\n"), text("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n\r\n"), text("HTTP/1.1 200 OK\r\nST: uuid:1\r\n\r\n")), "none", ""},
		{"one byte A to any port", udpFlow(40000, 9, "cs", text("A"), text("A")), "none", ""},
		{"HTTP on the SOCKS port", tcpFlow("cs", text("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), text("HTTP/1.1 200 OK\r\n\r\n")), "none", ""},
		{"zeros", udpFlow(4500, 4500, "cscs", make([]byte, 100), make([]byte, 100), make([]byte, 76), make([]byte, 76)), "none", ""},
	})
}

// TestVPNAllocates holds that looking costs no allocation: flows are looked at
// for each of their first packets.
func TestVPNAllocates(t *testing.T) {
	for _, entry := range vpnManifest(t) {
		flow := loadVPNFlow(t, entry.File)
		f := flow.start()
		for _, p := range flow.pieces {
			p.add(f)
		}
		f.Facts.Hidden = &Hidden{} // naming the target allocates, once a flow
		for _, d := range append(vpnDetectors(), esp(), ah(), gre()) {
			if n := testing.AllocsPerRun(10, func() {
				for _, p := range flow.pieces {
					firstTest(d, f, p)
				}
				if d.Proto == f.Proto || f.Proto == 6 && d.TCP != nil && d.Proto == 0 || f.Proto == 17 && d.UDP != nil {
					d.Look(f)
				}
			}); n != 0 {
				t.Errorf("%s on %s: %v allocations", d.Name, entry.File, n)
			}
		}
	}
}

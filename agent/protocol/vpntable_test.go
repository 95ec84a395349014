package protocol

import (
	"bytes"
	"testing"
)

// vpnCase is a flow whose bytes are made from the specification.
type vpnCase struct {
	name  string
	flow  vpnFlow
	state string
	label string // none where state is none
}

func testVPN(t *testing.T, cases []vpnCase) {
	t.Helper()
	e := NewEngine(Detectors())
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, _ := c.flow.identify(e)
			label := Category(r.Label)
			if vpnState(r) != c.state || c.state != "none" && label != c.label {
				t.Errorf("%s %s (%q), want %s %s", vpnState(r), label, r.Evidence, c.state, c.label)
			}
		})
	}
}

func TestOpenVPN(t *testing.T) {
	a, b := noise(1, 8), noise(2, 8)
	reset := ovpn(7, a, 0, nil, 0, nil)
	cases := []vpnCase{
		{"plain", udpFlow(5, 6, "cs", reset, ovpn(8, b, 0, a, 0, nil)), "confirmed", "openvpn"},
		{"server's reset without ACK, then an ACK", udpFlow(5, 6, "css", reset, ovpn(8, b, 0, nil, 0, nil), ovpn(5, b, 0, a, -1, nil)), "confirmed", "openvpn"},
		{"key method 1", udpFlow(5, 6, "cs", ovpn(1, a, 0, nil, 0, nil), ovpn(2, b, 0, a, 0, nil)), "confirmed", "openvpn"},
		{"unanswered", udpFlow(5, 6, "c", reset), "suspected", "openvpn"},
		{"answer only", udpFlow(5, 6, "c", ovpn(8, b, 0, a, 0, nil)), "suspected", "openvpn"},
		{"another session's id comes back", udpFlow(5, 6, "cs", reset, ovpn(8, b, 0, b, 0, nil)), "suspected", "openvpn"},
		{"soft reset and control in the middle", udpFlow(5, 6, "cs", ovpn(4, a, 0, b, 7, noise(3, 90)), ovpn(5, b, 0, a, -1, nil)), "confirmed", "openvpn"},
		{"control one way in the middle", udpFlow(5, 6, "cc", ovpn(4, a, 0, nil, 7, join([]byte{22, 3, 3, 0, 200}, noise(3, 90))), ovpn(4, a, 0, nil, 8, noise(4, 90))), "suspected", "openvpn"},
		{"the same without TLS, as BFD has it", udpFlow(5, 6, "cc", ovpn(4, a, 0, nil, 7, noise(3, 90)), ovpn(4, a, 0, nil, 8, noise(4, 90))), "none", ""},
		{"tcp", tcpFlow("cs", prefixed(reset), prefixed(ovpn(8, b, 0, a, 0, nil))), "confirmed", "openvpn"},
		{"tls-crypt", udpFlow(5, 6, "cs", ovpnCrypt(7, a, 1, 5), ovpnCrypt(8, b, 1, 17)), "confirmed", "openvpn"},
		{"tls-crypt unanswered", udpFlow(5, 6, "c", ovpnCrypt(7, a, 1, 5)), "suspected", "openvpn"},
		{"tls-crypt-v2", udpFlow(5, 6, "cs", ovpnCrypt(10, a, 0x0f000001, 5+288, be16(290)...), ovpnCrypt(8, b, 1, 23)), "confirmed", "openvpn"},
		{"tls-crypt-v2 over tcp", tcpFlow("cs", prefixed(ovpnCrypt(10, a, 0x0f000001, 5+288, be16(290)...)), prefixed(ovpnCrypt(8, b, 1, 23))), "confirmed", "openvpn"},
		{"tls-crypt-v2 unanswered", udpFlow(5, 6, "c", ovpnCrypt(10, a, 0x0f000001, 5+288, be16(290)...)), "suspected", "openvpn"},
		{"data in the middle", udpFlow(5, 6, "cscscs", ovpnData(3, 100, 90), ovpnData(3, 7, 80), ovpnData(3, 101, 90), ovpnData(3, 8, 80), ovpnData(3, 102, 90), ovpnData(3, 9, 80)), "suspected", "openvpn"},

		{"wrapped key of another length", udpFlow(5, 6, "c", ovpnCrypt(10, a, 0x0f000001, 5+288, be16(288)...)), "none", ""},
		{"data of another peer each time", udpFlow(5, 6, "cscscs", ovpnData(3, 100, 90), ovpnData(3, 7, 80), ovpnData(4, 101, 90), ovpnData(3, 8, 80), ovpnData(5, 102, 90), ovpnData(3, 9, 80)), "none", ""},
		{"data one way", udpFlow(5, 6, "ccc", ovpnData(3, 100, 90), ovpnData(3, 101, 80), ovpnData(3, 102, 90)), "none", ""},
		{"reset with a payload", udpFlow(5, 6, "c", join(reset, []byte{1})), "none", ""},
		{"reset with key id 1", udpFlow(5, 6, "c", join([]byte{0x39}, reset[1:])), "none", ""},
		{"session id of zeros", udpFlow(5, 6, "c", ovpn(7, make([]byte, 8), 0, nil, 0, nil)), "none", ""},
		{"message id not 0", udpFlow(5, 6, "c", ovpn(7, a, 0, nil, 1, nil)), "none", ""},
		{"packet id too high", udpFlow(5, 6, "c", ovpnCrypt(7, a, 0x20000001, 5)), "none", ""},
		{"tcp length that does not fit", tcpFlow("cs", join(be16(15), reset), join(be16(15), reset)), "none", ""},
	}
	for _, digest := range []int{16, 20, 28, 32, 48, 64} {
		cases = append(cases,
			vpnCase{"tls-auth", udpFlow(5, 6, "cs", ovpn(7, a, digest, nil, 0, nil), ovpn(8, b, digest, a, 0, nil)), "confirmed", "openvpn"},
			vpnCase{"tls-auth unanswered", udpFlow(5, 6, "c", ovpn(7, a, digest, nil, 0, nil)), "suspected", "openvpn"})
	}
	testVPN(t, cases)
}

func TestWireGuard(t *testing.T) {
	const c, s = 0x11223344, 0x55667788
	stun := join([]byte{0, 1, 0, 0}, be32(0x2112a442), noise(1, 12))
	reserved := wgInitiation(c)
	reserved[1] = 1
	testVPN(t, []vpnCase{
		{"handshake", udpFlow(5, 6, "cs", wgInitiation(c), wgResponse(s, c)), "confirmed", "wireguard"},
		{"cookie reply", udpFlow(5, 6, "cs", wgInitiation(c), wgCookie(c)), "confirmed", "wireguard"},
		{"response and keepalive", udpFlow(5, 6, "sc", wgResponse(s, c), wgData(s, 0, 16)), "confirmed", "wireguard"},
		{"after STUN", udpFlow(5, 6, "cscs", stun, stun, wgInitiation(c), wgResponse(s, c)), "confirmed", "wireguard"},
		{"initiation", udpFlow(5, 6, "c", wgInitiation(c)), "suspected", "wireguard"},
		{"response to another index", udpFlow(5, 6, "cs", wgInitiation(c), wgResponse(s, s)), "suspected", "wireguard"},
		{"data both ways", udpFlow(5, 6, "cscs", wgData(s, 10, 112), wgData(c, 4, 96), wgData(s, 11, 112), wgData(c, 5, 1452-16)), "confirmed", "wireguard"},
		{"data one way", udpFlow(5, 6, "ccc", wgData(s, 10, 112), wgData(s, 11, 96), wgData(s, 12, 112)), "suspected", "wireguard"},

		{"two data packets one way", udpFlow(5, 6, "cc", wgData(s, 10, 112), wgData(s, 11, 96)), "none", ""},
		{"counter that stands", udpFlow(5, 6, "ccc", wgData(s, 10, 112), wgData(s, 10, 96), wgData(s, 10, 112)), "none", ""},
		{"index that changes", udpFlow(5, 6, "ccc", wgData(1, 10, 112), wgData(2, 11, 96), wgData(3, 12, 112)), "none", ""},
		{"same index both ways", udpFlow(5, 6, "cscs", wgData(s, 10, 112), wgData(s, 4, 96), wgData(s, 11, 112), wgData(s, 5, 96)), "none", ""},
		{"uneven small data", udpFlow(5, 6, "ccc", wgData(s, 10, 113), wgData(s, 11, 97), wgData(s, 12, 111)), "none", ""},
		{"counter of 64 random bits", udpFlow(5, 6, "ccc", wgData(s, 1<<60, 112), wgData(s, 1<<60+1, 96), wgData(s, 1<<60+2, 112)), "none", ""},
		{"initiation of another length", udpFlow(5, 6, "c", wgInitiation(c)[:147]), "none", ""},
		{"initiation of zeros", udpFlow(5, 6, "c", join(le32(1), make([]byte, 144))), "none", ""},
		{"reserved byte", udpFlow(5, 6, "c", reserved), "none", ""},
		{"something else between", udpFlow(5, 6, "cc", wgInitiation(c), text("hello, this is not WireGuard at all")), "none", ""},
	})
}

func TestIKE(t *testing.T) {
	init2 := isakmp(ike2, 34, 8, 33, 0x1122334455667788, 0, 0, noise(1, 40))
	reply2 := isakmp(ike2, 34, 0x20, 33, 0x1122334455667788, 99, 0, noise(2, 40))
	auth2 := isakmp(ike2, 35, 8, 46, 0x1122334455667788, 99, 1, noise(3, 2000))
	main1 := isakmp(ike1, 2, 0, 1, 0x1122334455667788, 0, 0, noise(4, 40))
	quick1 := isakmp(ike1, 32, 1, 8, 0x1122334455667788, 99, 7, noise(5, 41))
	marker := make([]byte, 4)
	keepalive := []byte{0xff}
	short := bytes.Clone(init2)
	short[27]++ // says one byte more than there is, and its payload does not
	fragment := auth2[:1448]
	testVPN(t, []vpnCase{
		{"version 2", udpFlow(5, 6, "cs", init2, reply2), "confirmed", "ikev2"},
		{"version 2 alone", udpFlow(5, 6, "c", init2), "suspected", "ikev2"},
		{"answer of another SA", udpFlow(5, 6, "cs", init2, isakmp(ike2, 34, 0x20, 33, 5, 99, 0, noise(2, 40))), "suspected", "ikev2"},
		{"behind the marker, after a keepalive", udpFlow(4500, 4500, "ccs", keepalive, join(marker, init2), join(marker, reply2)), "confirmed", "ikev2"},
		{"first IP fragment of IKE_AUTH", udpFlow(4500, 4500, "c", join(marker, fragment)), "suspected", "ikev2"},
		{"ESP on the same flow", udpFlow(4500, 4500, "cscs", espPacket(0xabcdef01, 1, 60), espPacket(0x12345678, 1, 60), join(marker, init2), join(marker, reply2)), "confirmed", "ikev2"},
		{"version 1 main mode", udpFlow(5, 6, "cs", main1, isakmp(ike1, 2, 0, 1, 0x1122334455667788, 9, 0, noise(6, 30))), "confirmed", "ikev1"},
		{"version 1 quick mode", udpFlow(5, 6, "c", quick1), "suspected", "ikev1"},
		{"over tcp", tcpFlow("cs", join(text("IKETCP"), be16(uint16(6+len(init2))), marker, init2), join(be16(uint16(6+len(reply2))), marker, reply2)), "confirmed", "ikev2"},
		{"over tcp alone", tcpFlow("c", join(text("IKETCP"), be16(uint16(6+len(init2))), marker, init2)), "suspected", "ikev2"},

		{"ESP in UDP", udpFlow(4500, 61000, "cscs", espPacket(0xabcdef01, 1, 60), espPacket(0x12345678, 1, 60), espPacket(0xabcdef01, 2, 92), espPacket(0x12345678, 2, 60)), "confirmed", "esp"},
		{"ESP in UDP one way", udpFlow(4500, 61000, "cccc", espPacket(0xabcdef01, 1, 60), espPacket(0xabcdef01, 2, 92), espPacket(0xabcdef01, 3, 92), espPacket(0xabcdef01, 4, 92)), "suspected", "esp"},

		{"ESP-like on another port", udpFlow(4502, 61000, "cscs", espPacket(0xabcdef01, 1, 60), espPacket(0x12345678, 1, 60), espPacket(0xabcdef01, 2, 92), espPacket(0x12345678, 2, 60)), "none", ""},
		{"same SPI both ways", udpFlow(4500, 61000, "cscs", espPacket(0xabcdef01, 1, 60), espPacket(0xabcdef01, 1, 60), espPacket(0xabcdef01, 2, 92), espPacket(0xabcdef01, 2, 60)), "none", ""},
		{"text on port 4500", udpFlow(4500, 61000, "ccc", text("hello hello hello hello "), text("hello hello hello hello!"), text("hello hello hello hello?")), "none", ""},
		{"keepalives only", udpFlow(4500, 61000, "cs", keepalive, keepalive), "none", ""},
		{"length that does not fit", udpFlow(500, 500, "c", short), "none", ""},
		{"version 3", udpFlow(500, 500, "c", isakmp(0x30, 34, 8, 33, 1, 0, 0, noise(1, 40))), "none", ""},
		{"unknown exchange", udpFlow(500, 500, "c", isakmp(ike2, 60, 8, 33, 1, 0, 0, noise(1, 40))), "none", ""},
		{"no initiator SPI", udpFlow(500, 500, "c", isakmp(ike2, 34, 8, 33, 0, 0, 0, noise(1, 40))), "none", ""},
	})
}

func TestIPProtocols(t *testing.T) {
	ip := func(proto uint8, order string, pieces ...[]byte) vpnFlow { return makeFlow(proto, 0, 0, order, pieces) }
	header := join([]byte{6, 4, 0, 0}, be32(0x100), be32(1), noise(1, 12), noise(2, 20))
	testVPN(t, []vpnCase{
		{"esp both ways", ip(50, "cs", espPacket(0x1000, 1, 40), espPacket(0x2000, 1, 40)), "confirmed", "esp"},
		{"esp one way", ip(50, "c", espPacket(0x1000, 1, 40)), "suspected", "esp"},
		{"esp of three bytes", ip(50, "c", []byte{1, 2, 3}), "suspected", "esp"},
		{"ah both ways", ip(51, "cs", header, header), "confirmed", "ah"},
		{"ah one way", ip(51, "c", header), "suspected", "ah"},
		{"ah with a broken answer", ip(51, "cs", header, header[:8]), "suspected", "ah"},
		{"gre both ways", ip(47, "cs", join(be32(0x0800), []byte{0x45}), join(be32(0x0800), []byte{0x45})), "confirmed", "gre"},
		{"gre one way", ip(47, "c", join(be32(0x6558), noise(1, 20))), "suspected", "gre"},
		{"gre version 1", ip(47, "cs", join(be32(0x3001880b), noise(1, 20)), join(be32(0x3001880b), noise(2, 20))), "confirmed", "gre"},
		{"l2tp version 3 on IP", ip(115, "cs", join(be32(7), noise(1, 20)), join(be32(8), noise(2, 20))), "confirmed", "l2tp"},
		{"l2tp version 3 on IP one way", ip(115, "c", join(be32(7), noise(1, 20))), "suspected", "l2tp"},
		{"a ping is none of them", ip(1, "cs", join([]byte{8, 0, 0, 0}, be32(0x00010001), text("abcdefghijklmnopqrstuvwabcdefghi")), join([]byte{0, 0, 0, 0}, be32(0x00010001), text("abcdefghijklmnopqrstuvwabcdefghi"))), "none", ""},
	})
}

func TestL2TPAndPPTP(t *testing.T) {
	sccrq := join(be16(l2tpControl2), be16(20), be32(0), be16(0), be16(0), be16(0x8008), be16(0), be16(0), be16(1))
	sccrp := join(be16(l2tpControl2), be16(20), be16(5), be16(0), be16(0), be16(1), be16(0x8008), be16(0), be16(0), be16(2))
	v3 := join(be16(l2tpControl3), be16(20), be32(0), be16(0), be16(0), be16(0x8008), be16(0), be16(0), be16(1))
	ack := join(be16(l2tpControl2), be16(12), be16(5), be16(0), be16(1), be16(1))
	lcp := join(be16(2), be16(9), be16(8), be16(0xff03), be16(0xc021), []byte{1, 1}, be16(8), be32(0x01020304))
	ip6 := join(be16(0x0202), be16(7), be16(6), be16(0), be16(0xff03), be16(0x0057), []byte{0x60}, noise(1, 39))
	start := join(be16(156), be16(1), be32(pptpMagic), be16(1), be16(0), make([]byte, 144))
	reply := join(be16(156), be16(1), be32(pptpMagic), be16(2), be16(0), make([]byte, 144))
	testVPN(t, []vpnCase{
		{"control", udpFlow(5, 6, "cs", sccrq, sccrp), "confirmed", "l2tp"},
		{"control one way", udpFlow(5, 6, "c", sccrq), "suspected", "l2tp"},
		{"version 3", udpFlow(5, 6, "cs", v3, v3), "confirmed", "l2tp"},
		{"acknowledgements only", udpFlow(5, 6, "cs", ack, ack), "none", ""},
		{"data both ways", udpFlow(5, 6, "cs", lcp, ip6), "confirmed", "l2tp"},
		{"data one way", udpFlow(5, 6, "c", lcp), "suspected", "l2tp"},
		{"data, and data that tells nothing", udpFlow(5, 6, "csc", join(be16(2), be16(9), be16(8), noise(1, 40)), join(be16(2), be16(9), be16(8), noise(2, 40)), lcp), "suspected", "l2tp"},
		{"data, and something else", udpFlow(5, 6, "cs", lcp, text("not L2TP")), "none", ""},
		{"data with compressed PPP headers", udpFlow(5, 6, "cs", join(be16(2), be16(9), be16(8), []byte{0x21, 0x45, 0}, be16(40), noise(1, 36)), join(be16(2), be16(9), be16(8), be16(0x0057), []byte{0x60, 0, 0, 0}, be16(8), noise(2, 42))), "confirmed", "l2tp"},
		{"compressed PPP headers, IP of another length", udpFlow(5, 6, "c", join(be16(2), be16(9), be16(8), []byte{0x21, 0x45, 0}, be16(41), noise(1, 36))), "none", ""},
		{"LCP whose length does not fit", udpFlow(5, 6, "c", lcp[:12]), "none", ""},
		{"length that does not fit", udpFlow(5, 6, "c", sccrq[:19]), "none", ""},
		{"first AVP is no message type", udpFlow(5, 6, "c", join(sccrq[:16], be16(2), be16(1))), "none", ""},

		{"pptp", tcpFlow("cs", start, reply), "confirmed", "pptp"},
		{"pptp one way", tcpFlow("c", start), "suspected", "pptp"},
		{"pptp echo in the middle", tcpFlow("cs", join(be16(16), be16(1), be32(pptpMagic), be16(5), be16(0), be32(1)), join(be16(20), be16(1), be32(pptpMagic), be16(6), be16(0), be32(1), be32(0))), "confirmed", "pptp"},
		{"pptp without the cookie", tcpFlow("cs", join(be16(156), be16(1), be32(1), be16(1), be16(0), make([]byte, 144)), reply), "none", ""},
		{"pptp answered by something else", tcpFlow("cs", start, text("HTTP/1.1 400 Bad Request\r\n\r\n")), "none", ""},
	})
}

func TestMeshes(t *testing.T) {
	disco := join(text(tailscaleDisco), noise(1, 100))
	derp := text("GET /derp HTTP/1.1\r\nHost: derp.example.com\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n")
	control := text("POST /ts2021 HTTP/1.1\r\nHost: c.example.com\r\nUpgrade: tailscale-control-protocol\r\nConnection: upgrade\r\n\r\n")
	a, b := []byte{0x12, 0x34, 0x56, 0x78, 0x9a}, []byte{0xab, 0xcd, 0xef, 0x01, 0x23}
	broken := ztHello(a, b)
	broken[zerotierIdentity]++
	first, second := nebulaPacket(0, 0, 1, 300), nebulaPacket(0, 77, 2, 280)
	testVPN(t, []vpnCase{
		{"disco", udpFlow(5, 6, "cs", disco, disco), "confirmed", "tailscale"},
		{"a network check's STUN", udpFlow(5, 6, "c", join([]byte{0, 1, 0, 12}, be32(0x2112a442), noise(1, 12), be16(0x8022), be16(8), text("tailnode"))), "none", ""},
		{"disco one way", udpFlow(5, 6, "c", disco), "suspected", "tailscale"},
		{"disco, then its WireGuard", udpFlow(5, 6, "cscs", disco, disco, wgInitiation(1), wgResponse(2, 1)), "confirmed", "tailscale"},
		{"derp", tcpFlow("cs", derp, text("HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\n")), "confirmed", "tailscale"},
		{"derp fast start", tcpFlow("cs", derp, join([]byte{1}, be32(40), text(derpHello), noise(1, 32))), "confirmed", "tailscale"},
		{"derp asked for", tcpFlow("c", derp), "suspected", "tailscale"},
		{"control", tcpFlow("cs", control, text("HTTP/1.1 101 Switching Protocols\r\nupgrade: tailscale-control-protocol\r\n\r\n")), "confirmed", "tailscale"},
		{"page of that name", tcpFlow("cs", text("GET /derp HTTP/1.1\r\nHost: example.com\r\n\r\n"), text("HTTP/1.1 404 Not Found\r\n\r\n")), "none", ""},
		{"short disco", udpFlow(5, 6, "c", join(text(tailscaleDisco), noise(1, 20))), "none", ""},

		{"zerotier", udpFlow(5, 6, "cs", ztHello(a, b), ztPacket(5, b, a)), "confirmed", "zerotier"},
		{"zerotier hello", udpFlow(5, 6, "c", ztHello(a, b)), "suspected", "zerotier"},
		{"zerotier in the middle", udpFlow(5, 6, "cscs", ztPacket(5, a, b), ztPacket(6, b, a), ztPacket(7, a, b), ztPacket(8, b, a)), "suspected", "zerotier"},
		{"zerotier identity of another", udpFlow(5, 6, "c", broken), "none", ""},
		{"addresses not swapped", udpFlow(5, 6, "cscs", ztPacket(5, a, b), ztPacket(6, a, b), ztPacket(7, a, b), ztPacket(8, a, b)), "none", ""},

		{"nebula", udpFlow(5, 6, "cs", first, second), "confirmed", "nebula"},
		{"nebula first message", udpFlow(5, 6, "c", first), "suspected", "nebula"},
		{"nebula in the middle, with punches", udpFlow(5, 6, "ccscs", []byte{1}, nebulaPacket(1, 7, 50, 60), nebulaPacket(1, 9, 80, 60), nebulaPacket(1, 7, 51, 60), nebulaPacket(4, 9, 81, 60)), "confirmed", "nebula"},
		{"nebula one packet", udpFlow(5, 6, "cs", nebulaPacket(1, 7, 50, 60), nebulaPacket(1, 9, 80, 60)), "none", ""},
		{"nebula reserved bytes", udpFlow(5, 6, "c", join([]byte{0x10, 0, 1, 0}, first[4:])), "none", ""},

		{"n2n version 2", udpFlow(5, 6, "cs", n2nPacket(2, 5, 0, "lab"), n2nPacket(2, 6, 0x20, "lab")), "confirmed", "n2n"},
		{"n2n version 3", udpFlow(5, 6, "cs", n2nPacket(3, 5, 0, "a-community"), n2nPacket(3, 6, 0x20, "a-community")), "confirmed", "n2n"},
		{"n2n one way", udpFlow(5, 6, "c", n2nPacket(3, 5, 0, "lab")), "suspected", "n2n"},
		{"n2n of two communities", udpFlow(5, 6, "cs", n2nPacket(3, 5, 0, "lab"), n2nPacket(3, 6, 0, "other")), "none", ""},
		{"n2n with a name that is not text", udpFlow(5, 6, "c", n2nPacket(3, 5, 0, "\x01\x02\x03")), "none", ""},
		{"n2n flags", udpFlow(5, 6, "c", n2nPacket(3, 5, 0x100, "lab")), "none", ""},

		{"tinc 1.1", tcpFlow("cs", text("0 node_a 17.7\n"), text("0 node_b 17.7\n")), "confirmed", "tinc"},
		{"tinc one way", tcpFlow("c", text("0 node_a 17\n")), "suspected", "tinc"},
		{"tinc answered by something else", tcpFlow("cs", text("0 node_a 17\n"), text("220 mail.example.com\r\n")), "none", ""},
		{"a line with another version", tcpFlow("cs", text("0 node_a 18\n"), text("0 node_b 18\n")), "none", ""},

		{"hamachi server", tcpFlow("cs", hamachiFirst(400), join(be32(40), noise(2, 40))), "confirmed", "hamachi"},
		{"hamachi server one way", tcpFlow("c", hamachiFirst(400)), "suspected", "hamachi"},
		{"hamachi relay", udpFlow(5, 6, "cs", hamachiRelay(1), hamachiRelay(2)), "confirmed", "hamachi"},
		{"hamachi relay one way", udpFlow(5, 6, "c", hamachiRelay(1)), "none", ""},
		{"hamachi direct", udpFlow(5, 17771, "cscscscs", hamachiDirect(0x9a8b7c6d, 1, 5), hamachiDirect(0x1a2b3c4e, 1, 6), hamachiDirect(0x9a8b7c6d, 2, 5), hamachiDirect(0x1a2b3c4e, 2, 6),
			hamachiDirect(0x9a8b7c6d, 3, 5), hamachiDirect(0x1a2b3c4e, 3, 6), hamachiDirect(0x9a8b7c6d, 4, 5), hamachiDirect(0x1a2b3c4e, 4, 6)), "suspected", "hamachi"},
		{"the same on another port", udpFlow(5, 6, "cscscscs", hamachiDirect(0x9a8b7c6d, 1, 5), hamachiDirect(0x1a2b3c4e, 1, 6), hamachiDirect(0x9a8b7c6d, 2, 5), hamachiDirect(0x1a2b3c4e, 2, 6),
			hamachiDirect(0x9a8b7c6d, 3, 5), hamachiDirect(0x1a2b3c4e, 3, 6), hamachiDirect(0x9a8b7c6d, 4, 5), hamachiDirect(0x1a2b3c4e, 4, 6)), "none", ""},
		{"n2n with a name of one letter", udpFlow(5, 6, "c", n2nPacket(2, 5, 0, "l")), "none", ""},
	})
}

func hamachiFirst(n int) []byte {
	return join(be32(uint32(n)), noise(1, 8), be32(hamachiMagic), noise(2, n-12))
}

func hamachiRelay(seed uint64) []byte {
	return join(make([]byte, 8), noise(seed, 60), make([]byte, 8))
}

func hamachiDirect(number, counter uint32, short uint16) []byte {
	return join(be32(number), be32(counter), be16(short), noise(uint64(number)+uint64(counter), 60))
}

func TestSoftEtherUDP(t *testing.T) {
	token := join(be32(2), be32(7), text("opcode"), be32(2), be32(1), be32(9), text("get_token"), be32(8), text("tran_id"), be32(4), be32(1), noise(1, 8))
	reply := join(be32(2), be32(7), text("opcode"), be32(2), be32(1), be32(9), text("get_token"), be32(6), text("token"), be32(2), be32(1), be32(5), text("abcde"))
	chain := func(seed uint64, size int) (a, b []byte) {
		next := noise(seed+9, size)
		return join(noise(seed, size), next, noise(seed+1, 50)), join(next, noise(seed+2, 70))
	}
	c1, c2 := chain(100, 12)
	s1, s2 := chain(200, 20)
	ping := join(text("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP"), text("QRSTUVWXYZ"))
	testVPN(t, []vpnCase{
		{"token", udpFlow(5, 6, "cs", token, reply), "confirmed", "softether"},
		{"token one way", udpFlow(5, 6, "c", token), "suspected", "softether"},
		{"poll and answer", udpFlow(5, 5004, "cs", text("A"), text("IP=192.0.2.1,PORT=40000")), "confirmed", "softether"},
		{"chain of both versions", udpFlow(5, 6, "cscs", c1, s1, c2, s2), "confirmed", "softether"},
		{"chain one way", udpFlow(5, 6, "cc", c1, c2), "suspected", "softether"},

		{"poll without answer", udpFlow(5, 5004, "cc", text("A"), text("A")), "none", ""},
		{"pack that goes on", udpFlow(5, 6, "c", join(token, []byte{0})), "none", ""},
		{"pack that is cut", udpFlow(5, 6, "c", token[:len(token)-1]), "none", ""},
		{"the same bytes again", udpFlow(5, 6, "cccc", ping, ping, ping, ping), "none", ""},
		{"text that moves on", udpFlow(5, 6, "ccc", ping, ping[12:], ping[24:]), "none", ""},
	})
}

package protocol

import (
	"strings"
	"testing"
)

// variantCases are variants that are legitimate and rare, and what is near them.
// All bytes are made from the specification that is named.
func variantCases() []remoteCase {
	const ok = "HTTP/1.1 200 OK\r\n\r\n"
	connect := "CONNECT vpn.example:1194 HTTP/1.1\r\n\r\n"
	agreed := "HTTP/1.0 200 OK\r\n\r\n"
	a, b := noise(1, 8), noise(2, 8)
	reset, reply := string(prefixed(ovpn(7, a, 0, nil, 0, nil))), string(prefixed(ovpn(8, b, 0, a, 0, nil)))
	cookie := unhex("03 00 00 30 2b e0 00 00 00 00 00") + "Cookie: mstshash=administrator"
	asks := func(flags, protocols byte) []string {
		return one(request(string([]byte{1, flags, 8, 0, protocols, 0, 0, 0})))
	}
	return []remoteCase{
		// [MS-RDPBCGR] 2.2.1.1, 2.2.1.1.1, 2.2.1.2.1, 2.2.1.2.2
		{name: "RDP request whose end is missing", client: one(cookie), label: "rdp", state: Suspected, evidence: "mstshash"},
		{name: "RDP restricted admin", client: asks(1, 3), server: one(negotiation(0xd0, 2, 0x1f, 2)), label: "rdp", state: Confirmed, evidence: "server chose NLA"},
		{name: "RDP early user authorization", client: asks(0, 0xb), server: one(negotiation(0xd0, 2, 0x1f, 8)), label: "rdp", state: Confirmed, evidence: "early user"},
		{name: "RDP with AAD", client: asks(0, 0x1b), server: one(negotiation(0xd0, 2, 0x1f, 16)), label: "rdp", state: Confirmed, evidence: "RDS-AAD"},
		{name: "RDP refused, later code", client: asks(0, 0), server: one(negotiation(0xd0, 3, 0, 6)), label: "rdp", state: Confirmed, evidence: "refused"},
		{name: "RDP cookie, no negotiation, standard security", client: []string{request("Cookie: mstshash=a\r\n"), mcs("7f65", "Duca")}, server: []string{unhex(ccBare), mcs("7f66", "McDn")}, label: "rdp", state: Confirmed},
		{name: "X.224 class 0 for T.120 conferencing", client: []string{unhex(crBare), mcs("7f65", "Duck")}, server: []string{unhex(ccBare), mcs("7f66", "McDo")}},

		// RFC 6143 7.1.1; the 12 bytes of Apple, RealVNC 5 and a repeater
		{name: "VNC of Apple", server: one("RFB 003.889\n"), client: one("RFB 003.889\n"), label: "vnc", state: Confirmed},
		{name: "VNC of RealVNC 5", server: one("RFB 005.000\n"), client: one("RFB 005.000\n"), label: "vnc", state: Confirmed},
		{name: "VNC 3.3", server: one("RFB 003.003\n" + unhex("00 00 00 02")), client: one("RFB 003.003\n"), label: "vnc", state: Confirmed},
		{name: "VNC repeater, viewer's side", server: one("RFB 000.000\n"), client: one("ID:1234" + strings.Repeat("\x00", 243)), label: "vnc", state: Suspected},
		{name: "VNC repeater, server's side", client: []string{"ID:1234" + strings.Repeat("\x00", 243), "RFB 003.008\n"}, server: one("RFB 003.008\n"), label: "vnc", state: Suspected},
		{name: "VNC, the server connects", client: one("RFB 003.008\n"), server: one("RFB 003.008\n\x01"), label: "vnc", state: Confirmed},

		// RFC 4253 4.2, 5.1
		{name: "SSH 1.99 and libssh", client: one("SSH-2.0-libssh_0.10.5\r\n"), server: one("SSH-1.99-Cisco-1.25\n"), label: "ssh", product: "Cisco-1.25", state: Confirmed},
		{name: "SSH client alone", client: one("SSH-2.0-Go\r\n" + kexInit()), label: "ssh", state: Suspected},
		{name: "SSH 3", client: one("SSH-3.0-x\r\n"), server: one("SSH-3.0-y\r\n")},

		// RFC 1928, RFC 1929
		{name: "SOCKS 4, the client's side alone", client: []string{"\x04\x01\x01\xbb\xc6\x12\x00\x05me\x00", "\x16\x03\x01\x00\x05"}, label: "socks", state: Suspected},
		{name: "SOCKS 4, then something else", client: []string{"\x04\x01\x01\xbb\xc6\x12\x00\x05me\x00", "\x01\x02\x03"}},
		{name: "SOCKS 5 BIND", client: []string{"\x05\x02\x00\x02", "\x05\x02\x00\x01\xc6\x12\x00\x05\x00\x16"}, server: one("\x05\x00" + unhex("05 00 00 01 c6 12 00 02 04 00")), label: "socks", state: Confirmed, hidden: Hidden{Host: "198.18.0.5", Port: 22, By: "socks5"}},
		{name: "SOCKS 5 UDP ASSOCIATE", client: []string{"\x05\x01\x00", unhex("05 03 00 01 00 00 00 00 00 00")}, server: one("\x05\x00" + unhex("05 00 00 01 c6 12 00 02 04 00")), label: "socks", state: Confirmed},
		{name: "SOCKS 5, Tor's RESOLVE", client: []string{"\x05\x01\x00", "\x05\xf0\x00\x03\x09a.example\x00\x00"}, server: one("\x05\x00" + unhex("05 f1 00 01 00 00 00 00 00 00")), label: "socks", state: Confirmed},
		{name: "SOCKS 5, then bytes that are no request", client: []string{"\x05\x01\x00", "\x02\x01\x00\x03\x10\x10"}, server: one("\x05\x00")},
		{name: "SOCKS 5 unanswered", client: one("\x05\x03\x00\x01\x02"), label: "socks", state: Suspected},
		{name: "SOCKS 5 with a method in private use, unanswered", client: one("\x05\x01\x93")},
		{name: "SOCKS 5 with a method in private use", client: one("\x05\x02\x00\x93"), server: one("\x05\x93"), label: "socks", state: Confirmed},

		// OpenVPN's --http-proxy; RFC 9110 9.3.6
		{name: "OpenVPN inside CONNECT", client: []string{connect, reset}, server: []string{agreed, reply}, label: "openvpn", state: Confirmed, evidence: "inside an HTTP CONNECT", hidden: Hidden{Host: "vpn.example", Port: 1194, By: "http_connect"}},

		// Requests that a scanner sends too: OpenConnect gpst.c, fortinet.c
		{name: "a scanner looks for FortiGate", client: one("GET /remote/sslvpn-tunnel HTTP/1.1\r\nHost: a\r\n\r\n"), server: one(ok), label: "http", state: Confirmed},
		{name: "a scanner looks for GlobalProtect", client: one("GET /ssl-vpn/login.esp HTTP/1.1\r\nUser-Agent: curl\r\n\r\n"), server: one(ok), label: "http", state: Confirmed},
		{name: "GlobalProtect's client", client: one("POST /ssl-vpn/prelogin.esp HTTP/1.1\r\nUser-Agent: PAN GlobalProtect\r\n\r\n"), server: one(ok), label: "globalprotect", state: Confirmed},
		{name: "no SoftEther there", client: one("POST /vpnsvc/connect.cgi HTTP/1.1\r\nContent-Type: image/jpeg\r\n\r\nVPNCONNECT"), server: one("HTTP/1.1 404 Not Found\r\n\r\n"), label: "http", state: Confirmed},
	}
}

// ovpnEpoch builds version 2 data with an epoch and a counter (OpenVPN 2.7, Linux
// drivers/net/ovpn: 16 and 48 bits).
func ovpnEpoch(peer uint32, epoch, counter uint64, n int) []byte {
	return join(be32(openvpnDataV2<<27|peer), be64(epoch<<48|counter), noise(counter+uint64(n), n))
}

// ovpnCBC builds version 2 data under CBC with HMAC: no field in the clear but
// opcode and peer id.
func ovpnCBC(peer uint32, seed uint64, digest, blocks int) []byte {
	return join(be32(openvpnDataV2<<27|peer), noise(seed, digest+16+16*blocks))
}

// tincDirect builds a datagram of tinc 1.1 (net_packet.c send_sptps_data).
func tincDirect(node uint64, number uint32, n int) []byte {
	return join(make([]byte, 6), noise(node, 6), be32(number), noise(uint64(number)+node, n))
}

// marked sets the reserved bytes of a WireGuard message.
func marked(b []byte) []byte {
	copy(b[1:4], "\xa1\xb2\xc3")
	return b
}

func TestVPNVariants(t *testing.T) {
	six := func(make func(side, n int) []byte) vpnFlow {
		return udpFlow(5, 6, "cscscscs", make(0, 0), make(1, 0), make(0, 1), make(1, 1), make(0, 2), make(1, 2), make(0, 3), make(1, 3))
	}
	testVPN(t, []vpnCase{
		{"openvpn: data with epochs", six(func(side, n int) []byte { return ovpnEpoch(7, 1, uint64(n+1+side*40), 90+n) }), "suspected", "openvpn"},
		{"openvpn: CBC with SHA-1", six(func(side, n int) []byte { return ovpnCBC(7, uint64(side*10+n), 20, 2+n) }), "suspected", "openvpn"},
		{"openvpn: CBC with SHA-256", six(func(side, n int) []byte { return ovpnCBC(7, uint64(side*10+n), 32, 2+n) }), "suspected", "openvpn"},
		{"openvpn: lengths of no block cipher", six(func(side, n int) []byte { return join(ovpnCBC(7, uint64(side*10+n), 20, 2), noise(9, n)) }), "none", ""},
		{"openvpn: another peer id each way", six(func(side, n int) []byte { return ovpnCBC(uint32(7+side), uint64(side*10+n), 20, 2) }), "none", ""},
		{"openvpn: tls-auth with SHA-512, over TCP", tcpFlow("cs", prefixed(ovpn(7, noise(1, 8), 64, nil, 0, nil)), prefixed(ovpn(8, noise(2, 8), 64, noise(1, 8), 0, nil))), "confirmed", "openvpn"},
		{"openvpn: tls-auth with MD5", udpFlow(5, 6, "cs", ovpn(7, noise(1, 8), 16, nil, 0, nil), ovpn(8, noise(2, 8), 16, noise(1, 8), 0, nil)), "confirmed", "openvpn"},
		{"openvpn: tls-auth with SHA-256, unanswered", udpFlow(5, 6, "c", ovpn(7, noise(1, 8), 32, nil, 0, nil)), "suspected", "openvpn"},
		{"openvpn: soft reset", udpFlow(5, 6, "cs", ovpn(3, noise(1, 8), 20, nil, 0, nil), ovpn(3, noise(2, 8), 20, noise(1, 8), 0, nil)), "confirmed", "openvpn"},

		{"wireguard: handshake with marks", udpFlow(5, 2408, "cs", marked(wgInitiation(7)), marked(wgResponse(9, 7))), "confirmed", "wireguard"},
		{"wireguard: marks, another index", udpFlow(5, 2408, "cs", marked(wgInitiation(7)), marked(wgResponse(9, 8))), "none", ""},
		{"wireguard: marks, unanswered", udpFlow(5, 2408, "c", marked(wgInitiation(7))), "none", ""},

		{"tinc 1.1: direct", six(func(side, n int) []byte { return tincDirect(uint64(side+1), uint32(n), 40) }), "confirmed", "tinc"},
		{"tinc 1.1: one way", udpFlow(655, 655, "cccc", tincDirect(1, 0, 40), tincDirect(1, 1, 40), tincDirect(1, 2, 40), tincDirect(1, 3, 40)), "none", ""},
		{"tinc 1.1: one id both ways", six(func(_, n int) []byte { return tincDirect(1, uint32(n), 40) }), "none", ""},
		{"zeros in front of text", six(func(side, n int) []byte { return join(make([]byte, 6), text("sender0123hello hello hello hello")) }), "none", ""},

		{"globalprotect: ESP on 4501", udpFlow(61000, 4501, "cscs", espPacket(0xabcdef01, 1, 60), espPacket(0x12345678, 1, 60), espPacket(0xabcdef01, 2, 92), espPacket(0x12345678, 2, 60)), "suspected", "globalprotect"},
		{"noise on 4501", udpFlow(61000, 4501, "cscs", noise(1, 60), noise(2, 60), noise(3, 60), noise(4, 60)), "none", ""},

		{"nebula: receive error", udpFlow(5, 6, "cscs", nebulaPacket(1, 7, 5, 60), nebulaPacket(2, 7, 0, 0), nebulaPacket(0, 0, 1, 300), nebulaPacket(0, 9, 2, 300)), "confirmed", "nebula"},
		{"a small length in little endian, a number, a counter", six(func(side, n int) []byte {
			return join(le32(16), be32(uint32(side)), be64(uint64(n+1)), text("payloadpayload"))
		}), "none", ""},
		{"a type of four bytes, a number, a counter", six(func(side, n int) []byte {
			return join(le32(4), le32(uint32(9+side)), le64(uint64(n)), make([]byte, 32))
		}), "none", ""},
	})
}

// TestCutInitiation: of a WireGuard initiation a capture may hold the start only.
func TestCutInitiation(t *testing.T) {
	whole := wgInitiation(1)
	f := Flow{Proto: 17, Facts: &Facts{}}
	f.Client.Datagrams, f.Client.Lengths = [][]byte{whole[:54]}, []int{len(whole)}
	if r := lookWireguard(&f); r.State != Suspected {
		t.Errorf("54 bytes of an initiation: %+v", r)
	}
	f.Client.Lengths[0] = 150
	if r := lookWireguard(&f); r.State == Suspected {
		t.Errorf("of a datagram of 150 bytes: %+v", r)
	}
}

// TestCutControl: of OpenVPN's control packets a capture may hold the start only;
// the reset that it holds whole still tells.
func TestCutControl(t *testing.T) {
	session := noise(1, 8)
	reset, control := ovpn(7, session, 32, nil, 0, nil), ovpn(4, session, 32, noise(2, 8), 1, noise(3, 90))
	f := Flow{Proto: 17, Facts: &Facts{}}
	f.Client.Datagrams, f.Client.Lengths = [][]byte{reset, control[:54]}, []int{len(reset), len(control)}
	if r := lookOpenVPN(&f); r.State != Suspected {
		t.Errorf("a reset and a cut packet: %+v", r)
	}
	f.Client.Lengths[1] = 54
	if r := lookOpenVPN(&f); r.State == Suspected {
		t.Errorf("a reset and a packet that does not fit: %+v", r)
	}
}

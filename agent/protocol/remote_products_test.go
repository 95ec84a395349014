package protocol

import "strings"

// frame is a RustDesk frame of fewer than 64 bytes or of fewer than 16384.
func frame(body string) string {
	if n := len(body); n < 64 {
		return string([]byte{byte(n << 2)}) + body
	}
	n := len(body)<<2 | 1
	return string([]byte{byte(n), byte(n >> 8)}) + body
}

func productCases() []remoteCase {
	register := "\x32\x0d\x0a\x09123456789\x10\x01"
	signed := "\x1a\x72\x0a\x70" + strings.Repeat("s", 112)
	key := "\x22\x54\x0a\x20" + strings.Repeat("k", 32) + "\x12\x30" + strings.Repeat("e", 48)
	relay := "\x92\x01\x26\x12\x24" + "01234567-89ab-cdef-0123-456789abcdef"
	dynGate := "GET /din.aspx?s=00000000&id=123&client=DynGate&p=10000001 HTTP/1.1\r\n\r\n"
	ok := "HTTP/1.1 200 OK\r\n\r\n"
	return []remoteCase{
		{name: "TeamViewer TCP", client: one(unhex("17 24 0a 04 00 01 02 03 04 17 24 1b 00 00")), server: one(unhex("17 24 0b 01 00 07")), label: "teamviewer", product: "TeamViewer", state: Confirmed},
		{name: "TeamViewer TCP, client only", client: one(unhex("17 24 0a 04 00 01 02 03 04 17 24 1b 00 00")), label: "teamviewer", product: "TeamViewer", state: Suspected},
		{name: "TeamViewer UDP", udp: true, client: one(strings.Repeat("\x00", 11) + unhex("17 24 00 00 00")), server: one(strings.Repeat("\x00", 11) + unhex("17 24 01 00 00")), label: "teamviewer", product: "TeamViewer", state: Confirmed},
		{name: "TeamViewer HTTP", client: one(dynGate), server: one(ok), label: "teamviewer", product: "TeamViewer", state: Confirmed},
		{name: "RustDesk UDP", udp: true, client: one(register), server: one("\x3a\x02\x10\x01"), label: "rustdesk", product: "RustDesk", state: Confirmed},
		{name: "RustDesk UDP unanswered", udp: true, client: one(register), label: "rustdesk", product: "RustDesk", state: Suspected},
		{name: "RustDesk peers", client: one(frame(key)), server: one(frame(signed)), label: "rustdesk", product: "RustDesk", state: Confirmed, evidence: "signed id"},
		{name: "RustDesk relay", client: one(frame(relay)), server: one(frame(signed)), label: "rustdesk", product: "RustDesk", state: Confirmed, evidence: "relay"},
		{name: "other protobuf", udp: true, client: one("\x32\x05\x0a\x03abc"), server: one("\x3a\x00")},
		{name: "Citrix ICA", client: one("\x7f\x7fICA\x00"), server: one("\x7f\x7fICA\x00"), label: otherRemote, product: "Citrix ICA", state: Confirmed},
		{name: "Citrix CGP", client: one("\x1aCGP/01\x00"), server: one("\x1aCGP/01\x01"), label: otherRemote, product: "Citrix CGP", state: Confirmed},
		{name: "NoMachine", client: one("NXSH-7.0.0\n"), server: one("NXD-8.2.3\n"), label: otherRemote, product: "NoMachine", state: Confirmed},
		{name: "Radmin 3", client: one(unhex("01 00 00 00 01 00 00 00 08 08")), server: one(unhex("01 00 00 00 25 00 00 02 12 08 02 00 00 0a")), label: otherRemote, product: "Radmin", state: Confirmed},
		{name: "SPICE", client: one("REDQ" + unhex("02 00 00 00 02 00 00 00 1a 00 00 00")), server: one("REDQ" + unhex("02 00 00 00 02 00 00 00 ba 00 00 00")), label: otherRemote, product: "SPICE", state: Confirmed},
		{name: "Guacamole", client: one("6.select,3.rdp;"), server: one("4.args,13.VERSION_1_5_0;"), label: otherRemote, product: "Apache Guacamole", state: Confirmed},
		{name: "NetSupport", client: one("POST http://g/fakeurl.htm HTTP/1.1\r\nUser-Agent: NetSupport Manager/1.3\r\nHost: g\r\n\r\nCMD=POLL\n"), server: one("HTTP/1.1 200 OK\r\nServer: NetSupport Gateway/1.6\r\n\r\n"), label: otherRemote, product: "NetSupport Manager", state: Confirmed},
		{name: "MeshCentral", client: one("GET /agent.ashx HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"), server: one("HTTP/1.1 101 Switching Protocols\r\n\r\n"), label: otherRemote, product: "MeshCentral", state: Confirmed},
		{name: "SSTP without TLS", client: one("SSTP_DUPLEX_POST /sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/ HTTP/1.1\r\n\r\n"), server: one("HTTP/1.1 200\r\nContent-Length: 18446744073709551615\r\n\r\n"), label: "sstp", state: Confirmed},
		{name: "SSTP control", client: one(unhex("10 01 00 0e 00 01 00 01 00 01 00 06 00 01")), server: one(unhex("10 01 00 30 00 02 00 01 00 04 00 28") + strings.Repeat("\x01", 36)), label: "sstp", state: Confirmed},
		{name: "SoftEther HTTP", client: one("POST /vpnsvc/connect.cgi HTTP/1.1\r\nContent-Type: image/jpeg\r\n\r\nVPNCONNECT"), server: one(ok), label: "softether", product: "SoftEther VPN", state: Confirmed, evidence: "water mark"},
		{name: "CSTP without TLS", client: one("CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nHost: v\r\n\r\n"), server: one("HTTP/1.1 200 CONNECTED\r\n\r\n"), label: "openconnect", state: Confirmed},
		{name: "CSTP frames", client: one("STF\x01\x00\x01\x03\x00\x00"), server: one("STF\x01\x00\x01\x04\x00\x00"), label: "openconnect", state: Confirmed},
		{name: "GlobalProtect without TLS", client: one("GET /ssl-tunnel-connect.sslvpn?user=u&authcookie=00 HTTP/1.1\r\n\r\n"), server: one("START_TUNNEL"), label: "globalprotect", state: Confirmed},
		{name: "GlobalProtect frames", client: one(unhex("1a 2b 3c 4d 00 00 00 00 00 00 00 00 00 00 00 00")), server: one(unhex("1a 2b 3c 4d 08 00 00 14 01 00 00 00 00 00 00 00 45 00")), label: "globalprotect", state: Confirmed},
		{name: "FortiGate without TLS", client: one("GET /remote/sslvpn-tunnel HTTP/1.1\r\nHost: sslvpn\r\nCookie: SVPNCOOKIE=abc\r\n\r\n"), server: one(ok), label: "fortivpn", state: Confirmed},
		{name: "FortiGate's tunnel, answered in PPP", client: one("GET /remote/sslvpn-tunnel HTTP/1.1\r\nHost: sslvpn\r\nCookie: SVPNCOOKIE=abc\r\n\r\n"), server: one(unhex("00 14 50 50 00 0e c0 21 01 01 00 0a 05 06 11 22 33 44 00 00")), label: "fortivpn", state: Confirmed, evidence: "answered with PPP frames"},
		{name: "FortiGate PPP", client: one(unhex("00 14 50 50 00 0e c0 21 01 01 00 0a 05 06 11 22 33 44 00 00")), server: one(unhex("00 14 50 50 00 0e c0 21 02 01 00 0a 05 06 11 22 33 44 00 00")), label: "fortivpn", state: Confirmed},
	}
}

func proxyCases() []remoteCase {
	connect := "CONNECT host.example:2222 HTTP/1.1\r\nHost: host.example:2222\r\n\r\n"
	agreed := "HTTP/1.1 200 Connection established\r\n\r\n"
	target := Hidden{Host: "host.example", Port: 2222, By: "http_connect"}
	v2 := unhex("0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a 21 11 00 0c c6 12 00 05 c6 12 00 02 d9 03 00 16")
	return []remoteCase{
		{name: "HTTP", client: one("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), server: one("HTTP/1.1 200 OK\r\n\r\n"), label: "http", state: Confirmed},
		{name: "noVNC", client: []string{"GET /websockify HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "\x82\x8c\x00\x00\x00\x00RFB 003.008\n"}, server: []string{"HTTP/1.1 101 Switching Protocols\r\n\r\n", "\x82\x0cRFB 003.008\n"}, label: "vnc", state: Confirmed, evidence: "WebSocket"},
		{name: "other WebSocket", client: []string{"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"}, server: []string{"HTTP/1.1 101 Switching Protocols\r\n\r\n", "\x81\x05hello"}, label: "http", state: Confirmed},
		{name: "SMTP is no HTTP", client: one("EHLO a\r\n"), server: one("220 b\r\n")},
		{name: "CONNECT refused", client: one(connect), server: one("HTTP/1.1 403 Forbidden\r\n\r\n"), label: "http", state: Confirmed, hidden: target},
		{name: "SSH inside CONNECT", client: []string{connect, "SSH-2.0-a\r\n"}, server: []string{agreed, "SSH-2.0-b\r\n"}, label: "ssh", product: "b", state: Confirmed, evidence: "inside an HTTP CONNECT to host.example:2222", hidden: target},
		{name: "SSH inside CONNECT after a password was asked for", client: []string{connect, connect, "SSH-2.0-a\r\n"}, server: []string{"HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\nplain", agreed, "SSH-2.0-b\r\n"}, label: "ssh", product: "b", state: Confirmed, hidden: target},
		{name: "RDP inside CONNECT", client: []string{connect, unhex(crTLS)}, server: []string{agreed, negotiation(0xd0, 2, 0, 1)}, label: "rdp", state: Confirmed, hidden: target},
		{name: "IPv6 CONNECT", client: one("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n"), server: one(agreed), label: "http", state: Confirmed, hidden: Hidden{Host: "2001:db8::1", Port: 443, By: "http_connect"}},
		{name: "PROXY 1, then SSH", client: one("PROXY TCP4 198.18.0.5 198.18.0.2 55555 22\r\nSSH-2.0-a\r\n"), server: one("SSH-2.0-b\r\n"), label: "ssh", product: "b", state: Confirmed, evidence: "PROXY", hidden: Hidden{Host: "198.18.0.5", Port: 55555, By: "proxy_header"}},
		{name: "PROXY 2, then RDP", client: one(v2 + unhex(crTLS)), server: one(negotiation(0xd0, 2, 0, 1)), label: "rdp", state: Confirmed, hidden: Hidden{Host: "198.18.0.5", Port: 55555, By: "proxy_header"}},
	}
}

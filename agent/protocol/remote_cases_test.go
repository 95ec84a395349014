package protocol

import (
	"encoding/hex"
	"strings"
)

// remoteCase is a flow built from a specification: what each side sends, and
// the answer once the flow has closed.
type remoteCase struct {
	name           string
	udp            bool
	client, server []string // TCP: segments; UDP: datagrams
	label          string   // category, or an internal label
	product        string
	state          State
	evidence       string // a part of it
	hidden         Hidden
}

func unhex(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func one(s string) []string { return []string{s} }

const (
	crTLS  = "03 00 00 13 0e e0 00 00 00 00 00 01 00 08 00 01 00 00 00"
	crBare = "03 00 00 0b 06 e0 00 00 00 00 00"
	ccBare = "03 00 00 0b 06 d0 00 00 12 34 00"
)

func negotiation(code, kind, flags, value byte) string {
	return unhex("03 00 00 13 0e") + string([]byte{code, 0, 0, 0x12, 0x34, 0, kind, flags, 8, 0, value, 0, 0, 0})
}

// tpkt wraps X.224 bytes, without their length, as a connection request.
func request(variable string) string {
	n := 11 + len(variable)
	return string([]byte{3, 0, 0, byte(n), byte(n - 5), 0xe0, 0, 0, 0, 0, 0}) + variable
}

// mcs is X.224 data with an MCS connect PDU that holds key.
func mcs(tag, key string) string {
	user := unhex(tag) + "\x82\x00\x20" + "\x00\x05\x00\x14\x7c\x00\x01" + key
	return unhex("03 00 00") + string(rune(7+len(user))) + unhex("02 f0 80") + user
}

func rdpCases() []remoteCase {
	neg := unhex("01 00 08 00 03 00 00 00")
	return []remoteCase{
		{name: "cookie and TLS", client: one(request("Cookie: mstshash=x\r\n" + neg)), server: one(negotiation(0xd0, 2, 0, 1)),
			label: "rdp", state: Confirmed, evidence: "mstshash cookie asking for NLA; server chose TLS"},
		{name: "no cookie, NLA", client: one(unhex(crTLS)), server: one(negotiation(0xd0, 2, 0x1f, 2)),
			label: "rdp", state: Confirmed, evidence: "server chose NLA"},
		{name: "routing token", client: one(request("Cookie: msts=3640205228.15629.0000\r\n" + neg)), server: one(negotiation(0xd0, 2, 0, 8)),
			label: "rdp", state: Confirmed, evidence: "routing token"},
		{name: "RDSTLS", client: one(request("Cookie: mstshash=x\r\n" + unhex("01 00 08 00 07 00 00 00"))), server: one(negotiation(0xd0, 2, 0, 4)),
			label: "rdp", state: Confirmed, evidence: "server chose RDSTLS"},
		{name: "failure code", client: one(unhex(crTLS)), server: one(negotiation(0xd0, 3, 0, 5)),
			label: "rdp", state: Confirmed, evidence: "refused"},
		{name: "correlation information", client: one(request(neg + unhex("06 00 24 00") + strings.Repeat("\x07", 32))), server: one(negotiation(0xd0, 2, 0, 1)),
			label: "rdp", state: Confirmed},
		{name: "RDP 4 with MCS", client: []string{unhex(crBare), mcs("7f65", "Duca")}, server: []string{unhex(ccBare), mcs("7f66", "McDn")},
			label: "rdp", state: Confirmed, evidence: "Duca"},
		{name: "bare request and confirm", client: one(unhex(crBare)), server: one(unhex(ccBare)), label: "rdp", state: Suspected},
		{name: "request alone", client: one(unhex(crTLS)), label: "rdp", state: Suspected, evidence: "asking for TLS"},
		{name: "confirm alone, from the first sender", client: one(negotiation(0xd0, 2, 0, 1)), label: "rdp", state: Suspected, evidence: "server chose TLS"},
		{name: "cookie with a wrong header length", client: one(unhex("03 00 00 2a 00 e0 00 00 00 00 00") + "Cookie: mstshash=user1\r\n" + unhex("01 00 08 00 00 00 00")),
			server: one(negotiation(0xd0, 2, 0, 1)), label: "rdp", state: Confirmed},
		{name: "T.125 data in the middle", client: one(unhex("03 00 00 10 02 f0 80 64 00 06 03 eb 70 02 00 00")), server: one(unhex("03 00 00 10 02 f0 80 68 00 01 03 eb 70 02 00 00")),
			label: "rdp", state: Suspected, evidence: "T.125"},
		{name: "T.125 data, the server seen first", client: one(unhex("03 00 00 10 02 f0 80 68 00 01 03 eb 70 02 00 00")), server: one(unhex("03 00 00 10 02 f0 80 64 00 06 03 eb 70 02 00 00")),
			label: "rdp", state: Suspected, evidence: "T.125"},
		{name: "Hyper-V preconnection, then TLS", client: one(unhex("12 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00 00 00") + unhex("16 03 01 00 05 01 00 00 01 00")), server: one(unhex("16 03 03 00 04 0e 00 00 00")),
			label: "rdp", product: "Hyper-V", state: Confirmed, evidence: "preconnection"},
		{name: "preconnection, then X.224", client: one(unhex("10 00 00 00 00 00 00 00 01 00 00 00 2a 00 00 00") + unhex(crTLS)), server: one(negotiation(0xd0, 2, 0, 1)),
			label: "rdp", state: Confirmed, evidence: "preconnection"},
		{name: "RD Gateway over HTTP", client: one("RDG_OUT_DATA /remoteDesktopGateway/ HTTP/1.1\r\nHost: g\r\n\r\n"), server: one("HTTP/1.1 401 Unauthorized\r\n\r\n"),
			label: "rdp", product: "RD Gateway", state: Confirmed},
		{name: "RPC over HTTP to 3388", client: one("RPC_IN_DATA /rpc/rpcproxy.dll?g:3388 HTTP/1.1\r\n\r\n"), label: "rdp", product: "RD Gateway", state: Suspected},
		{name: "Outlook's RPC over HTTP", client: one("RPC_IN_DATA /rpc/rpcproxy.dll?mail:6004 HTTP/1.1\r\n\r\n"), server: one("HTTP/1.1 200 OK\r\n\r\n"), label: "http", state: Confirmed},
		{name: "S7 over X.224", client: one(unhex("03 00 00 16 11 e0 00 00 00 01 00 c1 02 01 00 c2 02 01 02 c0 01 0a")), server: one(unhex("03 00 00 16 11 d0 00 01 00 02 00 c0 01 0a c1 02 01 00 c2 02 01 02"))},
		{name: "H.225 over TPKT", client: one(unhex("03 00 00 10 08 02 00 01 05 04 03 80 90 a5 00 00"))},
		{name: "MCS without RDP's data", client: []string{unhex(crBare), mcs("7f65", "NMtg")}, server: []string{unhex(ccBare), mcs("7f66", "NMtg")}},
	}
}

func rdpudpCases() []remoteCase {
	pad := strings.Repeat("\x00", 1232-20)
	syn := unhex("ff ff ff ff 04 00 10 01 01 02 03 04 04 d0 04 d0 00 01 00 02") + pad
	ack := unhex("01 02 03 04 04 00 00 05 0a 0b 0c 0d 04 d0 04 d0 00 00 00 00") + pad
	record := unhex("17 03 03 00 02 aa bb")
	return []remoteCase{
		{name: "SYN and SYN+ACK", udp: true, client: one(syn), server: one(ack), label: "rdp-udp", state: Confirmed, evidence: "of version 2"},
		{name: "SYN alone", udp: true, client: one(syn), label: "rdp-udp", state: Suspected},
		{name: "SYN+ACK of another flow", udp: true, client: one(syn), server: one("\x09" + ack[1:]), label: "rdp-udp", state: Suspected},
		{name: "data in the middle", udp: true, client: one(unhex("00 00 00 11 04 00 00 0c 00 01 01 00 00 00 00 21 00 00 00 21") + record), server: one(unhex("00 00 00 21 04 00 00 0c 00 01 01 00 00 00 00 12 00 00 00 12") + record),
			label: "rdp-udp", state: Confirmed, evidence: "each acknowledging"},
		{name: "MTU out of range", udp: true, client: one(unhex("ff ff ff ff 04 00 00 01 01 02 03 04 00 00 04 d0") + pad)},
	}
}

// kexInit is a SSH_MSG_KEXINIT in its packet.
func kexInit() string {
	body := "\x14" + strings.Repeat("c", 16)
	for i := range 10 {
		list := []string{"curve25519-sha256", "ssh-ed25519", "aes128-ctr", "aes128-ctr", "hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""}[i]
		body += "\x00\x00" + vector16(list)
	}
	body += "\x00\x00\x00\x00\x00"
	padding := 4 + (8-(len(body)+9)%8)%8
	return "\x00\x00" + vector16(string(rune(padding))+body+strings.Repeat("p", padding))
}

func shellCases() []remoteCase {
	return []remoteCase{
		{name: "SSH 2", client: one("SSH-2.0-OpenSSH_9.2\r\n"), server: one("SSH-2.0-dropbear_2022.83\r\n"), label: "ssh", product: "dropbear_2022.83", state: Confirmed},
		{name: "SSH 1.99, lines before", client: one("SSH-1.5-x\n"), server: one("welcome\r\nto this host\r\nSSH-1.99-y\n"), label: "ssh", product: "y", state: Confirmed},
		{name: "SSH banner longer than allowed", client: one("SSH-2.0-" + strings.Repeat("a", 400)), server: one("SSH-2.0-b\r\n"), label: "ssh", product: "b", state: Confirmed},
		{name: "SSH server, HTTP client", client: one("GET / HTTP/1.0\r\n\r\n"), server: one("SSH-2.0-x\r\n"), label: "ssh", state: Suspected},
		{name: "SSH key exchange in the middle", client: one(kexInit()), server: one(unhex("00 00 00 14 06 1f") + strings.Repeat("k", 18) + unhex("00 00 00 0c 0a 15") + strings.Repeat("\x00", 10)), label: "ssh", state: Confirmed, evidence: "in the middle"},
		{name: "not quite a key exchange", client: one(unhex("00 00 00 0c 0a 15") + strings.Repeat("\x00", 10)), server: one(unhex("00 00 00 14 06 1f") + strings.Repeat("k", 18))},
		{name: "no SSH", client: one("SSH-hello\r\n"), server: one("220 ready\r\n")},
		{name: "RFB", client: one("RFB 003.008\n"), server: one("RFB 004.001\n\x01\x02"), label: "vnc", state: Confirmed, evidence: "RFB 004.001 and RFB 003.008"},
		{name: "RFB from the server", server: one("RFB 003.889\n"), label: "vnc", state: Suspected},
		{name: "no RFB", client: one("RFB is a protocol\n"), server: one("so it is said\n")},
	}
}

package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// Fake servers: products whose own servers cannot be had answer here, as far as
// the real clients need it to go on. They stand on the server's loopback behind
// stunnel, which takes the TLS off.

// fake answers one request of a connection. It says whether another may follow.
type fake func(c net.Conn, in *bufio.Reader, method, target string, headers map[string]string) (more bool)

// serveFake serves connections until the test ends.
func (l *lab) serveFake(port uint16, answer fake) {
	l.t.Helper()
	listener := listenIn(l.t, l.server, fmt.Sprintf("127.0.0.1:%d", port))
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					method, target, headers, err := readHead(in)
					if err != nil || !answer(c, in, method, target, headers) {
						return
					}
				}
			}()
		}
	}()
}

// readHead reads a request and throws its body away. net/http would not take
// SSTP's length.
func readHead(in *bufio.Reader) (method, target string, headers map[string]string, err error) {
	headers = map[string]string{}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", "", nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		switch name, value, isHeader := strings.Cut(line, ":"); {
		case line == "" && method == "":
		case line == "":
			if n, err := strconv.Atoi(headers["content-length"]); err == nil && n < 1<<20 {
				_, err = io.CopyN(io.Discard, in, int64(n))
				return method, target, headers, err
			}
			return method, target, headers, nil
		case method == "":
			fields := strings.Fields(line)
			if len(fields) < 2 {
				return "", "", nil, fmt.Errorf("request %q", line)
			}
			method, target = fields[0], fields[1]
		case isHeader:
			headers[strings.ToLower(name)] = strings.TrimSpace(value)
		}
	}
}

// reply writes an HTTP answer.
func reply(c net.Conn, status, body string, headers ...string) bool {
	text := fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n", status, len(body))
	for _, h := range headers {
		text += h + "\r\n"
	}
	_, err := io.WriteString(c, text+"\r\n"+body)
	return err == nil
}

// echoed turns an IPv4 ping into its answer; nothing else is answered.
func echoed(packet []byte) []byte {
	if len(packet) < 28 || packet[0] != 0x45 || packet[9] != 1 || packet[20] != 8 {
		return nil
	}
	answer := append([]byte(nil), packet...)
	copy(answer[12:16], packet[16:20])
	copy(answer[16:20], packet[12:16])
	answer[20] = 0
	sum := uint32(binary.BigEndian.Uint16(answer[22:])) + 0x0800 // the type fell by 8 (RFC 1624)
	binary.BigEndian.PutUint16(answer[22:], uint16(sum+sum>>16))
	return answer
}

// fakeGlobalProtect answers as OpenConnect's gpst.c expects it: a configuration,
// no host check, then frames of 16 bytes and a packet each.
func fakeGlobalProtect(c net.Conn, in *bufio.Reader, _, target string, _ map[string]string) bool {
	switch {
	case strings.HasPrefix(target, "/ssl-vpn/getconfig.esp"):
		return reply(c, "200 OK", `<?xml version="1.0" encoding="UTF-8"?><response status="success"><ip-address>10.6.0.2</ip-address>`+
			`<netmask>255.255.255.0</netmask><mtu>1400</mtu><gw-address>10.6.0.1</gw-address><timeout>3600</timeout>`+
			`<ssl-tunnel-url>/ssl-tunnel-connect.sslvpn</ssl-tunnel-url></response>`, "Content-Type: application/xml")
	case strings.HasPrefix(target, "/ssl-vpn/hipreportcheck.esp"):
		return reply(c, "200 OK", `<response status="success"><hip-report-needed>no</hip-report-needed></response>`, "Content-Type: application/xml")
	case !strings.HasPrefix(target, "/ssl-tunnel-connect.sslvpn"):
		return reply(c, "200 OK", `<response status="success"></response>`, "Content-Type: application/xml")
	}
	if _, err := io.WriteString(c, "START_TUNNEL"); err != nil {
		return false
	}
	head := make([]byte, 16)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			return false
		}
		packet := make([]byte, binary.BigEndian.Uint16(head[6:]))
		if _, err := io.ReadFull(in, packet); err != nil {
			return false
		}
		if len(packet) > 0 {
			if packet = echoed(packet); packet == nil {
				continue
			}
		}
		if _, err := c.Write(append(append([]byte(nil), head...), packet...)); err != nil {
			return false
		}
	}
}

const fortinetConfig = `<?xml version='1.0' encoding='utf-8'?><sslvpn-tunnel ver='2' dtls='0' patch='1'><dtls-config heartbeat-interval='10' ` +
	`heartbeat-fail-count='10' heartbeat-idle-timeout='10' client-hello-timeout='10' /><tunnel-method value='ppp' /><tunnel-method value='tun' />` +
	`<fos platform='FG100E' major='5' minor='06' patch='6' build='1630' branch='1630' /><ipv4><assigned-addr ipv4='10.6.0.2' /></ipv4>` +
	`<idle-timeout val='3600' /><auth-timeout val='18000' /></sslvpn-tunnel>`

// fakeFortiGate answers as OpenConnect's fortinet.c and openfortivpn expect it,
// then speaks PPP in frames of 6 bytes and a packet each.
func fakeFortiGate(c net.Conn, in *bufio.Reader, _, target string, _ map[string]string) bool {
	switch {
	case strings.HasPrefix(target, "/remote/fortisslvpn_xml"):
		return reply(c, "200 OK", fortinetConfig, "Content-Type: text/xml")
	case !strings.HasPrefix(target, "/remote/sslvpn-tunnel"):
		return reply(c, "200 OK", "<html></html>", "Content-Type: text/html")
	}
	send := func(packet []byte) error {
		frame := binary.BigEndian.AppendUint16(nil, uint16(6+len(packet)))
		frame = append(frame, 0x50, 0x50)
		_, err := c.Write(append(binary.BigEndian.AppendUint16(frame, uint16(len(packet))), packet...))
		return err
	}
	head := make([]byte, 6)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			return false
		}
		packet := make([]byte, binary.BigEndian.Uint16(head[4:]))
		if _, err := io.ReadFull(in, packet); err != nil {
			return false
		}
		for _, answer := range pppAnswers(packet) {
			if err := send(answer); err != nil {
				return false
			}
		}
	}
}

// pppAnswers is the least that a PPP peer says (RFC 1661 section 5): it takes
// what is asked for, asks for nothing but an address, and answers pings.
func pppAnswers(packet []byte) [][]byte {
	head := []byte(nil)
	if len(packet) > 2 && packet[0] == 0xff && packet[1] == 3 {
		head, packet = packet[:2], packet[2:]
	}
	if len(packet) < 6 {
		return nil
	}
	with := func(body []byte) []byte { return append(append(append([]byte(nil), head...), packet[:2]...), body...) }
	protocol, body := binary.BigEndian.Uint16(packet), packet[2:]
	const configureRequest, configureAck, echoRequest, echoReply = 1, 2, 9, 10
	switch {
	case protocol == 0x0021:
		if answer := echoed(body); answer != nil {
			return [][]byte{with(answer)}
		}
	case protocol&0xc000 != 0x8000 && protocol != 0xc021:
	case body[0] == configureRequest:
		ack := append([]byte(nil), body...)
		ack[0] = configureAck
		own := []byte{configureRequest, 0x70, 0, 4}
		if protocol == 0x8021 { // IPCP: our own address (RFC 1332 section 3.3)
			own = []byte{configureRequest, 0x70, 0, 10, 3, 6, 10, 6, 0, 1}
		}
		return [][]byte{with(ack), with(own)}
	case body[0] == echoRequest:
		answer := append([]byte(nil), body...)
		answer[0] = echoReply
		return [][]byte{with(answer)}
	}
	return nil
}

// fakeSSTP accepts the HTTP start and the call ([MS-SSTP] 3.2.5.2, 2.2.10), and
// sends every data packet back.
func fakeSSTP(c net.Conn, in *bufio.Reader, method, _ string, _ map[string]string) bool {
	if method != "SSTP_DUPLEX_POST" {
		return reply(c, "404 Not Found", "")
	}
	if _, err := io.WriteString(c, "HTTP/1.1 200\r\nContent-Length: 18446744073709551615\r\nServer: Microsoft-HTTPAPI/2.0\r\n\r\n"); err != nil {
		return false
	}
	head := make([]byte, 4)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			return false
		}
		length := int(binary.BigEndian.Uint16(head[2:]) & 0x0fff)
		if length < 4 {
			return false
		}
		packet := append(append([]byte(nil), head...), make([]byte, length-4)...)
		if _, err := io.ReadFull(in, packet[4:]); err != nil {
			return false
		}
		if packet[1] == 1 { // control
			if len(packet) < 6 || packet[5] != 1 { // only a Call Connect Request is answered
				continue
			}
			// Call Connect Ack with a crypto binding request: SHA-256, a nonce.
			packet = append([]byte{0x10, 1, 0, 48, 0, 2, 0, 1, 0, 4, 0, 40, 0, 0, 0, 2}, make([]byte, 32)...)
		}
		if _, err := c.Write(packet); err != nil {
			return false
		}
	}
}

// ntlmChallenge is a CHALLENGE_MESSAGE ([MS-NLMP] 2.2.1.2) of a server "LAB".
func ntlmChallenge() string {
	target, _ := hex.DecodeString("4c0041004200")                                          // LAB in UTF-16
	info, _ := hex.DecodeString("02000600" + "4c0041004200" + "01000600" + "4c0041004200") // domain, computer
	info = append(info, 7, 0, 8, 0, 0, 0x80, 0x3e, 0xd5, 0xde, 0xb1, 0x9d, 1)              // time
	info = append(info, 0, 0, 0, 0)
	message := append([]byte("NTLMSSP\x00"), 2, 0, 0, 0)
	fields := func(length, at int) []byte {
		b := binary.LittleEndian.AppendUint16(nil, uint16(length))
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(b, uint16(length)), uint32(at))
	}
	message = append(message, fields(len(target), 56)...)
	message = binary.LittleEndian.AppendUint32(message, 0xe2898235)
	message = append(message, 1, 2, 3, 4, 5, 6, 7, 8)
	message = append(message, make([]byte, 8)...)
	message = append(message, fields(len(info), 56+len(target))...)
	message = append(message, 10, 0, 0x63, 0x45, 0, 0, 0, 15)
	return base64.StdEncoding.EncodeToString(append(append(message, target...), info...))
}

// fakeRDGateway asks for NTLM, takes whoever comes, and then says nothing more:
// [MS-TSGU] 3.3.5.1 and 2.2.10 as far as HTTP.
func fakeRDGateway(c net.Conn, in *bufio.Reader, _, _ string, headers map[string]string) bool {
	scheme, token, _ := strings.Cut(headers["authorization"], " ")
	message, _ := base64.StdEncoding.DecodeString(token)
	switch {
	case scheme == "":
		return reply(c, "401 Unauthorized", "", "WWW-Authenticate: NTLM")
	case len(message) > 8 && message[8] == 1:
		return reply(c, "401 Unauthorized", "", "WWW-Authenticate: NTLM "+ntlmChallenge())
	case headers["upgrade"] != "":
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	default:
		reply(c, "200 OK", "")
	}
	io.Copy(io.Discard, in)
	return false
}

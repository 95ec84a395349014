package protocol

import (
	cryptotls "crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
)

// extensionBytes is one extension of a hello.
func extensionBytes(kind int, body string) string {
	return string([]byte{byte(kind >> 8), byte(kind), byte(len(body) >> 8), byte(len(body))}) + body
}

func vector16(body string) string {
	return string([]byte{byte(len(body) >> 8), byte(len(body))}) + body
}

// list16 is 16-bit values behind a 16-bit length.
func list16(values ...int) string {
	var b []byte
	for _, v := range values {
		b = append(b, byte(v>>8), byte(v))
	}
	return vector16(string(b))
}

// hello builds a ClientHello body.
func hello(version int, ciphers []int, extensions ...string) string {
	body := string([]byte{byte(version >> 8), byte(version)}) + strings.Repeat("r", 32) + "\x00" + list16(ciphers...) + "\x01\x00"
	if len(extensions) > 0 {
		body += vector16(strings.Join(extensions, ""))
	}
	return body
}

// record wraps a handshake message in TLS records of at most size bytes.
func record(kind byte, body string, size int) string {
	message := string([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}) + body
	var out string
	for len(message) > 0 {
		n := min(size, len(message))
		out += "\x16\x03\x01" + vector16(message[:n])
		message = message[n:]
	}
	return out
}

func mustHello(t *testing.T, body string, form helloForm) clientHello {
	t.Helper()
	h, ok := parseClientHello([]byte(body), form)
	if !ok {
		t.Fatal("the hello does not parse")
	}
	return h
}

// TestJA3 uses the vectors of salesforce/ja3's README.
func TestJA3(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"with extensions", hello(769, []int{47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4},
			extensionBytes(0, vector16("\x00"+vector16("a.example"))), extensionBytes(10, list16(23, 24, 25)), extensionBytes(11, "\x01\x00")),
			"ada70206e40642a3e4461f35503241d5"},
		{"without extensions", hello(769, []int{4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99}), "de350869b8c85de67a350c8d186f11e6"},
	} {
		h := mustHello(t, c.body, streamHello)
		if got := h.ja3(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestJA4 uses the vector of FoxIO-LLC/ja4 technical_details/JA4.md and
// rust/ja4/src/tls.rs, with GREASE put in where Chrome has it.
func TestJA4(t *testing.T) {
	ciphers := []int{0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x9c, 0x9d, 0x2f, 0x35}
	kinds := []int{0x0a0a, 0x1b, 0, 0x33, 0x10, 0x4469, 0x17, 0x2d, 0x0d, 5, 0x23, 0x12, 0x2b, 0xff01, 0x0b, 0x0a, 0xdada, 0x15}
	signatures := list16(0x403, 0x804, 0x401, 0x503, 0x805, 0x501, 0x806, 0x601)
	build := func(alpn string) string {
		var list []string
		for _, k := range kinds {
			body := ""
			switch k {
			case 0:
				body = vector16("\x00" + vector16("example.com"))
			case 0x0d:
				body = signatures
			case 0x10:
				body = vector16(string(rune(len(alpn))) + alpn)
			case 0x2b:
				body = "\x06\x7a\x7a\x03\x04\x03\x03"
			}
			list = append(list, extensionBytes(k, body))
		}
		return hello(0x0303, ciphers, list...)
	}
	for _, c := range []struct {
		name, alpn, want string
		form             helloForm
	}{
		{"published", "h2", "t13d1516h2_8daaf6152771_e5627efa2ab1", streamHello},
		{"http/1.1", "http/1.1", "t13d1516h1_8daaf6152771_e5627efa2ab1", streamHello},
		{"QUIC", "h3", "q13d1516h3_8daaf6152771_e5627efa2ab1", quicHello},
		{"ALPN that is not alphanumeric", "\x30\x2f\x2e\x2d", "t13d15163d_8daaf6152771_e5627efa2ab1", streamHello},
	} {
		h := mustHello(t, build(c.alpn), c.form)
		if got := h.ja4(c.form); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	bare := mustHello(t, hello(0x0301, []int{4}), streamHello)
	if got := bare.ja4(streamHello); !strings.HasPrefix(got, "t10i010000_") || !strings.HasSuffix(got, "_000000000000") {
		t.Errorf("hello without extensions: %s", got)
	}
}

// realHello gives the first bytes that crypto/tls sends.
func realHello(t testing.TB, config *cryptotls.Config) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		_ = cryptotls.Client(a, config).Handshake() // ends when b closes
		a.Close()
	}()
	buffer := make([]byte, MaxStream)
	n, err := b.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return buffer[:n]
}

func TestTLSFacts(t *testing.T) {
	stream := realHello(t, &cryptotls.Config{ServerName: "vpn.example", NextProtos: []string{"h2", "http/1.1"}})
	for size := 1; size <= len(stream); size += 7 { // records of every size
		whole := record(helloClient, string(stream[9:]), size)
		got := replay(Detectors(), 6, []sent{{true, whole}}).facts.TLS
		if got == nil || got.SNI != "vpn.example" || !slices.Equal(got.ALPN, []string{"h2", "http/1.1"}) || got.Version != 0x0304 || got.ECH {
			t.Fatalf("records of %d bytes: %+v", size, got)
		}
	}
	ech := hello(0x0303, []int{0x1301}, extensionBytes(0xfe0d, "\x00"))
	if got := replay(Detectors(), 6, []sent{{true, record(helloClient, ech, 100)}}).facts.TLS; got == nil || !got.ECH {
		t.Errorf("ECH is not reported: %+v", got)
	}
	answer := "\x03\x03" + strings.Repeat("s", 32) + "\x00\x13\x01\x00" + vector16(extensionBytes(43, "\x03\x04")+extensionBytes(16, vector16("\x02h2")))
	r := replay(Detectors(), 6, []sent{{true, string(stream)}, {false, record(helloServer, answer, 4000)}})
	if r.facts.TLS.SelectedALPN != "h2" || !r.facts.TLS.ServerHello || r.result.Label != "tls" || r.result.State != Confirmed {
		t.Errorf("both hellos: %+v, %+v", r.result, r.facts.TLS)
	}
	plain := replay(Detectors(), 6, []sent{{true, string(stream)}, {false, "HTTP/1.1 400 Bad Request\r\n\r\n"}})
	if plain.facts.TLS == nil || plain.facts.TLS.SNI != "vpn.example" {
		t.Errorf("a server that does not speak TLS hides the name asked for: %+v", plain)
	}
}

// TestProductsInTLS: names and fingerprints that prove, and near misses.
func TestProductsInTLS(t *testing.T) {
	answer := "\x03\x03" + strings.Repeat("s", 32) + "\x00\x13\x01\x00" + vector16(extensionBytes(43, "\x03\x04"))
	for _, c := range []struct {
		name, sni, alpn, label, product string
		state                           State
	}{
		{"AnyDesk relay", "relay-1a2b3c.net.anydesk.com", "", "anydesk", "AnyDesk", Confirmed},
		{"AnyDesk's web site", "download.anydesk.com", "", "tls", "", Confirmed},
		{"AnyDesk ALPN", "", "anydesk/7.0.0/linux", "anydesk", "AnyDesk", Confirmed},
		{"TeamViewer router", "router15.teamviewer.com", "", "teamviewer", "TeamViewer", Confirmed},
		{"TeamViewer's web site", "www.teamviewer.com", "", "tls", "", Confirmed},
		{"TeamViewer look-alike", "router1.teamviewer.com.example", "", "tls", "", Confirmed},
		{"ScreenConnect relay", "instance-abc123-relay.screenconnect.com", "", otherRemote, "ScreenConnect", Confirmed},
		{"ScreenConnect console", "acme.screenconnect.com", "", "tls", "", Confirmed},
		{"Tailscale relay", "derp10b.tailscale.com", "", "tailscale", "Tailscale", Confirmed},
		{"Tailscale's coordination server", "controlplane.tailscale.com", "", "tailscale", "Tailscale", Confirmed},
		{"Tailscale's console", "login.tailscale.com", "", "tls", "", Confirmed},
		{"Tailscale look-alike", "derp.tailscale.com", "", "tls", "", Confirmed},
		{"SoftEther's VPN Azure", "vpn123.vpnazure.net", "", "softether", "SoftEther VPN", Suspected},
	} {
		config := &cryptotls.Config{ServerName: c.sni, InsecureSkipVerify: true}
		if c.alpn != "" {
			config.NextProtos = []string{c.alpn}
		}
		r := replay(Detectors(), 6, []sent{{true, string(realHello(t, config))}, {false, record(helloServer, answer, 4000)}}).result
		if r.Label != c.label || r.Product != c.product || r.State != c.state {
			t.Errorf("%s: %+v, want %q %q %d", c.name, r, c.label, c.product, c.state)
		}
	}
}

func TestDTLS(t *testing.T) {
	body := func(session, ciphers string) string {
		return "\xfe\xfd" + strings.Repeat("r", 32) + session + "\x00" + ciphers + "\x01\x00"
	}
	session := "\x20" + strings.Repeat("i", 32)
	datagram := func(version, message string, at, n int) string {
		part := message[at : at+n]
		head := "\x01" + string([]byte{0, 0, byte(len(message)), 0, 0, 0, 0, byte(at), 0, 0, byte(n)})
		return "\x16" + version + strings.Repeat("\x00", 8) + vector16(head+part)
	}
	whole := func(version, message string) string { return datagram(version, message, 0, len(message)) }
	psk, normal := body(session, list16(0xa8, 0xa9)), body("\x00", list16(0xc02b, 0xc02f))
	old := body(session, list16(0x35))
	one := body(session, list16(0xc030)) + vector16(extensionBytes(23, ""))
	handshake := func(kind byte, message string) string {
		head := string([]byte{kind, 0, 0, byte(len(message)), 0, 0, 0, 0, 0, 0, 0, byte(len(message))})
		return "\x16\xfe\xfd" + strings.Repeat("\x00", 8) + vector16(head+message)
	}
	answer := func(session string, suite int) string {
		return handshake(helloServer, "\xfe\xfd"+strings.Repeat("t", 32)+session+string([]byte{byte(suite >> 8), byte(suite), 0}))
	}
	verify := handshake(helloVerify, "\xfe\xfd\x04cook")
	for _, c := range []struct {
		name   string
		pieces []sent
		label  string
	}{
		{"PSK-NEGOTIATE", []sent{{true, whole("\xfe\xfd", psk)}}, "anyconnect-dtls"},
		{"ordinary", []sent{{true, whole("\xfe\xfd", normal)}}, "dtls"},
		{"in fragments, out of order", []sent{{true, datagram("\xfe\xfd", psk, 40, len(psk)-40)}, {true, datagram("\xfe\xfd", psk, 0, 40)}}, "anyconnect-dtls"},
		{"PSK-NEGOTIATE, answered", []sent{{true, whole("\xfe\xfd", psk)}, {false, answer("\x20"+strings.Repeat("s", 32), 0xa8)}}, "anyconnect-dtls"},
		{"a resumed session of another client with a pre-shared key", []sent{{true, whole("\xfe\xfd", psk)}, {false, answer(session, 0xa8)}}, "dtls"},
		{"the same after a cookie", []sent{{true, whole("\xfe\xfd", psk)}, {false, verify}, {true, whole("\xfe\xfd", psk)}, {false, answer("\x20"+strings.Repeat("s", 32), 0xa8)}}, "dtls"},
		{"AnyConnect's DTLS 1.2 that resumes", []sent{{true, whole("\xfe\xfd", one)}, {false, answer(session, 0xc030)}}, "anyconnect-dtls"},
		{"another client's DTLS 1.2 that resumes", []sent{{true, whole("\xfe\xfd", body(session, list16(0xc02b, 0xc02c, 0xc02f))+vector16(extensionBytes(23, "")))}, {false, answer(session, 0xc02f)}}, "dtls"},
		{"Cisco's version", []sent{{true, whole("\x01\x00", old)}}, "anyconnect-dtls"},
		{"Cisco's version without a preset session", []sent{{true, whole("\x01\x00", normal)}}, "dtls"},
	} {
		if r := replay(Detectors(), 17, c.pieces).result; r.Label != c.label {
			t.Errorf("%s: %+v, want %q", c.name, r, c.label)
		}
	}
}

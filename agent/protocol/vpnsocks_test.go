package protocol

import "testing"

func TestSOCKS(t *testing.T) {
	e := NewEngine(Detectors())
	connect := func(kind byte, address ...byte) []byte { return join([]byte{5, 1, 0, kind}, address) }
	name := connect(3, join([]byte{11}, text("example.com"), be16(3389))...)
	granted := []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	password := join([]byte{1, 4}, text("user"), []byte{6}, text("secret"))
	reply4 := []byte{0, 90, 0, 0, 0, 0, 0, 0}
	token := join([]byte{1, 1}, be16(5), text("token"))
	tests := []struct {
		name   string
		flow   vpnFlow
		state  string
		hidden string
	}{
		{"5 with a name", tcpFlow("cscs", []byte{5, 1, 0}, []byte{5, 0}, name, granted), "confirmed", "socks5 example.com:3389"},
		{"5 with an IPv4 address", tcpFlow("csc", []byte{5, 2, 0, 2}, []byte{5, 0}, connect(1, 192, 0, 2, 7, 0x0d, 0x3d)), "confirmed", "socks5 192.0.2.7:3389"},
		{"5 with an IPv6 address", tcpFlow("csc", []byte{5, 1, 0}, []byte{5, 0}, connect(4, join([]byte{0x20, 1, 0x0d, 0xb8}, make([]byte, 11), []byte{1}, be16(443))...)), "confirmed", "socks5 [2001:db8::1]:443"},
		{"5 with a password", tcpFlow("cscsc", []byte{5, 1, 2}, []byte{5, 2}, password, []byte{1, 0}, name), "confirmed", "socks5 example.com:3389"},
		{"5 with GSSAPI, then in the clear", tcpFlow("cscsc", []byte{5, 1, 1}, []byte{5, 1}, token, token, name), "confirmed", "socks5 example.com:3389"},
		{"5 with GSSAPI, then encrypted", tcpFlow("cscsc", []byte{5, 1, 1}, []byte{5, 1}, token, token, noise(1, 60)), "confirmed", ""},
		{"5 all at once", tcpFlow("cs", join([]byte{5, 1, 0}, name, text("GET / HTTP/1.1\r\n")), join([]byte{5, 0}, granted)), "confirmed", "socks5 example.com:3389"},
		{"5 refused", tcpFlow("cs", []byte{5, 1, 0}, []byte{5, 0xff}), "confirmed", ""},
		{"5 ends behind the choice", tcpFlow("cs", []byte{5, 1, 0}, []byte{5, 0}), "confirmed", ""},
		{"5 UDP association", tcpFlow("csc", []byte{5, 1, 0}, []byte{5, 0}, []byte{5, 3, 0, 1, 0, 0, 0, 0, 0, 0}), "confirmed", ""},
		{"5 without answer", tcpFlow("c", []byte{5, 1, 0}), "suspected", ""},
		{"4", tcpFlow("cs", join([]byte{4, 1}, be16(3389), []byte{192, 0, 2, 9}, text("me\x00")), reply4), "confirmed", "socks4 192.0.2.9:3389"},
		{"4a", tcpFlow("cs", join([]byte{4, 1}, be16(22), []byte{0, 0, 0, 1}, text("\x00host.example\x00")), reply4), "confirmed", "socks4a host.example:22"},
		{"4 without answer", tcpFlow("c", join([]byte{4, 1}, be16(22), []byte{192, 0, 2, 9}, text("\x00"))), "suspected", ""},

		{"5 with a method twice", tcpFlow("cs", []byte{5, 2, 0, 0}, []byte{5, 0}), "none", ""},
		{"5 chosen but not offered", tcpFlow("cs", []byte{5, 1, 0}, []byte{5, 2}), "none", ""},
		{"5 answered by another version", tcpFlow("cs", []byte{5, 1, 0}, []byte{4, 0}), "none", ""},
		{"5 without methods", tcpFlow("cs", []byte{5, 0, 0}, []byte{5, 0}), "none", ""},
		{"5 of which more came, but no request", tcpFlow("c", join([]byte{5, 1, 0}, text("what is this"))), "none", ""},
		{"4 with another code", tcpFlow("cs", join([]byte{4, 1}, be16(22), []byte{192, 0, 2, 9}, text("\x00")), []byte{0, 89, 0, 0, 0, 0, 0, 0}), "none", ""},
		{"4 with port 0", tcpFlow("cs", join([]byte{4, 1}, be16(0), []byte{192, 0, 2, 9}, text("\x00")), reply4), "none", ""},
		{"4a with a name that cannot be one", tcpFlow("cs", join([]byte{4, 1}, be16(22), []byte{0, 0, 0, 1}, text("\x00a b\x00")), reply4), "none", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, facts := tt.flow.identify(e)
			if vpnState(r) != tt.state || tt.state != "none" && r.Label != "socks" {
				t.Errorf("%s %s (%q), want %s", vpnState(r), r.Label, r.Evidence, tt.state)
			}
			want := tt.hidden
			if got := vpnHidden(facts); got != want {
				t.Errorf("hidden end %q, want %q", got, want)
			}
			if tt.state == "confirmed" {
				testSegments(t, e, tt.flow, r)
			}
		})
	}
}

// A capture without the connection's handshake may call the server the client.
func TestSOCKSMidFlow(t *testing.T) {
	greeting, choice := []byte{5, 1, 0}, []byte{5, 0}
	both := &Flow{Proto: 6, MidFlow: true, Closed: true, Facts: &Facts{}, Client: Side{Stream: choice}, Server: Side{Stream: greeting}}
	if r := lookSOCKS(both); r.State != Confirmed {
		t.Errorf("both sides, swapped: %+v", r)
	}
	alone := &Flow{Proto: 6, MidFlow: true, Facts: &Facts{}, Client: Side{Stream: greeting}}
	if r := lookSOCKS(alone); r.State != NeedMore {
		t.Errorf("greeting alone in the middle of a flow: %+v", r)
	}
}

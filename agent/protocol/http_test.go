package protocol

import "testing"

// TestConnectBodyLength shows lengths of a refused CONNECT's body that no body
// has: they must not lead outside of the stream.
func TestConnectBodyLength(t *testing.T) {
	request := "CONNECT a.example:443 HTTP/1.1\r\n\r\n"
	for _, length := range []string{"9223372036854775807", "99999999999999999999", "-9223372036854775808", "-1", "1", "x", ""} {
		f := Flow{Proto: 6, Facts: &Facts{}}
		f.Client.Stream = []byte(request + request)
		f.Server.Stream = []byte("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: " + length + "\r\n\r\n")
		best, _, _ := NewEngine(Detectors()).Look(&EngineState{}, &f)
		if best.Label != "http" || f.Facts.Hidden == nil || f.Facts.Hidden.Host != "a.example" {
			t.Errorf("Content-Length %q: %+v, hidden %+v", length, best, f.Facts.Hidden)
		}
	}
}

// A target in absolute form is the flow's true remote where a proxy answers.
func TestAbsoluteTarget(t *testing.T) {
	const request = "GET http://a.example:8080/x HTTP/1.1\r\nHost: a.example:8080\r\n\r\n"
	for name, test := range map[string]struct {
		request, reply string
		host           string
		port           uint16
		state          State
	}{
		"by a proxy":              {request, "HTTP/1.1 200 OK\r\nVia: 1.1 squid\r\n\r\n", "a.example", 8080, Confirmed},
		"refused by a proxy":      {request, "HTTP/1.1 403 Forbidden\r\nvia: 1.1 squid\r\n\r\n", "a.example", 8080, Confirmed},
		"without a port":          {"GET http://a.example HTTP/1.1\r\n\r\n", "HTTP/1.0 200 OK\r\nVia: 1.0 x\r\n\r\n", "a.example", 80, Confirmed},
		"IPv6":                    {"GET http://[2001:db8::1]/ HTTP/1.1\r\n\r\n", "HTTP/1.0 200 OK\r\nVia: 1.0 x\r\n\r\n", "2001:db8::1", 80, Confirmed},
		"by an origin server":     {request, "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", "", 0, Confirmed},
		"its fields yet to come":  {request, "HTTP/1.1 200 OK\r\n", "", 0, Suspected},
		"unanswered":              {request, "", "", 0, Suspected},
		"an ordinary target":      {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nVia: 1.1 cdn\r\n\r\n", "", 0, Confirmed},
		"a target that is no URL": {"GET http://a b@c/ HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad\r\nVia: 1.1 x\r\n\r\n", "", 0, Confirmed},
	} {
		t.Run(name, func(t *testing.T) {
			f := Flow{Proto: 6, Facts: &Facts{}}
			f.Client.Stream, f.Server.Stream = []byte(test.request), []byte(test.reply)
			best, _, _ := NewEngine(Detectors()).Look(&EngineState{}, &f)
			if best.Label != "http" || best.State != test.state {
				t.Errorf("%+v, want http, state %v", best, test.state)
			}
			switch h := f.Facts.Hidden; {
			case h == nil && test.host != "", h != nil && (h.Host != test.host || h.Port != test.port || h.By != "http_proxy"):
				t.Errorf("true remote %+v, want %q port %d", h, test.host, test.port)
			}
		})
	}
}

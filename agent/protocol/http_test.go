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

package protocol

import (
	cryptotls "crypto/tls"
	"testing"
)

// FuzzDetectors shows hostile bytes to every detector whose cheap test they
// pass, and to the engine. The seeds are the tables and captures of all
// detectors. It fails on a panic, on an answer outside the contract, and on
// bytes that were changed.
func FuzzDetectors(f *testing.F) {
	for _, flow := range flowsUnderTest(f) {
		var client, server []byte
		for _, p := range flow.pieces {
			if p.client && len(client) < 600 {
				client = append(client, p.data...)
			} else if !p.client && len(server) < 600 {
				server = append(server, p.data...)
			}
		}
		f.Add(flow.proto, client, server, uint16(len(client)/2))
	}
	connect := []byte("CONNECT a.example:443 HTTP/1.1\r\n\r\n")
	f.Add(uint8(6), append(connect, connect...), []byte("HTTP/1.1 407 No\r\nContent-Length: 9223372036854775807\r\n\r\n"), uint16(0))
	list := Detectors()
	f.Fuzz(func(t *testing.T, proto uint8, client, server []byte, cut uint16) {
		client, server = client[:min(len(client), MaxStream)], server[:min(len(server), MaxStream)]
		flow := Flow{Proto: proto, ClientPort: 1, ServerPort: 2, Facts: &Facts{}}
		if proto == 6 {
			flow.Client.Stream, flow.Server.Stream = client, server
		} else {
			flow.Client.datagrams(client, int(cut))
			flow.Server.datagrams(server, int(cut))
		}
		for _, d := range list {
			if !d.passes(&flow) {
				continue
			}
			for _, closed := range []bool{false, true} {
				flow.Closed = closed
				if r := d.Look(&flow); r.State > Confirmed || r.State == Suspected && r.Label != "" && r.Evidence == "" {
					t.Fatalf("%s answers %+v", d.Name, r)
				}
			}
		}
		flow.Facts = &Facts{}
		NewEngine(list).Look(&EngineState{}, &flow)
	})
}

// passes asks the cheap test: what fails it is never shown to Look.
func (d *Detector) passes(f *Flow) bool {
	for i, side := range []*Side{&f.Client, &f.Server} {
		if first := side.Stream[:min(len(side.Stream), FirstBytes)]; f.Proto == 6 && d.TCP != nil && len(first) > 0 && d.TCP(first, i == 0) {
			return true
		}
		for j, b := range side.Datagrams {
			if f.Proto == 17 && d.UDP != nil && d.UDP(b, side.Lengths[j], i == 0) {
				return true
			}
		}
	}
	return d.Proto != 0 && d.Proto == f.Proto
}

// datagrams cuts b into two.
func (s *Side) datagrams(b []byte, cut int) {
	cut = min(cut, len(b))
	for _, part := range [][]byte{b[:cut], b[cut:]} {
		if len(part) > 0 {
			s.add(17, string(part))
		}
	}
}

// FuzzTLS reads handshakes, certificates and their names.
func FuzzTLS(f *testing.F) {
	f.Add(realHello(f, &cryptotls.Config{ServerName: "a.example", NextProtos: []string{"h2"}}), []byte{})
	_, pieces := loadCaptured(f, "testdata/remote/softether-certificate.flow")
	for _, p := range pieces {
		f.Add([]byte(p.data), []byte(p.data))
	}
	f.Fuzz(func(t *testing.T, client, server []byte) {
		facts := &Facts{}
		readTLS(facts, client, server)
		if facts.TLS != nil {
			for _, chain := range [][][]byte{facts.TLS.Certificates, facts.TLS.ClientCertificates} {
				if c, ok := leaf(chain); ok {
					attribute(c.subject, oidCommonName)
					c.extension(oidKeyUsage)
				}
			}
			if n := len(facts.TLS.JA4); n != 0 && n != 36 {
				t.Fatalf("JA4 of %d characters: %q", n, facts.TLS.JA4)
			}
		}
		if c, ok := parseCertificate(client); ok {
			attributes(c.issuer)
			c.extension(oidExtKeyUsage)
		}
		side := Side{}
		side.datagrams(client, len(server))
		new(tlsReading).datagrams(&Facts{}, &side)
	})
}

// FuzzQUIC reads packets, and frames as if a packet had decrypted.
func FuzzQUIC(f *testing.F) {
	message := quicClientHello(f, "a.example")
	f.Add([]byte(sealInitial(f, 1, sentByClient, "original", "original", "client", 0, cryptoFrame(0, message), 40)))
	f.Add([]byte(cryptoFrame(0, message)))
	f.Add([]byte("\x02\x01\x01\x01\x01\x01\x01\x00\x06\x00\x04\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s cryptoStream
		s.frames(b)
		if body, ok := s.message(helloClient); ok {
			new(tlsReading).message(&Facts{}, helloClient, body, 0, quicHello)
		}
		for rest := b; len(rest) > 0; {
			_, after, ok := nextQUIC(rest)
			if !ok || len(after) >= len(rest) {
				break
			}
			rest = after
		}
		flow := Flow{Proto: 17, Facts: &Facts{}}
		flow.Client.datagrams(b, len(b))
		flow.Server.datagrams(b, len(b)/2)
		lookQUIC(&flow)
	})
}

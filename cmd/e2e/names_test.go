package e2e

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// attributedName is the shipped test entity's; names below it are its too.
const attributedName = "vpn.test.sallyport.example"

// plainAddr is what the name resolves to: an address in no pack.
var plainAddr = [4]byte{198, 18, 0, 2}

// TestNames: a query for an attributed name, over UDP and TCP, a connection to
// the address that the answer named, and a server name in TLS, each to an
// address that is in no pack.
func TestNames(t *testing.T) {
	s := newSite(t, "")
	client, server := testenv.Pair(t)
	serveDNS(t, server, testenv.ServerAddr+":53")
	serveDNSOverTCP(t, server, testenv.ServerAddr+":53")
	serveHTTP(t, server, testenv.ServerAddr+":8080")
	serveHTTPS(t, server, testenv.ServerAddr+":8443")

	for _, transport := range []rules.Transport{rules.UDP, rules.TCP} {
		conn, err := dialIn(t, client, string(transport), testenv.ServerAddr+":53")
		if err != nil {
			t.Fatal(err)
		}
		if transport == rules.UDP {
			err = ask(conn, attributedName+".")
		} else {
			err = askOverTCP(conn, attributedName+".")
		}
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		s.await(t, "for the query over "+string(transport), func(f *rules.Finding) bool {
			o := &f.Observation
			return o.Query == attributedName && o.Transport == transport && o.Direction == rules.Outbound && o.Owner.Process != nil
		})
	}
	if err := httpFlow(t, client, testenv.ServerAddr+":8080"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "for the connection to the address that the answer named", func(f *rules.Finding) bool {
		return f.Observation.Remote.Port == 8080 && matched(f, "name", attributedName)
	})

	// Another program: this one serves, and its end of the flow is the same finding.
	client.Run(t, testenv.Tool(t, "curl"), "-sk", "-o", "/dev/null", "--resolve", "sni.test.sallyport.example:8443:"+testenv.ServerAddr,
		"https://sni.test.sallyport.example:8443/")
	s.await(t, "for the server name in TLS", func(f *rules.Finding) bool {
		return f.Observation.Remote.Port == 8443 && f.Observation.TLS != nil && f.Observation.TLS.SNI == "sni.test.sallyport.example"
	})
}

func matched(f *rules.Finding, field, value string) bool {
	for _, m := range f.Matches {
		if m.Field == field && m.Value == value {
			return true
		}
	}
	return false
}

// serveDNSOverTCP answers one question a connection (RFC 7766).
func serveDNSOverTCP(t *testing.T, n testenv.Netns, address string) {
	l := listenIn(t, n, address)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerOverTCP(conn)
		}
	}()
}

func answerOverTCP(conn net.Conn) {
	defer conn.Close()
	raw, err := readMessage(conn)
	if err != nil {
		return
	}
	var m dnsmessage.Message
	if m.Unpack(raw) != nil || len(m.Questions) != 1 {
		return
	}
	if answer, err := answerTo(&m, plainAddr); err == nil {
		conn.Write(binary.BigEndian.AppendUint16(nil, uint16(len(answer))))
		conn.Write(answer)
	}
}

func readMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	raw := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, raw)
	return raw, err
}

// askOverTCP sends the length and the question apart: two segments.
func askOverTCP(conn net.Conn, name string) error {
	q, err := question(name)
	if err != nil {
		return err
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint16(nil, uint16(len(q)))); err != nil {
		return err
	}
	if _, err := conn.Write(q); err != nil {
		return err
	}
	_, err = readMessage(conn)
	return err
}

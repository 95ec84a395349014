package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/quic"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// flowsEach is how many flows of each kind the negative test makes.
const flowsEach = 200

// plainRemote is in no pack.
const plainRemote = testenv.ServerAddr

// ordinary is the traffic that must not lead to a finding: how to serve it and
// how to make one flow.
var ordinary = []struct {
	name      string
	port      uint16
	transport rules.Transport
	serve     func(t *testing.T, n testenv.Netns, address string)
	flow      func(t *testing.T, n testenv.Netns, address string, local uint16) error
}{
	{"HTTP", 80, rules.TCP, serveHTTP, anyPort(httpFlow)},
	{"HTTPS", 443, rules.TCP, serveHTTPS, anyPort(httpsFlow)},
	{"DNS", 53, rules.UDP, serveDNS, dnsFlow},
	{"QUIC", 443, rules.UDP, serveQUIC, quicFlow},
	{"SSH", 22, rules.TCP, serveSSH, anyPort(sshFlow)},
}

// anyPort is for TCP, whose connections a server tells apart by their SYN.
func anyPort(flow func(*testing.T, testenv.Netns, string) error) func(*testing.T, testenv.Netns, string, uint16) error {
	return func(t *testing.T, n testenv.Netns, address string, _ uint16) error { return flow(t, n, address) }
}

func TestNegative(t *testing.T) {
	s := newSite(t, "sensor: {socket: {udp_idle: 5s}}\n")
	client, server := testenv.Pair(t)
	for _, kind := range ordinary {
		address := fmt.Sprintf("%s:%d", plainRemote, kind.port)
		kind.serve(t, server, address)
		for i := range flowsEach {
			// A UDP port of its own for each: two sockets that came upon one port would
			// be one flow to the server, within the time window.
			if err := kind.flow(t, client, address, uint16(20000+i)); err != nil {
				t.Fatalf("%s flow %d: %v", kind.name, i, err)
			}
		}
	}
	type key struct {
		transport rules.Transport
		port      uint16
		direction rules.Direction
	}
	var count map[key]int
	defer func() {
		if t.Failed() {
			t.Logf("flows in the log: %v", count)
		}
	}()
	s.agent.until(t, "every flow is in the flow log", func() bool {
		count = map[key]int{}
		ids := map[string]bool{}
		for _, o := range s.flows(t) {
			if ids[o.FlowID] {
				t.Fatalf("flow %s is in the log twice", o.FlowID)
			}
			ids[o.FlowID] = true
			switch {
			case o.Direction == rules.Outbound && o.Remote.Addr.String() == plainRemote:
				count[key{o.Transport, o.Remote.Port, o.Direction}]++
			case o.Direction == rules.Inbound && o.Remote.Addr.String() == testenv.ClientAddr:
				count[key{o.Transport, o.Local.Port, o.Direction}]++
			}
		}
		for _, kind := range ordinary {
			for _, d := range []rules.Direction{rules.Outbound, rules.Inbound} {
				if count[key{kind.transport, kind.port, d}] < flowsEach {
					return false
				}
			}
		}
		return true
	})
	for _, kind := range ordinary {
		for _, d := range []rules.Direction{rules.Outbound, rules.Inbound} {
			if n := count[key{kind.transport, kind.port, d}]; n != flowsEach {
				t.Errorf("%s %s: %d flows in the log, want %d", kind.name, d, n, flowsEach)
			}
		}
	}
	// What was still on its way when the last flow was logged would have become a
	// finding by now: a marker sent after it has.
	marker := newLab(t, 90)
	openSSH(marker, 22)
	s.await(t, "the marker's", func(f *rules.Finding) bool { return f.Observation.Remote.Addr == marker.remote })
	for _, f := range s.exported(t) {
		if a := f.Observation.Remote.Addr.String(); a == plainRemote || a == testenv.ClientAddr {
			t.Errorf("a finding for ordinary traffic:\n%s", summary(&f))
		}
	}
}

func serveHTTP(t *testing.T, n testenv.Netns, address string) {
	server := &http.Server{Handler: http.NotFoundHandler()}
	go server.Serve(listenIn(t, n, address))
	t.Cleanup(func() { server.Close() })
}

func httpFlow(t *testing.T, n testenv.Netns, address string) error {
	conn, err := dialIn(t, n, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	return get(conn)
}

// get asks for a page and closes the connection.
func get(conn net.Conn) error {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func serveHTTPS(t *testing.T, n testenv.Netns, address string) {
	server := &http.Server{Handler: http.NotFoundHandler(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "www.example.com")}}}
	go server.ServeTLS(listenIn(t, n, address), "", "")
	t.Cleanup(func() { server.Close() })
}

func httpsFlow(t *testing.T, n testenv.Netns, address string) error {
	conn, err := dialIn(t, n, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	return get(tls.Client(conn, &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true}))
}

// serveDNS answers every question with one address.
func serveDNS(t *testing.T, n testenv.Netns, address string) {
	c := packetIn(t, n, address)
	go func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			answer, err := answerTo(&m, [4]byte{198, 18, 0, 2})
			if err == nil {
				c.WriteTo(answer, from)
			}
		}
	}()
}

func answerTo(m *dnsmessage.Message, a [4]byte) ([]byte, error) {
	q := m.Questions[0]
	m.Response, m.RecursionAvailable = true, true
	m.Answers = []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: q.Class, TTL: 60},
		Body:   &dnsmessage.AResource{A: a},
	}}
	m.Additionals = nil
	return m.Pack()
}

func dnsFlow(t *testing.T, n testenv.Netns, address string, local uint16) error {
	var conn net.Conn
	var err error
	n.Do(t, func() { conn, err = (&net.Dialer{LocalAddr: &net.UDPAddr{Port: int(local)}}).Dial("udp", address) })
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(dialLimit)); err != nil {
		return err
	}
	return ask(conn, "www.example.com.")
}

func question(name string) ([]byte, error) {
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	return q.Pack()
}

func ask(conn net.Conn, name string) error {
	q, err := question(name)
	if err != nil {
		return err
	}
	if _, err := conn.Write(q); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1500))
	return err
}

func serveQUIC(t *testing.T, n testenv.Netns, address string) {
	config := &quic.Config{TLSConfig: &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "www.example.com")}, NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13}}
	var e *quic.Endpoint
	var err error
	n.Do(t, func() { e, err = quic.Listen("udp", address, config) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); e.Close(ctx) })
	go func() {
		for {
			conn, err := e.Accept(ctx)
			if err != nil {
				return
			}
			go func() {
				stream, err := conn.AcceptStream(ctx)
				if err != nil {
					return
				}
				io.Copy(stream, stream)
				stream.Close()
			}()
		}
	}()
}

func quicFlow(t *testing.T, n testenv.Netns, address string, local uint16) error {
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	defer cancel()
	var e *quic.Endpoint
	var err error
	n.Do(t, func() { e, err = quic.Listen("udp", fmt.Sprintf("0.0.0.0:%d", local), nil) })
	if err != nil {
		return err
	}
	closed, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	defer e.Close(closed)
	conn, err := e.Dial(ctx, "udp", address, &quic.Config{TLSConfig: &tls.Config{ServerName: "www.example.com", NextProtos: []string{"h3"}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}})
	if err != nil {
		return err
	}
	stream, err := conn.NewStream(ctx)
	if err != nil {
		return err
	}
	if _, err := stream.Write([]byte("ping")); err != nil {
		return err
	}
	stream.CloseWrite()
	_, err = io.ReadFull(stream, make([]byte, 4))
	conn.Abort(nil)
	return err
}

func serveSSH(t *testing.T, n testenv.Netns, address string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	l := listenIn(t, n, address)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				c, channels, requests, err := ssh.NewServerConn(conn, config)
				if err != nil {
					return
				}
				go ssh.DiscardRequests(requests)
				for range channels {
				}
				c.Close()
			}()
		}
	}()
}

func sshFlow(t *testing.T, n testenv.Netns, address string) error {
	conn, err := dialIn(t, n, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	c, _, _, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{User: "lab", HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		return err
	}
	return c.Close()
}

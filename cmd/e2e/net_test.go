package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"sallyport/agent/testenv"
)

// dialLimit bounds one connection of the tests' own.
const dialLimit = 20 * time.Second

// dialIn connects from inside a namespace.
func dialIn(t testing.TB, n testenv.Netns, network, address string) (net.Conn, error) {
	t.Helper()
	var conn net.Conn
	var err error
	n.Do(t, func() {
		conn, err = (&net.Dialer{Timeout: dialLimit}).DialContext(context.Background(), network, address)
	})
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(dialLimit))
	}
	return conn, err
}

// listenIn listens inside a namespace until the test ends.
func listenIn(t testing.TB, n testenv.Netns, address string) net.Listener {
	t.Helper()
	var l net.Listener
	var err error
	n.Do(t, func() { l, err = net.Listen("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// packetIn opens a UDP socket inside a namespace until the test ends.
func packetIn(t testing.TB, n testenv.Netns, address string) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	var err error
	n.Do(t, func() { c, err = net.ListenPacket("udp", address) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// selfSigned is a certificate for name.
func selfSigned(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

package selftest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"time"
)

// cookie is the routing cookie of the connection request ([MS-RDPBCGR]
// 2.2.1.1): what a person sees in the evidence.
const cookie = "Cookie: mstshash=sallyport-selftest\r\n"

// protocolTLS is PROTOCOL_SSL ([MS-RDPBCGR] 2.2.1.1.1 and 2.2.1.2.1).
const protocolTLS = 1

// connectionRequest is an X.224 Connection Request in a TPKT (RFC 1006 section 6).
func connectionRequest() []byte {
	negotiation := []byte{0x01, 0, 8, 0, protocolTLS, 0, 0, 0} // RDP_NEG_REQ
	return tpkt(append(append([]byte{0xe0, 0, 0, 0, 0, 0}, cookie...), negotiation...))
}

// connectionConfirm is the server's answer: TLS chosen.
func connectionConfirm() []byte {
	negotiation := []byte{0x02, 0, 8, 0, protocolTLS, 0, 0, 0} // RDP_NEG_RSP
	return tpkt(append([]byte{0xd0, 0, 0, 0x12, 0x34, 0}, negotiation...))
}

func tpkt(x224 []byte) []byte {
	n := 4 + 1 + len(x224)
	return append([]byte{3, 0, byte(n >> 8), byte(n), byte(len(x224))}, x224...)
}

// serve answers one client the way an RDP server does, up to the end of the TLS
// handshake and one echo.
func serve(l net.Listener, certificate tls.Certificate) error {
	conn, err := l.Accept()
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(handshakeLimit))
	if _, err := io.ReadFull(conn, make([]byte, len(connectionRequest()))); err != nil {
		return fmt.Errorf("read connection request: %w", err)
	}
	if _, err := conn.Write(connectionConfirm()); err != nil {
		return fmt.Errorf("write connection confirm: %w", err)
	}
	secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if _, err := io.CopyN(secure, secure, 4); err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	return secure.Close()
}

// connect is the client's half.
func connect(ctx context.Context, remote netip.AddrPort) error {
	conn, err := (&net.Dialer{Timeout: handshakeLimit}).DialContext(ctx, "tcp", remote.String())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(handshakeLimit))
	if _, err := conn.Write(connectionRequest()); err != nil {
		return fmt.Errorf("write connection request: %w", err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len(connectionConfirm()))); err != nil {
		return fmt.Errorf("read connection confirm: %w", err)
	}
	// The certificate is the test's own, made a moment ago: nothing to verify.
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	if _, err := secure.Write([]byte("ping")); err != nil {
		return fmt.Errorf("write inside TLS: %w", err)
	}
	if _, err := io.ReadFull(secure, make([]byte, 4)); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read inside TLS: %w", err)
	}
	return nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

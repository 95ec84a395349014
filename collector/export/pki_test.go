package export

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/hashicorp/go-hclog"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// pki is a CA with a server's and a client's certificate, as files.
type pki struct {
	folder string
	pool   *x509.CertPool
}

func newPKI(t *testing.T) pki {
	t.Helper()
	p := pki{t.TempDir(), x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca, key := p.issue(t, "ca", template, nil, nil)
	p.pool.AddCert(ca)
	for i, name := range []string{"server", "client"} {
		p.issue(t, name, &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name + ".example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			DNSNames: []string{name + ".example", "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, ca, key)
	}
	return p
}

func (p pki) issue(t *testing.T, name string, template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.file(name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, p.file(name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	return cert, key
}

func (p pki) file(name string) string { return filepath.Join(p.folder, name) }

// server is a receiver's TLS configuration; with clients it asks for certificates.
func (p pki) server(t *testing.T, clients bool) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(p.file("server.crt"), p.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, p.pool
	}
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// secret puts a secret into a file, with the line end that editors leave.
func secret(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, text+"\n")
	return path
}

// settings reads an exporter's settings as the configuration does.
func settings(t *testing.T, text string) Settings {
	t.Helper()
	var c struct {
		Settings Settings `yaml:"settings"`
	}
	if err := yaml.Unmarshal([]byte("settings:\n"+indent(text)), &c); err != nil {
		t.Fatal(err)
	}
	return c.Settings
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// open makes an exporter of a type.
func open(t *testing.T, kind, format, text string) Exporter {
	t.Helper()
	k, err := kindOf(kind)
	if err != nil {
		t.Fatal(err)
	}
	f, err := formatOf(format)
	if err != nil {
		t.Fatal(err)
	}
	e, err := k.open(opening{name: "x", settings: settings(t, text), format: f, logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

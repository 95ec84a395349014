package protocol

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"
)

// selfSigned makes a certificate, changed by change.
func selfSigned(t *testing.T, change func(*x509.Certificate)) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 3, 14, 1, 2, 3, 0, time.UTC)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7),
		Subject:      pkix.Name{CommonName: "HOST-7"},
		NotBefore:    start,
		NotAfter:     start.AddDate(0, 6, 0),
		KeyUsage:     x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// tls12 is a server's flight of TLS 1.2 with one certificate.
func tls12(der []byte) string {
	vector24 := func(b string) string { return "\x00" + vector16(b) }
	return record(helloServer, "\x03\x03"+strings.Repeat("s", 32)+"\x00\xc0\x2f\x00", 4000) +
		record(certificates, vector24(vector24(string(der))), 4000) + "\x14\x03\x03\x00\x01\x01"
}

func TestCertificatesThatName(t *testing.T) {
	client := record(helloClient, hello(0x0303, []int{0xc02f}), 4000) + "\x14\x03\x03\x00\x01\x01"
	softether := func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "h", Organization: []string{"h"}, OrganizationalUnit: []string{"h"}, Country: []string{"US"}}
		c.NotAfter = time.Date(2037, 12, 31, 0, 0, 0, 0, time.UTC)
	}
	for _, c := range []struct {
		name, label string
		change      func(*x509.Certificate)
	}{
		{"Remote Desktop", "rdp", func(*x509.Certificate) {}},
		{"a year, not half of one", "tls", func(c *x509.Certificate) { c.NotAfter = c.NotBefore.AddDate(1, 0, 0) }},
		{"with an organisation", "tls", func(c *x509.Certificate) { c.Subject.Organization = []string{"o"} }},
		{"with another key usage", "tls", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }},
		{"for clients too", "tls", func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) }},
		{"SoftEther", "softether", softether},
		{"like SoftEther's, but of another unit", "tls", func(c *x509.Certificate) {
			softether(c)
			c.Subject.OrganizationalUnit = []string{"x"}
		}},
		{"AnyDesk", "anydesk", func(c *x509.Certificate) { c.Subject.CommonName = "AnyDesk Client" }},
	} {
		r := replay(Detectors(), 6, []sent{{true, client}, {false, tls12(selfSigned(t, c.change))}})
		if r.result.Label != c.label {
			t.Errorf("%s: %+v, want %q", c.name, r.result, c.label)
		}
		if len(r.facts.TLS.Certificates) != 1 {
			t.Errorf("%s: %d certificates", c.name, len(r.facts.TLS.Certificates))
		}
	}
}

// Package identity says who an agent is: the collector's CA, enrolment tokens,
// client certificates and their revocation.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

const (
	certificateFile = "ca.crt"
	keyFile         = "ca.key"
	bridgeFile      = "ca-bridge.crt"
	authorityLife   = 10 * 365 * 24 * time.Hour
	// backdate is how far another clock may be behind ours.
	backdate = 5 * time.Minute
)

// Authority is the collector's CA. The first certificate of ca.crt signs; a
// second one is trusted while the first takes over from it. The bridge is the
// first one's key signed by the second, for those who trust the second only.
type Authority struct {
	certificates []*x509.Certificate
	bridge       *x509.Certificate // nil without a rotation
	key          *ecdsa.PrivateKey
	pool         *x509.CertPool
	pem          []byte
}

// CreateAuthority makes a CA in folder. It fails where there is one: a new CA
// would lock every agent out.
func CreateAuthority(folder string, now time.Time) (*Authority, error) {
	key, certificate, err := makeRoot(now)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode CA key: %w", err)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make CA folder: %w", err)
	}
	// The key first: a folder with a certificate alone would look like a CA.
	if err := create(filepath.Join(folder, keyFile), "PRIVATE KEY", keyDER, 0o600); err != nil {
		return nil, err
	}
	if err := create(filepath.Join(folder, certificateFile), "CERTIFICATE", certificate.Raw, 0o644); err != nil {
		return nil, err
	}
	return LoadAuthority(folder)
}

// makeRoot makes a key and its self-signed certificate.
func makeRoot(now time.Time) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make CA key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Sallyport CA " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            1, // room for the bridge to the CA that follows
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	certificate, err := signCA(template, template, key, key)
	return key, certificate, err
}

// signCA signs a CA's certificate for subject's public key.
func signCA(template, parent *x509.Certificate, subject, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, subject.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign CA certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// create writes a new PEM file and syncs it.
func create(path, kind string, der []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("create %s: %w", filepath.Base(path), err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return f.Sync()
}

// LoadAuthority reads a CA that CreateAuthority made.
func LoadAuthority(folder string) (*Authority, error) {
	text, err := os.ReadFile(filepath.Join(folder, certificateFile))
	if err != nil {
		return nil, fmt.Errorf("read CA certificate: %w (run \"sallyport-collector init\" first)", err)
	}
	certificates, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(folder, certificateFile), err)
	}
	keyText, err := os.ReadFile(filepath.Join(folder, keyFile))
	if err != nil {
		return nil, fmt.Errorf("read CA key: %w", err)
	}
	key, err := keyOf(certificates[0], keyText)
	if err != nil {
		return nil, fmt.Errorf("read CA key: %w", err)
	}
	a := &Authority{certificates: certificates, key: key, pool: x509.NewCertPool(), pem: text}
	for _, c := range certificates {
		a.pool.AddCert(c)
	}
	if len(certificates) > 1 {
		a.bridge, err = readBridge(folder, certificates)
	}
	return a, err
}

// keyOf finds a certificate's key: while a rotation is written, ca.key holds two.
func keyOf(c *x509.Certificate, text []byte) (*ecdsa.PrivateKey, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("it is not the key of the certificate")
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse key: %w", err)
		}
		if key, ok := parsed.(*ecdsa.PrivateKey); ok && key.PublicKey.Equal(c.PublicKey) {
			return key, nil
		}
	}
}

// readBridge reads the certificate that joins the first CA to the second.
func readBridge(folder string, certificates []*x509.Certificate) (*x509.Certificate, error) {
	text, err := os.ReadFile(filepath.Join(folder, bridgeFile))
	if err != nil {
		return nil, fmt.Errorf("read CA bridge: %w", err)
	}
	list, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("read CA bridge: %w", err)
	}
	if err := list[0].CheckSignatureFrom(certificates[1]); err != nil {
		return nil, fmt.Errorf("read CA bridge: it is not of the CA before: %w", err)
	}
	return list[0], nil
}

func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return list, nil
}

// SHA256 is the signing certificate's hash, which tokens carry.
func (a *Authority) SHA256() string { return certificateSum(a.certificates[0]) }

func certificateSum(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// PEM is every certificate to trust.
func (a *Authority) PEM() string { return string(a.pem) }

// IssueAgent signs an agent's certificate for the key of a request.
func (a *Authority) IssueAgent(csr *x509.CertificateRequest, name string, life time.Duration, now time.Time) (*x509.Certificate, error) {
	return a.issue(csr.PublicKey, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		URIs:        []*url.URL{agentURI(name)},
		NotAfter:    now.Add(life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, now)
}

// IssueServer makes a key and certificate for the collector itself.
func (a *Authority) IssueServer(names []string, life time.Duration, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make server key: %w", err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "sallyport-collector"},
		NotAfter:    now.Add(life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	leaf, err := a.issue(key.Public(), template, now)
	if err != nil {
		return nil, err
	}
	// The CAs stand in the chain, so that an agent that has only the hash in a
	// token, of this CA or of the one before, can find it.
	chain := [][]byte{leaf.Raw}
	if a.bridge != nil {
		chain = append(chain, a.bridge.Raw)
	}
	for _, c := range a.certificates {
		chain = append(chain, c.Raw)
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
}

func (a *Authority) issue(public any, template *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = now.Add(-backdate)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	ca := a.certificates[0]
	if template.NotAfter.After(ca.NotAfter) {
		template.NotAfter = ca.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// newSerial is 127 random bits, positive (RFC 5280 section 4.1.2.2).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return n.SetBit(n, 120, 1), nil // never short, so that its text has a fixed form
}

func agentURI(name string) *url.URL {
	return &url.URL{Scheme: "sallyport", Host: "agent", Path: "/" + name}
}

// Files are the CA's files by their name in a backup. The bridge is there while a
// CA takes over from another.
func Files(cfg Config, state string) map[string]string {
	files := map[string]string{}
	for _, name := range []string{certificateFile, keyFile, bridgeFile} {
		files["ca/"+name] = filepath.Join(cfg.folder(state), name)
	}
	return files
}

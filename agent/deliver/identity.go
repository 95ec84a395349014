package deliver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// identityFile holds key, certificate, CA and collector together, so that one
// rename replaces them and they can never disagree.
const identityFile = "identity.json"

// ErrNotEnrolled is returned when there is no identity yet.
var ErrNotEnrolled = errors.New("not enrolled with a collector: run sallyport enrol with a token, or name your own certificate")

// Identity is what the agent shows the collector, and whom it trusts.
type Identity struct {
	URL         string `json:"url"`         // of the collector
	Name        string `json:"name"`        // of this agent
	Key         string `json:"key"`         // PEM PKCS#8
	Certificate string `json:"certificate"` // PEM, leaf first
	CA          string `json:"ca"`          // PEM, one or more

	pair  tls.Certificate
	roots *x509.CertPool
	own   bool // from your own PKI: not renewed here
}

// LoadIdentity reads what Enrol left in dir.
func LoadIdentity(dir string) (*Identity, error) {
	raw, err := os.ReadFile(filepath.Join(dir, identityFile))
	if os.IsNotExist(err) {
		return nil, ErrNotEnrolled
	}
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	var id Identity
	if err := json.Unmarshal(raw, &id); err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	if err := id.parse(); err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	return &id, nil
}

// loadOwn reads the files of your own PKI.
func loadOwn(c CollectorConfig) (*Identity, error) {
	id := Identity{URL: c.URL, own: true}
	for path, to := range map[string]*string{c.CertFile: &id.Certificate, c.KeyFile: &id.Key, c.CAFile: &id.CA} {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("load identity: %w", err)
		}
		*to = string(raw)
	}
	if err := id.parse(); err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	id.Name = id.pair.Leaf.Subject.CommonName
	return &id, nil
}

// parse checks that the parts fit each other.
func (id *Identity) parse() error {
	pair, err := tls.X509KeyPair([]byte(id.Certificate), []byte(id.Key))
	if err != nil {
		return fmt.Errorf("certificate and key: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(id.CA)) {
		return errors.New("there is no CA certificate")
	}
	id.pair, id.roots = pair, roots
	return nil
}

// save replaces the identity on disk.
func (id *Identity) save(dir string) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return writeFileAtomic(filepath.Join(dir, identityFile), raw, 0o600)
}

// Expires is when the certificate runs out.
func (id *Identity) Expires() time.Time { return id.pair.Leaf.NotAfter }

// renewAt is two thirds into the certificate's life.
func (id *Identity) renewAt() time.Time {
	from, to := id.pair.Leaf.NotBefore, id.pair.Leaf.NotAfter
	return from.Add(to.Sub(from) / 3 * 2)
}

func (id *Identity) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    id.roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &id.pair, nil
		},
	}
}

// newRequest makes a key that never leaves the host, and a request for a
// certificate in the given name.
func newRequest(name string) (keyPEM, csrPEM string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(crypto.PrivateKey(key))
	if err != nil {
		return "", "", fmt.Errorf("encode key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return "", "", fmt.Errorf("make certificate request: %w", err)
	}
	return encodePEM("PRIVATE KEY", der), encodePEM("CERTIFICATE REQUEST", csr), nil
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

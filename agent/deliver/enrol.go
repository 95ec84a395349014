package deliver

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sallyport/rules"
)

// ErrWrongCA is returned when the collector does not show the CA that the token
// names. Nothing was sent to it.
var ErrWrongCA = errors.New("the collector does not show the CA named in the token")

// Enrol trades a token for a certificate and keeps the identity in dir, and the
// root that the collector's packs are signed under beside it. The key
// is made here and stays here. The token's secret is sent only to a server whose
// certificate leads to the CA that the token names.
func Enrol(ctx context.Context, text, name, dir string) (*Identity, error) {
	token, err := rules.ParseToken(text)
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	id, err := ask(ctx, pinned(token.CASHA256), token.URL, rules.EnrolRequest{Token: token.Secret, Name: name})
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	if !holdsCA(id.CA, token.CASHA256) {
		return nil, fmt.Errorf("enrol: %w", ErrWrongCA)
	}
	return id, keep(ctx, id, dir)
}

// ask makes a key and has the collector at url, whom trust trusts, certify it.
func ask(ctx context.Context, trust *tls.Config, url string, req rules.EnrolRequest) (*Identity, error) {
	key, csr, err := newRequest(req.Name)
	if err != nil {
		return nil, err
	}
	req.CSR = csr
	client := newClient(trust)
	defer client.CloseIdleConnections()
	c := caller{client: client, url: url}
	var answer rules.EnrolResponse
	if err := c.post(ctx, rules.PathEnrol, req, &answer); err != nil {
		return nil, err
	}
	id := &Identity{URL: url, Name: req.Name, Key: key, Certificate: answer.Certificate, CA: answer.CA}
	if err := id.parse(); err != nil {
		return nil, fmt.Errorf("the collector's answer: %w", err)
	}
	if cn := id.pair.Leaf.Subject.CommonName; cn != req.Name {
		return nil, fmt.Errorf("asked for the name %q, got %q", req.Name, cn)
	}
	return id, nil
}

// keep puts a new identity in dir, and the root of packs beside it.
func keep(ctx context.Context, id *Identity, dir string) error {
	if err := id.save(dir); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	if err := pinRoot(ctx, id, dir); err != nil {
		return fmt.Errorf("enrolled, but the root of packs is not pinned: %w; name its public key in rules.trust", err)
	}
	return nil
}

// pinned trusts a server whose chain ends in the CA with that SHA-256, and
// nothing else: the usual roots play no part.
func pinned(sum string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection does it against the pinned CA instead
		VerifyConnection: func(cs tls.ConnectionState) error {
			roots, inter := x509.NewCertPool(), x509.NewCertPool()
			found := false
			for _, c := range cs.PeerCertificates[1:] {
				if certificateSum(c.Raw) == sum && c.IsCA {
					roots.AddCert(c)
					found = true
				} else {
					inter.AddCert(c)
				}
			}
			if !found {
				return ErrWrongCA
			}
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: inter, DNSName: cs.ServerName})
			return err
		},
	}
}

func certificateSum(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func holdsCA(bundle, sum string) bool {
	rest := []byte(bundle)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return false
		}
		if certificateSum(block.Bytes) == sum {
			return true
		}
	}
}

// renew asks for the certificate that follows the identity's own, over a
// connection that the old one authenticates, with a new key.
func renew(ctx context.Context, c caller, old *Identity) (*Identity, error) {
	key, csr, err := newRequest(old.Name)
	if err != nil {
		return nil, err
	}
	var answer rules.EnrolResponse
	if err := c.post(ctx, rules.PathRenew, rules.RenewRequest{CSR: csr}, &answer); err != nil {
		return nil, err
	}
	id := &Identity{URL: old.URL, Name: old.Name, Key: key, Certificate: answer.Certificate, CA: answer.CA}
	if err := id.parse(); err != nil {
		return nil, fmt.Errorf("the collector's answer: %w", err)
	}
	if id.pair.Leaf.Subject.CommonName != old.Name {
		return nil, fmt.Errorf("the collector's answer is for %q", id.pair.Leaf.Subject.CommonName)
	}
	return id, nil
}

// newClient speaks HTTP/2 over the given TLS and notices a dead connection.
func newClient(t *tls.Config) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	return &http.Client{
		Timeout: 2 * time.Minute,
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			TLSClientConfig:       t,
			TLSHandshakeTimeout:   20 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			IdleConnTimeout:       5 * time.Minute,
			Protocols:             &protocols,
			HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

package identity

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// maxCRL bounds a file of revocation lists, in bytes.
const maxCRL = 64 << 20

// ownPKI is your own PKI, whose certificates are taken beside ours.
type ownPKI struct {
	certificates []*x509.Certificate
	pool         *x509.CertPool
	crl          string // file, "" without
	logger       hclog.Logger

	mu       sync.Mutex
	modified time.Time
	size     int64
	revoked  map[string]bool // ownKey; replaced, never changed
}

func openOwnPKI(ca, crl string, now time.Time, logger hclog.Logger) (*ownPKI, error) {
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read identity.client_ca: %w", err)
	}
	p := &ownPKI{pool: x509.NewCertPool(), crl: crl, logger: logger}
	if p.certificates, err = parseCertificates(text); err != nil {
		return nil, fmt.Errorf("read identity.client_ca: %s: %w", ca, err)
	}
	for _, c := range p.certificates {
		p.pool.AddCert(c)
	}
	_, err = p.refresh(now)
	return p, err
}

// refresh reads the revocation lists where their file has changed. On an error
// those before stay in force.
func (p *ownPKI) refresh(now time.Time) (map[string]bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.crl == "" {
		return nil, nil
	}
	err := p.readChanged(now)
	return p.revoked, err
}

func (p *ownPKI) readChanged(now time.Time) error {
	st, err := os.Stat(p.crl)
	if err != nil {
		return fmt.Errorf("read identity.client_crl: %w", err)
	}
	if st.ModTime().Equal(p.modified) && st.Size() == p.size {
		return nil
	}
	if st.Size() > maxCRL {
		return fmt.Errorf("read identity.client_crl: larger than %d bytes", maxCRL)
	}
	text, err := os.ReadFile(p.crl)
	if err != nil {
		return fmt.Errorf("read identity.client_crl: %w", err)
	}
	revoked, err := p.read(text, now)
	if err != nil {
		return fmt.Errorf("read identity.client_crl: %w", err)
	}
	p.revoked, p.modified, p.size = revoked, st.ModTime(), st.Size()
	return nil
}

func (p *ownPKI) read(text []byte, now time.Time) (map[string]bool, error) {
	lists := [][]byte{}
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "X509 CRL" {
			lists = append(lists, block.Bytes)
		}
	}
	if len(lists) == 0 {
		lists = [][]byte{text} // DER
	}
	revoked := map[string]bool{}
	for _, der := range lists {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("parse revocation list: %w", err)
		}
		if err := p.issued(list); err != nil {
			return nil, err
		}
		if !list.NextUpdate.IsZero() && now.After(list.NextUpdate) {
			p.logger.Warn("revocation list is overdue", "issuer", list.Issuer, "next_update", list.NextUpdate)
		}
		for _, e := range list.RevokedCertificateEntries {
			revoked[ownKey(list.RawIssuer, e.SerialNumber)] = true
		}
	}
	return revoked, nil
}

// issued checks that a list is of one of the PKI's CAs.
func (p *ownPKI) issued(list *x509.RevocationList) error {
	for _, c := range p.certificates {
		if list.CheckSignatureFrom(c) == nil {
			return nil
		}
	}
	return errors.New("a revocation list is signed by none of identity.client_ca")
}

// ownKey tells a certificate from those of others: serial numbers are unique for
// each issuer only.
func ownKey(issuer []byte, serial *big.Int) string {
	return hex.EncodeToString(issuer) + ":" + serial.Text(16)
}

package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// rotate has a new CA take over: it signs at once, and both are trusted until
// retire. Agents that know the old one alone reach the new one over the bridge.
//
// Whatever of the three files was written when the machine stops, they still make
// a CA: the bridge is read with two certificates only, and ca.key holds both keys.
func rotate(folder string, now time.Time) (*Authority, error) {
	old, err := LoadAuthority(folder)
	if err != nil {
		return nil, err
	}
	if len(old.certificates) > 1 {
		return nil, errors.New("rotate CA: a rotation is under way; end it first (sallyport-collector ca retire)")
	}
	if old.certificates[0].MaxPathLenZero {
		return nil, errors.New("rotate CA: this CA was made with a path length of 0, so nothing can follow it; make another collector and enrol agents there")
	}
	key, certificate, err := makeRoot(now)
	if err != nil {
		return nil, err
	}
	bridge, err := bridgeTo(certificate, key, old)
	if err != nil {
		return nil, err
	}
	keys, err := keyBlocks(key, old.key)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name   string
		mode   os.FileMode
		blocks []*pem.Block
	}{
		{bridgeFile, 0o644, certificateBlocks(bridge)},
		{keyFile, 0o600, keys},
		{certificateFile, 0o644, certificateBlocks(certificate, old.certificates[0])},
	} {
		if err := replace(filepath.Join(folder, f.name), f.mode, f.blocks); err != nil {
			return nil, fmt.Errorf("rotate CA: %w", err)
		}
	}
	return LoadAuthority(folder)
}

// bridgeTo is the new CA's key, signed by the old one.
func bridgeTo(certificate *x509.Certificate, key *ecdsa.PrivateKey, old *Authority) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	parent := old.certificates[0]
	return signCA(&x509.Certificate{
		SerialNumber: serial, RawSubject: certificate.RawSubject, SubjectKeyId: certificate.SubjectKeyId,
		NotBefore: certificate.NotBefore, NotAfter: parent.NotAfter,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: certificate.KeyUsage,
	}, parent, key, old.key)
}

// retire ends the trust in the CA before.
func retire(folder string) (*Authority, error) {
	both, err := LoadAuthority(folder)
	if err != nil {
		return nil, err
	}
	if len(both.certificates) < 2 {
		return nil, errors.New("retire CA: no rotation is under way")
	}
	keys, err := keyBlocks(both.key)
	if err != nil {
		return nil, err
	}
	if err := replace(filepath.Join(folder, certificateFile), 0o644, certificateBlocks(both.certificates[0])); err != nil {
		return nil, fmt.Errorf("retire CA: %w", err)
	}
	if err := replace(filepath.Join(folder, keyFile), 0o600, keys); err != nil {
		return nil, fmt.Errorf("retire CA: %w", err)
	}
	if err := os.Remove(filepath.Join(folder, bridgeFile)); err != nil {
		return nil, fmt.Errorf("retire CA: %w", err)
	}
	return LoadAuthority(folder)
}

func certificateBlocks(list ...*x509.Certificate) []*pem.Block {
	var blocks []*pem.Block
	for _, c := range list {
		blocks = append(blocks, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return blocks
}

func keyBlocks(list ...*ecdsa.PrivateKey) ([]*pem.Block, error) {
	var blocks []*pem.Block
	for _, k := range list {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			return nil, fmt.Errorf("encode CA key: %w", err)
		}
		blocks = append(blocks, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	return blocks, nil
}

// replace puts a file in the place of another, whole or not at all.
func replace(path string, mode os.FileMode, blocks []*pem.Block) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	var text bytes.Buffer
	for _, b := range blocks {
		if err := pem.Encode(&text, b); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	_, err = f.Write(text.Bytes())
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// AuthorityState says where the CA stands.
type AuthorityState struct {
	SHA256  string    `json:"sha256"` // of the certificate that signs
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Before  string    `json:"before,omitempty"`  // SHA-256 of the CA that it takes over from
	Pending []string  `json:"pending,omitempty"` // agents that still hold a certificate of it
}

// Authority says where the CA stands.
func (s *Service) Authority(ctx context.Context) (AuthorityState, error) {
	ca := s.ca.Load()
	signs := ca.certificates[0]
	state := AuthorityState{SHA256: ca.SHA256(), Since: signs.NotBefore.Add(backdate), Until: signs.NotAfter}
	if len(ca.certificates) < 2 {
		return state, nil
	}
	state.Before = certificateSum(ca.certificates[1])
	var err error
	state.Pending, err = s.pending(ctx, state.Since)
	return state, err
}

// pending lists the agents whose newest certificate is from before the rotation.
// Another collector signs with the old CA until it has noticed, and a certificate
// knows its time to the second only.
func (s *Service) pending(ctx context.Context, rotated time.Time) ([]string, error) {
	list, err := s.store.Certificates(ctx, "")
	if err != nil {
		return nil, err
	}
	now, since := time.Now(), rotated.Add(2*s.cfg.RevocationPoll+time.Second)
	renewed := map[string]bool{}
	for _, c := range list {
		if c.Revoked.IsZero() && now.Before(c.Expires) {
			renewed[c.Agent] = renewed[c.Agent] || !c.Issued.Before(since)
		}
	}
	var names []string
	for name, ok := range renewed {
		if !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// RotateCA has a new CA take over.
func (s *Service) RotateCA(ctx context.Context) (AuthorityState, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	ca, err := rotate(s.folder, time.Now())
	if err != nil {
		return AuthorityState{}, err
	}
	if err := s.adopt(ca); err != nil {
		return AuthorityState{}, err
	}
	return s.Authority(ctx)
}

// RetireCA ends the trust in the CA before, once no agent needs it.
func (s *Service) RetireCA(ctx context.Context) (AuthorityState, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	state, err := s.Authority(ctx)
	if err != nil {
		return state, err
	}
	if n := len(state.Pending); n > 0 {
		return state, fmt.Errorf("retire CA: %d agents hold a certificate of the old CA, %s among them; wait until they have renewed it, or revoke them", n, state.Pending[0])
	}
	ca, err := retire(s.folder)
	if err != nil {
		return state, err
	}
	if err := s.adopt(ca); err != nil {
		return state, err
	}
	return s.Authority(ctx)
}

// reload takes over what another collector changed in the CA's folder.
func (s *Service) reload() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	text, err := os.ReadFile(filepath.Join(s.folder, certificateFile))
	if err != nil {
		return fmt.Errorf("read CA certificate: %w", err)
	}
	if bytes.Equal(text, s.ca.Load().pem) {
		return nil
	}
	ca, err := LoadAuthority(s.folder)
	if err != nil {
		return err
	}
	return s.adopt(ca)
}

func (s *Service) adopt(ca *Authority) error {
	s.ca.Store(ca)
	s.logger.Info("CA changed", "signs", ca.SHA256(), "trusted", len(ca.certificates))
	return s.renewServer()
}

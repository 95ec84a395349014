package identity

import (
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/rules"
)

// trusts says whether a client that trusts one CA alone takes a server's chain,
// as agents do: the CA must stand in the chain, too.
func trusts(root *x509.Certificate, served *tls.Certificate) bool {
	roots, rest, found := x509.NewCertPool(), x509.NewCertPool(), false
	roots.AddCert(root)
	for _, der := range served.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return false
		}
		if c.Equal(root) {
			found = true
		} else {
			rest.AddCert(c)
		}
	}
	_, err := served.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: rest, DNSName: "localhost"})
	return found && err == nil
}

func (s *Service) takes(c *x509.Certificate) bool {
	r := httptest.NewRequest("POST", rules.PathFindings, nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
	_, err := s.Agent(r)
	return err == nil
}

func TestRotation(t *testing.T) {
	id, _ := service(t)
	id.cfg.RevocationPoll = time.Millisecond
	csr, err := parseRequest(request(t, newKey(t, elliptic.P256())))
	if err != nil {
		t.Fatal(err)
	}
	renew := func() *x509.Certificate {
		c, err := id.issue(t.Context(), csr, "web-1", "", false)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	oldCA, oldLeaf := id.CA().certificates[0], renew()
	if _, err := id.RetireCA(t.Context()); err == nil || !strings.Contains(err.Error(), "no rotation") {
		t.Errorf("retired without a rotation: %v", err)
	}

	state, err := id.RotateCA(t.Context())
	if err != nil || state.Before != certificateSum(oldCA) || len(state.Pending) != 1 || state.Pending[0] != "web-1" {
		t.Fatalf("rotated: %+v, %v", state, err)
	}
	newCA := id.CA().certificates[0]
	if newCA.Equal(oldCA) || !trusts(oldCA, id.server.Load()) || !trusts(newCA, id.server.Load()) {
		t.Error("the server is not trusted by those who know one of the CAs")
	}
	if n := strings.Count(id.CA().PEM(), "BEGIN CERTIFICATE"); n != 2 {
		t.Errorf("agents are given %d CAs", n)
	}
	if _, err := id.RotateCA(t.Context()); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("rotated twice: %v", err)
	}
	if _, err := id.RetireCA(t.Context()); err == nil || !strings.Contains(err.Error(), "web-1") {
		t.Errorf("retired while an agent needs it: %v", err)
	}
	other, err := LoadAuthority(id.folder) // as after a restart
	if err != nil || other.SHA256() != id.CA().SHA256() || other.bridge == nil {
		t.Fatalf("loaded: %v", err)
	}

	var newLeaf *x509.Certificate
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		newLeaf = renew() // until it is past what another collector may have signed
		state, err := id.Authority(t.Context())
		if err == nil && len(state.Pending) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("never renewed: %+v, %v", state, err)
		}
	}
	if !id.takes(oldLeaf) || !id.takes(newLeaf) || newLeaf.CheckSignatureFrom(newCA) != nil {
		t.Error("certificates of both CAs count while one takes over from the other")
	}
	if state, err := id.RetireCA(t.Context()); err != nil || state.Before != "" {
		t.Fatalf("retired: %+v, %v", state, err)
	}
	if id.takes(oldLeaf) || !id.takes(newLeaf) {
		t.Error("after retirement the old CA counts, or the new one does not")
	}
	if trusts(oldCA, id.server.Load()) || !trusts(newCA, id.server.Load()) {
		t.Error("the server still shows the old CA, or not the new one")
	}
	if _, err := os.Stat(filepath.Join(id.folder, bridgeFile)); err == nil {
		t.Error("the bridge is still there")
	}
	if _, err := id.RotateCA(t.Context()); err != nil {
		t.Errorf("rotated again: %v", err)
	}
}

// TestRotationCutShort stops a rotation after each file it writes: the CA must
// load, as the old or the new one, and another rotation must work.
func TestRotationCutShort(t *testing.T) {
	before, after := t.TempDir(), t.TempDir()
	if _, err := CreateAuthority(before, time.Now()); err != nil {
		t.Fatal(err)
	}
	copyFiles(t, before, after, keyFile, certificateFile)
	if _, err := rotate(after, time.Now()); err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		folder := t.TempDir()
		copyFiles(t, before, folder, keyFile, certificateFile)
		copyFiles(t, after, folder, []string{bridgeFile, keyFile, certificateFile}[:n]...)
		a, err := LoadAuthority(folder)
		if err != nil {
			t.Fatalf("after %d files: %v", n, err)
		}
		if len(a.certificates) == 1 {
			_, err = rotate(folder, time.Now())
		} else {
			_, err = retire(folder)
		}
		if err != nil {
			t.Errorf("after %d files: %v", n, err)
		}
	}
}

func copyFiles(t *testing.T, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

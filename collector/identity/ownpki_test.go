package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/limit"
	"sallyport/collector/store"
	"sallyport/rules"
)

// pki is a PKI of somebody else's.
type pki struct {
	t    *testing.T
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newPKI(t *testing.T, name string) *pki {
	t.Helper()
	key := newKey(t, elliptic.P256())
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pki{t, ca, key, 10}
}

func (p *pki) issue(name string) *x509.Certificate {
	p.t.Helper()
	p.next++
	key := newKey(p.t, elliptic.P256())
	template := &x509.Certificate{SerialNumber: big.NewInt(p.next), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca, key.Public(), p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// revoke writes the PKI's list.
func (p *pki) revoke(path string, at time.Time, list ...*x509.Certificate) {
	p.t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(at.Unix()), ThisUpdate: at.Add(-time.Minute), NextUpdate: at.Add(time.Hour)}
	for _, c := range list {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: at})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, p.ca, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil { // writes of one moment differ
		p.t.Fatal(err)
	}
}

func TestOwnPKI(t *testing.T) {
	theirs, others := newPKI(t, "their CA"), newPKI(t, "another CA")
	folder, state := t.TempDir(), t.TempDir()
	cfg := DefaultConfig()
	cfg.ClientCA, cfg.ClientCRL = filepath.Join(folder, "ca.crt"), filepath.Join(folder, "crl.pem")
	if err := os.WriteFile(cfg.ClientCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: theirs.ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs.revoke(cfg.ClientCRL, time.Now())
	if _, err := CreateAuthority(cfg.folder(state), time.Now()); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.DefaultConfig(), state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	id, err := New(cfg, state, st, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c *x509.Certificate) (string, error) {
		r := httptest.NewRequest(http.MethodPost, rules.PathFindings, nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
		return id.Agent(r)
	}
	web, db, stranger := theirs.issue("web-1"), theirs.issue("db-1"), others.issue("web-1")
	if name, err := ask(web); err != nil || name != "web-1" {
		t.Fatalf("their certificate: %q, %v", name, err)
	}
	if _, err := ask(stranger); code(err) != rules.CodeUnknownAgent {
		t.Errorf("another's certificate: %v", err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, rules.PathRenew, strings.NewReader("{}"))
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{web}}
	if id.Renew(w, r); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "renew it there") {
		t.Errorf("renewed to one of ours: %d %s", w.Code, w.Body)
	}
	theirs.revoke(cfg.ClientCRL, time.Now().Add(2*time.Second), web)
	if err := id.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(web); code(err) != rules.CodeRevoked {
		t.Errorf("on their list: %v", err)
	}
	if _, err := ask(db); err != nil {
		t.Errorf("not on their list: %v", err)
	}
	// A list of somebody else's ends nothing and replaces nothing.
	others.revoke(cfg.ClientCRL, time.Now().Add(4*time.Second), db)
	if err := id.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(db); err != nil {
		t.Errorf("on another's list: %v", err)
	}
	if _, err := ask(web); code(err) != rules.CodeRevoked {
		t.Errorf("their list was replaced by another's: %v", err)
	}
	if _, err := New(cfg, state, st, hclog.NewNullLogger()); err == nil {
		t.Error("started with a list that is not theirs")
	}
}

func TestAgentsAreLimitedEachForItself(t *testing.T) {
	id, _ := service(t)
	id.requests = limit.NewKeyed(0.001, 2)
	csr, err := parseRequest(request(t, newKey(t, elliptic.P256())))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string) *httptest.ResponseRecorder {
		c, err := id.CA().IssueAgent(csr, name, time.Hour, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r, w := httptest.NewRequest(http.MethodPost, rules.PathFindings, nil), httptest.NewRecorder()
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
		if _, err := id.Agent(r); err != nil {
			id.refuse(w, "refused", name, err)
		}
		return w
	}
	refused := 0
	for range 4 {
		if w := ask("web-1"); w.Code == http.StatusTooManyRequests {
			refused++
			if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), rules.CodeBusy) {
				t.Errorf("refused without saying until when: %v %s", w.Header(), w.Body)
			}
		}
	}
	if refused == 0 {
		t.Error("never refused")
	}
	if w := ask("web-2"); w.Code != http.StatusOK {
		t.Errorf("another agent waits for the first: %d", w.Code)
	}
}

func TestEnrolmentIsLimitedByAddress(t *testing.T) {
	id, _ := service(t)
	id.addresses = limit.NewKeyed(0.001, 2)
	enrol := func(address string) int {
		r, w := httptest.NewRequest(http.MethodPost, rules.PathEnrol, strings.NewReader("{}")), httptest.NewRecorder()
		r.RemoteAddr = address
		id.Enrol(w, r)
		if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		return w.Code
	}
	for i, want := range []int{http.StatusBadRequest, http.StatusBadRequest, http.StatusTooManyRequests} {
		if got := enrol("192.0.2.1:4000"); got != want {
			t.Errorf("request %d: %d, want %d", i+1, got, want)
		}
	}
	if got := enrol("192.0.2.2:4000"); got != http.StatusBadRequest {
		t.Errorf("another address: %d", got)
	}
}

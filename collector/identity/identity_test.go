package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/store"
	"sallyport/rules"
)

func service(t *testing.T) (*Service, *store.Store) {
	t.Helper()
	state := t.TempDir()
	s, err := store.Open(t.Context(), store.DefaultConfig(), state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	// A CA of yesterday, so that certificates of it may have run out.
	if _, err := CreateAuthority(DefaultConfig().folder(state), time.Now().Add(-24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	id, err := New(DefaultConfig(), state, s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return id, s
}

func request(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func secretOf(t *testing.T, id *Service, r TokenRequest) string {
	t.Helper()
	r.URL = "https://collector.example:8443"
	_, text, err := id.CreateToken(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	token, err := rules.ParseToken(text)
	if err != nil || token.CASHA256 != id.CA().SHA256() {
		t.Fatalf("token %v, %v", token, err)
	}
	return token.Secret
}

func code(err error) string {
	var r Refusal
	errors.As(err, &r)
	return r.Code
}

func TestTheKeyIsOursAlone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "ca")
	if _, err := CreateAuthority(folder, time.Now()); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(folder, keyFile))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, err := CreateAuthority(folder, time.Now()); err == nil {
		t.Error("a second CA replaced the first")
	}
}

func TestEnrolment(t *testing.T) {
	id, s := service(t)
	ctx := t.Context()
	key := newKey(t, elliptic.P256())
	secret := secretOf(t, id, TokenRequest{Pattern: "web-*", Uses: 3, Life: time.Hour})
	c, err := id.enrol(ctx, rules.EnrolRequest{Token: secret, CSR: request(t, key), Name: "web-1"})
	if err != nil {
		t.Fatal(err)
	}
	if name, err := certificateName(c); err != nil || name != "web-1" || c.Subject.CommonName != "web-1" {
		t.Errorf("name %q, %v", name, err)
	}
	if _, err := id.enrol(ctx, rules.EnrolRequest{Token: secret, CSR: request(t, key), Name: "web-1"}); err != nil {
		t.Errorf("the same key again, its answer having been lost: %v", err)
	}
	other := request(t, newKey(t, elliptic.P256()))
	revoked := secretOf(t, id, TokenRequest{Uses: 1, Life: time.Hour})
	list, err := s.Tokens(ctx)
	if err != nil || s.RevokeToken(ctx, list[0].ID, time.Now()) != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		request rules.EnrolRequest
		want    string
	}{
		"another key under the name": {rules.EnrolRequest{Token: secret, CSR: other, Name: "web-1"}, rules.CodeNameRefused},
		"outside the pattern":        {rules.EnrolRequest{Token: secret, CSR: other, Name: "db-1"}, rules.CodeNameRefused},
		"unknown token":              {rules.EnrolRequest{Token: "guess", CSR: other, Name: "web-2"}, rules.CodeTokenUnknown},
		"revoked token":              {rules.EnrolRequest{Token: revoked, CSR: other, Name: "web-2"}, rules.CodeTokenRevoked},
		"bad name":                   {rules.EnrolRequest{Token: secret, CSR: other, Name: "web-1/../x"}, rules.CodeBadRequest},
		"no request":                 {rules.EnrolRequest{Token: secret, CSR: "x", Name: "web-2"}, rules.CodeBadRequest},
		"other curve":                {rules.EnrolRequest{Token: secret, CSR: request(t, newKey(t, elliptic.P384())), Name: "web-2"}, rules.CodeBadRequest},
	} {
		if _, err := id.enrol(ctx, tt.request); code(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	if _, err := id.enrol(ctx, rules.EnrolRequest{Token: secret, CSR: other, Name: "web-2"}); err != nil {
		t.Errorf("the last use: %v", err)
	}
	if _, err := id.enrol(ctx, rules.EnrolRequest{Token: secret, CSR: other, Name: "web-3"}); code(err) != rules.CodeTokenSpent {
		t.Errorf("spent: %v", err)
	}
	replace := secretOf(t, id, TokenRequest{Uses: 1, Life: time.Hour, Replace: true})
	if _, err := id.enrol(ctx, rules.EnrolRequest{Token: replace, CSR: request(t, newKey(t, elliptic.P256())), Name: "web-1"}); err != nil {
		t.Errorf("a token that replaces: %v", err)
	}
	if gone, err := s.Revoked(ctx, time.Now()); err != nil || len(gone) != 2 {
		t.Errorf("replaced certificates %+v, %v", gone, err)
	}
}

func TestAgentOfARequest(t *testing.T) {
	id, _ := service(t)
	foreign, err := CreateAuthority(filepath.Join(t.TempDir(), "ca"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	csr, err := parseRequest(request(t, newKey(t, elliptic.P256())))
	if err != nil {
		t.Fatal(err)
	}
	issue := func(ca *Authority, name string, at time.Time) *x509.Certificate {
		t.Helper()
		c, err := ca.IssueAgent(csr, name, time.Hour, at)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	now := time.Now()
	revoked := issue(id.CA(), "web-1", now)
	id.revoked[revoked.SerialNumber.Text(16)] = true
	server, err := id.CA().IssueServer([]string{"web-1"}, time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		certificate *x509.Certificate
		want        string
	}{
		"good":          {issue(id.CA(), "web-1", now), ""},
		"expired":       {issue(id.CA(), "web-1", now.Add(-2*time.Hour)), rules.CodeExpired},
		"of the future": {issue(id.CA(), "web-1", now.Add(2*time.Hour)), rules.CodeExpired},
		"foreign":       {issue(foreign, "web-1", now), rules.CodeUnknownAgent},
		"revoked":       {revoked, rules.CodeRevoked},
		"a server's":    {server.Leaf, rules.CodeUnknownAgent},
		"bad name":      {issue(id.CA(), "../x", now), rules.CodeUnknownAgent},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{tt.certificate}}
		agent, err := id.Agent(r)
		if code(err) != tt.want || (err == nil) != (tt.want == "") || (err == nil && agent != "web-1") {
			t.Errorf("%s: %q, %v; want %q", name, agent, err, tt.want)
		}
		if tt.want == rules.CodeExpired && (!strings.Contains(err.Error(), "it is "+time.Now().UTC().Format("2006-01-02T15")) || !strings.Contains(err.Error(), "set the clock")) {
			t.Errorf("%s: the clock is not named: %v", name, err)
		}
	}
}

package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"sallyport/collector/store"
	"sallyport/rules"
)

// MaxRequest bounds the body of an enrolment and of a renewal, in bytes.
const MaxRequest = 16 << 10

// Enrol handles rules.PathEnrol: a token, ours or a pod's, becomes a certificate.
func (s *Service) Enrol(w http.ResponseWriter, r *http.Request) {
	if wait, ok := s.addresses.Take(address(r), time.Now()); !ok {
		Refusal{Status: http.StatusTooManyRequests, Code: rules.CodeBusy, Detail: "many agents enrol at once from this address", RetryAfter: wait}.Write(w)
		return
	}
	if !s.limiter.Allow() {
		Refusal{Status: http.StatusTooManyRequests, Code: rules.CodeBusy, Detail: "many agents enrol at once", RetryAfter: 5 * time.Second}.Write(w)
		return
	}
	var req rules.EnrolRequest
	if err := decode(w, r, &req); err != nil {
		s.refuse(w, "enrolment refused", "", err)
		return
	}
	c, err := s.enrol(r.Context(), req)
	if err != nil {
		s.refuse(w, "enrolment refused", req.Name, err)
		return
	}
	s.logger.Info("agent enrolled", "agent", req.Name, "address", r.RemoteAddr, "expires", c.NotAfter)
	s.answer(w, c)
}

// Renew handles rules.PathRenew: a valid certificate becomes a new one.
func (s *Service) Renew(w http.ResponseWriter, r *http.Request) {
	name, own, err := s.authenticate(r)
	if err == nil && own { // else who is revoked there would go on with one of ours
		err = forbidden(rules.CodeUnknownAgent, "the certificate is of your own PKI; renew it there")
	}
	if err != nil {
		s.refuse(w, "renewal refused", name, err)
		return
	}
	var req rules.RenewRequest
	if err := decode(w, r, &req); err != nil {
		s.refuse(w, "renewal refused", name, err)
		return
	}
	csr, err := parseRequest(req.CSR)
	if err != nil {
		s.refuse(w, "renewal refused", name, err)
		return
	}
	c, err := s.issue(r.Context(), csr, name, "", false)
	if err != nil {
		s.refuse(w, "renewal refused", name, err)
		return
	}
	s.logger.Info("certificate renewed", "agent", name, "expires", c.NotAfter)
	s.answer(w, c)
}

// address is where a request comes from, without the port.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (s *Service) enrol(ctx context.Context, req rules.EnrolRequest) (*x509.Certificate, error) {
	if !ValidName(req.Name) {
		return nil, Refusal{Status: http.StatusBadRequest, Code: rules.CodeBadRequest, Detail: fmt.Sprintf("%q cannot be an agent's name: letters, digits, . _ - only", req.Name)}
	}
	if req.ServiceAccountToken != "" {
		return s.enrolPod(ctx, req)
	}
	token, err := s.admit(ctx, req.Token, req.Name)
	if err != nil {
		return nil, err
	}
	csr, err := parseRequest(req.CSR)
	if err != nil {
		return nil, err
	}
	hash := keyHash(csr)
	if !token.Replaces {
		if err := s.free(ctx, req.Name, hash); err != nil {
			return nil, err
		}
	}
	c, err := s.issue(ctx, csr, req.Name, token.ID, token.Replaces)
	if errors.Is(err, store.ErrSpent) {
		return nil, forbidden(rules.CodeTokenSpent, "the token has no uses left; ask for a new one")
	}
	return c, err
}

// free checks that nobody else reports under this name. The same key may ask
// again: its agent did not get the answer.
func (s *Service) free(ctx context.Context, name, hash string) error {
	list, err := s.store.Certificates(ctx, name)
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.Revoked.IsZero() && time.Now().Before(c.Expires) && c.KeyHash != hash {
			return forbidden(rules.CodeNameRefused, fmt.Sprintf("an agent %q is enrolled until %s; revoke it (sallyport-collector agents revoke %s) or make the token with --replace",
				name, c.Expires.Format(time.RFC3339), name))
		}
	}
	return nil
}

func (s *Service) issue(ctx context.Context, csr *x509.CertificateRequest, name, token string, replace bool) (*x509.Certificate, error) {
	now := time.Now()
	c, err := s.ca.Load().IssueAgent(csr, name, s.cfg.CertificateLife, now)
	if err != nil {
		return nil, err
	}
	err = s.store.AddCertificate(ctx, store.Certificate{
		Serial: c.SerialNumber.Text(16), Agent: name, KeyHash: keyHash(csr), Issued: now, Expires: c.NotAfter,
	}, token, replace)
	if err != nil {
		return nil, err
	}
	s.issued.Add(1)
	return c, nil
}

func parseRequest(text string) (*x509.CertificateRequest, error) {
	bad := func(detail string) error {
		return Refusal{Status: http.StatusBadRequest, Code: rules.CodeBadRequest, Detail: detail}
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, bad("csr is not a PEM certificate request")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, bad("csr cannot be read")
	}
	if key, ok := csr.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, bad("csr is not of an ECDSA P-256 key")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, bad("csr is not signed by its own key")
	}
	return csr, nil
}

func keyHash(csr *x509.CertificateRequest) string {
	sum := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

func decode(w http.ResponseWriter, r *http.Request, v any) error {
	if r.Method != http.MethodPost {
		return Refusal{Status: http.StatusMethodNotAllowed, Code: rules.CodeBadRequest, Detail: "POST only"}
	}
	// Fields that are not known are of an agent newer than we are.
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxRequest)).Decode(v); err != nil {
		return Refusal{Status: http.StatusBadRequest, Code: rules.CodeBadRequest, Detail: "the body is not the JSON expected"}
	}
	return nil
}

func (s *Service) answer(w http.ResponseWriter, c *x509.Certificate) {
	w.Header().Set("Content-Type", "application/json")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	// An error here means that the agent hung up; its key may ask again.
	_ = json.NewEncoder(w).Encode(rules.EnrolResponse{Certificate: string(text), CA: s.ca.Load().PEM()})
}

// refuse answers with the refusal, or with 503 for an error of our own.
func (s *Service) refuse(w http.ResponseWriter, message, agent string, err error) {
	var refusal Refusal
	if !errors.As(err, &refusal) {
		s.logger.Error(message, "agent", agent, "error", err)
		Refusal{Status: http.StatusServiceUnavailable, Code: rules.CodeNotAvailable, Detail: "the collector cannot do that now", RetryAfter: 10 * time.Second}.Write(w)
		return
	}
	s.logger.Warn(message, "agent", agent, "code", refusal.Code, "detail", refusal.Detail)
	refusal.Write(w)
}

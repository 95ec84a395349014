package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"sallyport/collector/limit"
	"sallyport/collector/store"
	"sallyport/rules"
)

// Store is what identity keeps.
type Store interface {
	AddToken(context.Context, store.Token) error
	Tokens(context.Context) ([]store.Token, error)
	TokenByHash(ctx context.Context, hash string) (store.Token, error)
	AddCertificate(ctx context.Context, c store.Certificate, token string, replace bool) error
	Certificates(ctx context.Context, agent string) ([]store.Certificate, error)
	Revoked(context.Context, time.Time) ([]store.Certificate, error)
	RevokeAgent(ctx context.Context, agent string, at time.Time) (int, error)
}

// Service issues and checks certificates.
type Service struct {
	cfg       Config
	folder    string
	changing  sync.Mutex // one change of the CA at a time
	ca        atomic.Pointer[Authority]
	ownPKI    *ownPKI // nil without
	store     Store
	logger    hclog.Logger
	limiter   *rate.Limiter // of enrolments
	addresses *limit.Keyed  // of enrolments, by address
	requests  *limit.Keyed  // by agent
	server    atomic.Pointer[tls.Certificate]
	open      connections
	issued    atomic.Uint64
	mu        sync.RWMutex
	revoked   map[string]bool // serial
	refreshed time.Time
}

// Folder is where the CA lies.
func (c Config) folder(state string) string {
	if c.Folder != "" {
		return c.Folder
	}
	return filepath.Join(state, "ca")
}

// Init makes the CA of a new collector.
func Init(cfg Config, state string) (*Authority, error) {
	return CreateAuthority(cfg.folder(state), time.Now())
}

// New loads the CA.
func New(cfg Config, state string, st Store, logger hclog.Logger) (*Service, error) {
	ca, err := LoadAuthority(cfg.folder(state))
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, folder: cfg.folder(state), store: st, logger: logger.Named("identity"), revoked: map[string]bool{},
		addresses: limit.NewKeyed(cfg.EnrolPerAddress, int(10*cfg.EnrolPerAddress)), requests: limit.NewKeyed(cfg.RequestsPerSecond, int(2*cfg.RequestsPerSecond)),
		limiter: rate.NewLimiter(rate.Limit(cfg.EnrolPerSecond), max(1, int(cfg.EnrolPerSecond))),
		open:    connections{bySerial: map[string]map[*connection]struct{}{}},
	}
	s.ca.Store(ca)
	if cfg.ClientCA != "" {
		if s.ownPKI, err = openOwnPKI(cfg.ClientCA, cfg.ClientCRL, time.Now(), s.logger); err != nil {
			return nil, err
		}
	}
	return s, s.renewServer()
}

// Run keeps revocations, the CA and the server's certificate fresh until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	poll := time.NewTicker(s.cfg.RevocationPoll)
	defer poll.Stop()
	for {
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			s.logger.Warn("revocations not read", "error", err)
		}
		if err := s.reload(); err != nil {
			s.logger.Warn("CA not read", "error", err)
		}
		if leaf := s.server.Load().Leaf; time.Until(leaf.NotAfter) < s.cfg.ServerLife/3 {
			if err := s.renewServer(); err != nil {
				s.logger.Error("server certificate not renewed", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		}
	}
}

// refresh reads the revocations and cuts what they end.
func (s *Service) refresh(ctx context.Context) error {
	list, err := s.store.Revoked(ctx, time.Now())
	if err != nil {
		return err
	}
	revoked := make(map[string]bool, len(list))
	for _, c := range list {
		revoked[c.Serial] = true
	}
	if s.ownPKI != nil {
		theirs, err := s.ownPKI.refresh(time.Now())
		if err != nil {
			s.logger.Error("revocation list not read; the one before is in force", "error", err)
		}
		maps.Copy(revoked, theirs)
	}
	s.mu.Lock()
	s.revoked, s.refreshed = revoked, time.Now()
	s.mu.Unlock()
	if n := s.open.cut(revoked); n > 0 {
		s.logger.Info("connections cut", "connections", n)
	}
	return nil
}

// RevokeAgent ends an agent's certificates and connections, at once on this
// collector.
func (s *Service) RevokeAgent(ctx context.Context, name string) (int, error) {
	n, err := s.store.RevokeAgent(ctx, name, time.Now())
	if err != nil {
		return 0, err
	}
	return n, s.refresh(ctx)
}

func (s *Service) renewServer() error {
	names := append([]string{"localhost", "127.0.0.1", "::1"}, s.cfg.Names...)
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	certificate, err := s.ca.Load().IssueServer(names, s.cfg.ServerLife, time.Now())
	if err != nil {
		return err
	}
	s.server.Store(certificate)
	return nil
}

// Certificate is the collector's own, for a tls.Config.
func (s *Service) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.server.Load(), nil
}

// CA is what agents and people must trust.
func (s *Service) CA() *Authority { return s.ca.Load() }

// TLS is how the listener for agents speaks. Certificates are asked for and
// checked request by request, so that an agent whose certificate ran out or was
// revoked is told so, and not left with a TLS error.
func (s *Service) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         s.Certificate,
		ClientAuth:             tls.RequestClientCert,
		NextProtos:             []string{"h2", "http/1.1"},
		SessionTicketsDisabled: true,
	}
}

// Agent says which agent sent a request, or refuses with a Refusal, also where it
// is one too many of this agent.
func (s *Service) Agent(r *http.Request) (string, error) {
	name, _, err := s.authenticate(r)
	return name, err
}

// authenticate also says whether the certificate is of your own PKI.
func (s *Service) authenticate(r *http.Request) (name string, own bool, err error) {
	if name, own, err = s.identify(r); err != nil {
		return "", own, err
	}
	if wait, ok := s.requests.Take(name, time.Now()); !ok {
		return "", own, Refusal{Status: http.StatusTooManyRequests, Code: rules.CodeBusy, Detail: "this agent asks too often", RetryAfter: wait}
	}
	return name, own, nil
}

func (s *Service) identify(r *http.Request) (name string, own bool, err error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return "", false, forbidden(rules.CodeUnknownAgent, "no client certificate; enrol first")
	}
	leaf := r.TLS.PeerCertificates[0]
	if name, own, err = s.verify(leaf, r.TLS.PeerCertificates[1:]); err != nil {
		return "", own, err
	}
	now := time.Now()
	if now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return "", own, forbidden(rules.CodeExpired, fmt.Sprintf("the certificate is valid from %s to %s, and it is %s here; enrol again, or set the clock",
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)))
	}
	serial := leaf.SerialNumber.Text(16)
	if own {
		serial = ownKey(leaf.RawIssuer, leaf.SerialNumber)
	}
	// Registered before the check, so that a revocation in between finds it.
	s.open.register(r.Context(), serial)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.revoked[serial] {
		return "", own, forbidden(rules.CodeRevoked, "the certificate was revoked; enrol again with a new token")
	}
	return name, own, nil
}

// verify checks the chain as of the certificate's own time; whether that time is
// now is another question, with another answer.
func (s *Service) verify(leaf *x509.Certificate, rest []*x509.Certificate) (name string, own bool, err error) {
	options := x509.VerifyOptions{
		Roots: s.ca.Load().pool, Intermediates: x509.NewCertPool(), CurrentTime: leaf.NotBefore.Add(backdate + time.Second),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range rest {
		options.Intermediates.AddCert(c)
	}
	_, err = leaf.Verify(options)
	if err != nil && s.ownPKI != nil {
		options.Roots, own = s.ownPKI.pool, true
		_, err = leaf.Verify(options)
	}
	if err != nil {
		return "", own, forbidden(rules.CodeUnknownAgent, "the certificate is not of this collector's CA; enrol again")
	}
	if name, err = certificateName(leaf); err != nil {
		return "", own, forbidden(rules.CodeUnknownAgent, err.Error())
	}
	return name, own, nil
}

func certificateName(c *x509.Certificate) (string, error) {
	name := c.Subject.CommonName
	for _, u := range c.URIs {
		if u.Scheme == "sallyport" && u.Host == "agent" && len(u.Path) > 1 {
			name = u.Path[1:]
		}
	}
	if !ValidName(name) {
		return "", errors.New("the certificate names no agent")
	}
	return name, nil
}

package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"sallyport/collector/store"
	"sallyport/rules"
)

// maxServiceAccountToken bounds a projected token, in bytes.
const maxServiceAccountToken = 8 << 10

// enrolPod lets in the agent of a pod whose token the cluster's API server knows.
// The agent is called after the node that the token is bound to, and takes over
// that name: whoever wiped the node's state must come back.
func (s *Service) enrolPod(ctx context.Context, req rules.EnrolRequest) (*x509.Certificate, error) {
	csr, err := parseRequest(req.CSR)
	if err != nil {
		return nil, err
	}
	cluster, err := s.cluster(req)
	if err != nil {
		return nil, err
	}
	status, err := cluster.review(ctx, req.ServiceAccountToken)
	if err != nil {
		return nil, fmt.Errorf("review token of cluster %q: %w", cluster.Name, err)
	}
	if err := cluster.admit(status, req.Name); err != nil {
		return nil, err
	}
	readmission, err := s.readmission(ctx, req.Name)
	if err != nil {
		return nil, err
	}
	s.logger.Info("pod reviewed", "agent", req.Name, "cluster", cluster.Name, "pod", status.one(extraPod), "node", status.one(extraNode))
	c, err := s.issue(ctx, csr, req.Name, readmission, true)
	if errors.Is(err, store.ErrSpent) {
		return nil, revokedForGood(req.Name)
	}
	return c, err
}

// cluster finds the cluster whose token it is. The token goes to no other: who
// has it can enrol with it.
func (s *Service) cluster(req rules.EnrolRequest) (Cluster, error) {
	if len(req.ServiceAccountToken) > maxServiceAccountToken {
		return Cluster{}, Refusal{Status: http.StatusBadRequest, Code: rules.CodeBadRequest, Detail: "the service-account token is too long"}
	}
	for _, c := range s.cfg.Kubernetes {
		if c.Name == req.Cluster {
			return c.withDefaults(), nil
		}
	}
	return Cluster{}, forbidden(rules.CodeTokenRefused, fmt.Sprintf("identity.kubernetes of this collector names no cluster %q", req.Cluster))
}

// admit checks what the API server says of a token against what the agent claims.
func (c Cluster) admit(status reviewStatus, name string) error {
	refuse := func(format string, args ...any) error {
		return forbidden(rules.CodeTokenRefused, fmt.Sprintf(format, args...))
	}
	account, node := status.account(), status.one(extraNode)
	switch {
	case !status.Authenticated:
		return refuse("the API server does not take the token: %s", orElse(status.Error, "it says no more"))
	case !slices.Contains(status.Audiences, c.Audience):
		// An API server that knows nothing of audiences names none, and a token for
		// anybody else would do.
		return refuse("the token is not for the audience %q; see the agent's projected volume", c.Audience)
	case !slices.Contains(c.ServiceAccounts, account):
		return refuse("the token is of %q, which is none of identity.kubernetes.service_accounts", status.User.Username)
	case status.one(extraPod) == "":
		return refuse("the token is bound to no pod; use a projected one")
	case node == "":
		return refuse("the token names no node; Kubernetes does so from 1.30 on")
	case c.Prefix+node != name:
		return forbidden(rules.CodeNameRefused, fmt.Sprintf("the pod runs on node %q, so its agent is called %q and not %q; set SALLYPORT_HOST from spec.nodeName", node, c.Prefix+node, name))
	}
	return nil
}

// readmission is what an agent that was revoked needs to come back: the token it
// enrols with is no proof that the reason has gone. It is the id of a token that
// Readmit made, and "" where none is needed.
func (s *Service) readmission(ctx context.Context, name string) (string, error) {
	list, err := s.store.Certificates(ctx, name)
	if err != nil {
		return "", err
	}
	// Those that an enrolment replaced are older than the one it made.
	if len(list) == 0 || list[0].Revoked.IsZero() {
		return "", nil
	}
	tokens, err := s.store.Tokens(ctx)
	if err != nil {
		return "", err
	}
	for _, t := range tokens {
		if t.Pattern == name && t.Left > 0 && t.Revoked.IsZero() && time.Now().Before(t.Expires) {
			return t.ID, nil
		}
	}
	return "", revokedForGood(name)
}

func revokedForGood(name string) error {
	return forbidden(rules.CodeRevoked, fmt.Sprintf("the agent was revoked; \"sallyport-collector agents readmit %s\" lets it enrol again", name))
}

// readmitLife is how long an agent has to come back.
const readmitLife = 24 * time.Hour

// Readmit lets an agent that was revoked enrol once more from its pod.
func (s *Service) Readmit(ctx context.Context, name string) (store.Token, error) {
	if !ValidName(name) {
		return store.Token{}, fmt.Errorf("%q cannot be an agent's name", name)
	}
	now := time.Now().UTC()
	t := store.Token{ID: randomText(6), Hash: Hash(randomText(24)), Pattern: name, Uses: 1, Left: 1, Replaces: true, Created: now, Expires: now.Add(readmitLife)}
	return t, s.store.AddToken(ctx, t)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

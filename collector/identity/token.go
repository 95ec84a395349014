package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"regexp"
	"time"

	"sallyport/collector/store"
	"sallyport/rules"
)

// agentName is what an agent may be called. The name goes into URIs, message ids
// and file names.
var agentName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

// ValidName says whether an agent may be called so.
func ValidName(name string) bool { return agentName.MatchString(name) }

// TokenRequest is what a new enrolment token is for.
type TokenRequest struct {
	URL     string        `json:"url"`     // where agents reach the collector
	Pattern string        `json:"pattern"` // of the names it may enrol: * and ? as in file names
	Uses    int           `json:"uses"`
	Life    time.Duration `json:"life"`
	Replace bool          `json:"replace"` // may take over a name in use, whose certificates then end
}

// CreateToken makes an enrolment token; its secret is in the text and nowhere
// else.
func (s *Service) CreateToken(ctx context.Context, r TokenRequest) (store.Token, string, error) {
	if r.Pattern == "" {
		r.Pattern = "*"
	}
	if _, err := path.Match(r.Pattern, "x"); err != nil {
		return store.Token{}, "", fmt.Errorf("pattern %q: %w", r.Pattern, err)
	}
	if r.Uses < 1 || r.Uses > 1_000_000 {
		return store.Token{}, "", fmt.Errorf("uses is %d; give 1 to 1000000", r.Uses)
	}
	if r.Life < time.Minute || r.Life > 366*24*time.Hour {
		return store.Token{}, "", errors.New("the token's life must lie between 1m and 8784h")
	}
	secret, id := randomText(24), randomText(6)
	token := rules.Token{URL: r.URL, CASHA256: s.ca.Load().SHA256(), Secret: secret}
	if err := token.Validate(); err != nil {
		return store.Token{}, "", fmt.Errorf("make token: %w", err)
	}
	now := time.Now()
	t := store.Token{
		ID: id, Hash: Hash(secret), Pattern: r.Pattern, Uses: r.Uses, Left: r.Uses, Replaces: r.Replace,
		Created: now.UTC(), Expires: now.Add(r.Life).UTC(),
	}
	if err := s.store.AddToken(ctx, t); err != nil {
		return store.Token{}, "", err
	}
	return t, token.Encode(), nil
}

// admit checks that a token lets an agent of this name in.
func (s *Service) admit(ctx context.Context, secret, name string) (store.Token, error) {
	t, err := s.store.TokenByHash(ctx, Hash(secret))
	now := time.Now()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return t, forbidden(rules.CodeTokenUnknown, "no such token; ask for a new one")
	case err != nil:
		return t, err
	case !t.Revoked.IsZero():
		return t, forbidden(rules.CodeTokenRevoked, "the token was revoked; ask for a new one")
	case !now.Before(t.Expires):
		return t, forbidden(rules.CodeTokenExpired, fmt.Sprintf("the token ran out at %s, and it is %s here; ask for a new one, or set the clock", t.Expires.Format(time.RFC3339), now.UTC().Format(time.RFC3339)))
	case t.Left < 1:
		return t, forbidden(rules.CodeTokenSpent, "the token has no uses left; ask for a new one")
	}
	if ok, err := path.Match(t.Pattern, name); err != nil || !ok {
		return t, forbidden(rules.CodeNameRefused, fmt.Sprintf("the token is for names like %q, not %q", t.Pattern, name))
	}
	return t, nil
}

// Hash is how secrets are kept: SHA-256, which serves since they are long and
// random, unlike passwords.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// randomText is n random bytes as base64url.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

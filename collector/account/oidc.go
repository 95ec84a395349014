package account

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// oidcTimeout bounds each request to the provider.
const oidcTimeout = 15 * time.Second

// provider is the OpenID Connect provider, found when it is first needed: it may
// be away when the collector starts.
type provider struct {
	cfg OIDCConfig

	mu    sync.Mutex
	found *found
}

// found is what the provider says of itself.
type found struct {
	provider *oidc.Provider
	oauth    oauth2.Config
	client   *http.Client
	logout   string // end_session_endpoint, "" without
}

// Attempt is a sign-in under way. The browser keeps it, so that it may end at
// another collector than it began at.
type Attempt struct {
	State    string `json:"state"`    // RFC 6749 section 10.12
	Nonce    string `json:"nonce"`    // OpenID Connect Core section 3.1.2.1
	Verifier string `json:"verifier"` // RFC 7636
}

// Denied is why the provider's word does not let somebody in, for the person.
type Denied struct{ text string }

func (d Denied) Error() string { return d.text }

func denied(format string, args ...any) error { return Denied{fmt.Sprintf(format, args...)} }

// find asks the provider about itself (OpenID Connect Discovery).
func (p *provider) find(ctx context.Context) (*found, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	client, err := p.client()
	if err != nil {
		return nil, err
	}
	// Of the context the provider keeps the client alone.
	issuer, err := oidc.NewProvider(oidc.ClientContext(ctx, client), p.cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("find OpenID Connect provider: %w", err)
	}
	var more struct {
		Logout string   `json:"end_session_endpoint"`
		PKCE   []string `json:"code_challenge_methods_supported"`
	}
	if err := issuer.Claims(&more); err != nil {
		return nil, fmt.Errorf("read OpenID Connect provider: %w", err)
	}
	secret := ""
	if p.cfg.ClientSecretFile != "" {
		text, err := os.ReadFile(p.cfg.ClientSecretFile)
		if err != nil {
			return nil, fmt.Errorf("read account.oidc.client_secret_file: %w", err)
		}
		secret = strings.TrimSpace(string(text))
	}
	scopes := []string{oidc.ScopeOpenID}
	for _, s := range p.cfg.Scopes {
		if s != oidc.ScopeOpenID {
			scopes = append(scopes, s)
		}
	}
	p.found = &found{provider: issuer, client: client, logout: more.Logout, oauth: oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: secret, RedirectURL: p.cfg.RedirectURL, Endpoint: issuer.Endpoint(), Scopes: scopes,
	}}
	return p.found, nil
}

func (p *provider) client() (*http.Client, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.cfg.CAFile != "" {
		text, err := os.ReadFile(p.cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read account.oidc.ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read account.oidc.ca_file: no certificate in %s", p.cfg.CAFile)
		}
	}
	return &http.Client{Timeout: oidcTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: t, ForceAttemptHTTP2: true}}, nil
}

// begin says where to send the browser.
func (p *provider) begin(ctx context.Context) (string, Attempt, error) {
	f, err := p.find(ctx)
	if err != nil {
		return "", Attempt{}, err
	}
	a := Attempt{State: random(), Nonce: random(), Verifier: oauth2.GenerateVerifier()}
	return f.oauth.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), a, nil
}

// person is whom the provider vouches for.
type person struct {
	subject string // the provider's own id of the person, which stays
	name    string
	groups  []string
}

// finish trades the code that the browser brought for what the provider says of
// the person.
func (p *provider) finish(ctx context.Context, a Attempt, query url.Values) (person, error) {
	if a.State == "" || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(a.State)) != 1 {
		return person{}, denied("This sign-in was begun elsewhere, or too long ago. Begin again.")
	}
	if code := query.Get("error"); code != "" {
		return person{}, denied("The provider refused: %s %s", code, query.Get("error_description"))
	}
	f, err := p.find(ctx)
	if err != nil {
		return person{}, err
	}
	ctx = oidc.ClientContext(ctx, f.client)
	tokens, err := f.oauth.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(a.Verifier))
	if err != nil {
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) && refused.ErrorCode == "invalid_grant" {
			return person{}, denied("The provider does not take the code it gave: it was used, or is too old. Begin again.")
		}
		return person{}, fmt.Errorf("exchange code: %w", err)
	}
	claims, err := p.verify(ctx, f, tokens, a.Nonce)
	if err != nil {
		return person{}, err
	}
	return p.person(ctx, f, tokens, claims)
}

// verify checks the ID token: signature, issuer, audience, time and nonce.
func (p *provider) verify(ctx context.Context, f *found, tokens *oauth2.Token, nonce string) (map[string]any, error) {
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return nil, denied("The provider gave no ID token; the scope openid must be allowed to this client.")
	}
	token, err := f.provider.Verifier(&oidc.Config{ClientID: p.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		var expired *oidc.TokenExpiredError
		if errors.As(err, &expired) {
			return nil, denied("The provider's ID token ran out at %s, and it is %s here: one of the clocks is wrong.",
				expired.Expiry.UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
		}
		return nil, fmt.Errorf("verify ID token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1 {
		return nil, denied("The provider's ID token is of another sign-in. Begin again.")
	}
	claims := map[string]any{}
	if err := token.Claims(&claims); err != nil {
		return nil, fmt.Errorf("read ID token: %w", err)
	}
	// OpenID Connect Core section 3.1.3.7, 4 and 5.
	if azp, ok := claims["azp"]; ok && azp != p.cfg.ClientID || !ok && len(token.Audience) > 1 {
		return nil, fmt.Errorf("verify ID token: it was issued to %v", claims["azp"])
	}
	return claims, nil
}

// person reads the claims. Groups may stand in the user info alone.
func (p *provider) person(ctx context.Context, f *found, tokens *oauth2.Token, claims map[string]any) (person, error) {
	subject, _ := claims["sub"].(string)
	_, groups := claims[p.cfg.GroupsClaim]
	_, name := claims[p.cfg.NameClaim]
	if (!groups || !name) && f.provider.UserInfoEndpoint() != "" {
		info, err := f.provider.UserInfo(ctx, f.oauth.TokenSource(ctx, tokens))
		if err != nil {
			return person{}, fmt.Errorf("read user info: %w", err)
		}
		more := map[string]any{}
		if err := info.Claims(&more); err != nil {
			return person{}, fmt.Errorf("read user info: %w", err)
		}
		if info.Subject != subject { // OpenID Connect Core section 5.3.2
			return person{}, errors.New("read user info: it is of another person")
		}
		for k, v := range more {
			if _, ok := claims[k]; !ok {
				claims[k] = v
			}
		}
	}
	if verified, ok := claims["email_verified"].(bool); ok && !verified && p.cfg.NameClaim == "email" {
		return person{}, denied("The provider has not verified your e-mail address, by which you would be known here.")
	}
	who := person{subject: subject, groups: texts(claims[p.cfg.GroupsClaim])}
	who.name, _ = claims[p.cfg.NameClaim].(string)
	if subject == "" || !userName.MatchString(who.name) {
		return person{}, denied("The provider's claim %q is %q, which cannot be a user's name here: letters, digits, . _ @ - only, up to 64.", p.cfg.NameClaim, who.name)
	}
	return who, nil
}

// texts reads a claim that is a text or a list of texts.
func texts(claim any) []string {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

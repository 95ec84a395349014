package rules

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// tokenPrefix names the form of the token, so that a later form can be told
// from this one and a secret scanner can find a leaked one.
const tokenPrefix = "sp1."

// maxToken bounds what ParseToken reads, in bytes.
const maxToken = 4096

// ErrToken is returned for text that is not an enrolment token.
var ErrToken = errors.New("not an enrolment token")

// Token is what an agent needs to enrol: where, whom to trust, and a secret
// with few uses and a short life. The collector shows its CA certificate at the
// end of the chain of its TLS certificate, so that CASHA256 can be checked
// before anything is sent.
type Token struct {
	URL      string `json:"url"`       // of the collector, https, without a path
	CASHA256 string `json:"ca_sha256"` // of the CA certificate's DER, lower-case hexadecimal
	Secret   string `json:"secret"`    // what the collector knows the token by
}

// ParseToken reads "sp1." and base64url without padding of the JSON object.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxToken {
		return Token{}, fmt.Errorf("%w: longer than %d bytes", ErrToken, maxToken)
	}
	body, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok {
		return Token{}, fmt.Errorf("%w: it does not begin with %q", ErrToken, tokenPrefix)
	}
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return Token{}, fmt.Errorf("%w: not base64url; was it cut when it was copied?", ErrToken)
	}
	var t Token
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return Token{}, fmt.Errorf("%w: not the JSON expected", ErrToken)
	}
	if err := t.Validate(); err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return t, nil
}

// Validate checks the parts of the token.
func (t Token) Validate() error {
	u, err := url.Parse(t.URL)
	switch {
	case err != nil || u.Host == "":
		return errors.New("url is not the address of a collector")
	case u.Scheme != "https":
		return errors.New("url must be https")
	case u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "":
		return errors.New("url must be a host and port only")
	}
	if sum, err := hex.DecodeString(t.CASHA256); err != nil || len(sum) != 32 || strings.ToLower(t.CASHA256) != t.CASHA256 {
		return errors.New("ca_sha256 is not 64 lower-case hexadecimal digits")
	}
	if t.Secret == "" {
		return errors.New("secret is empty")
	}
	return nil
}

// Encode gives the token's text, secret and all. String hides the secret, since
// tokens end up in logs.
func (t Token) Encode() string {
	raw, err := json.Marshal(t)
	if err != nil { // three strings always marshal
		panic(err)
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
}

// String is for logs: it does not hold the secret.
func (t Token) String() string { return "enrolment token for " + t.URL }

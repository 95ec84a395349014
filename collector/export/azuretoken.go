package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// azureToken is an access token of Microsoft Entra ID, kept until shortly before
// it runs out.
type azureToken struct {
	value string
	until time.Time
}

// assertionType of a workload identity's token, RFC 7523 section 2.2.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// get asks for a token by the client credentials flow, RFC 6749 section 4.4.
func (t *azureToken) get(ctx context.Context, client *http.Client, cfg sentinelSettings) (string, error) {
	if time.Now().Before(t.until) {
		return t.value, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {cfg.ClientID}, "scope": {cfg.Scope}}
	path, key := cfg.ClientSecretFile, "client_secret"
	if path == "" {
		path, key = cfg.AssertionFile, "client_assertion"
		form.Set("client_assertion_type", assertionType)
	}
	secret, err := readSecret(path)
	if err != nil {
		return "", err
	}
	form.Set(key, secret)
	to := strings.TrimRight(cfg.Authority, "/") + "/" + url.PathEscape(cfg.Tenant) + "/oauth2/v2.0/token"
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	a, err := request(ctx, client, http.MethodPost, to, header, []byte(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("ask for token: %w", err)
	}
	if a.status != http.StatusOK {
		return "", errors.New("ask for token: the authority answered " + a.text())
	}
	var given struct {
		Token   string `json:"access_token"`
		Seconds int    `json:"expires_in"`
	}
	if err := json.Unmarshal(a.body, &given); err != nil || given.Token == "" {
		return "", errors.New("ask for token: the authority's answer holds none")
	}
	life := time.Duration(given.Seconds) * time.Second
	*t = azureToken{given.Token, time.Now().Add(life - life/10)}
	return t.value, nil
}

package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// maxReview bounds the API server's answer, and maxCredential its CA and our
// token, in bytes.
const (
	maxReview     = 1 << 20
	maxCredential = 1 << 20
)

// Names of the API authentication.k8s.io/v1, and of what a bound token says of its
// pod (k8s.io/apiserver, pkg/authentication/serviceaccount).
const (
	reviewPath    = "/apis/authentication.k8s.io/v1/tokenreviews"
	reviewVersion = "authentication.k8s.io/v1"
	reviewKind    = "TokenReview"
	extraNode     = "authentication.kubernetes.io/node-name"
	extraPod      = "authentication.kubernetes.io/pod-name"
	accountPrefix = "system:serviceaccount:"
)

// tokenReview is as much of authentication.k8s.io/v1 TokenReview as is used.
type tokenReview struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Metadata   struct{}     `json:"metadata"`
	Spec       reviewSpec   `json:"spec"`
	Status     reviewStatus `json:"status,omitzero"`
}

type reviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences"`
}

type reviewStatus struct {
	Authenticated bool `json:"authenticated,omitempty"`
	User          struct {
		Username string              `json:"username"`
		Extra    map[string][]string `json:"extra"`
	} `json:"user,omitzero"`
	Audiences []string `json:"audiences,omitempty"`
	Error     string   `json:"error,omitempty"`
}

// account is the service account, NAMESPACE/NAME; "" of any other user.
func (s reviewStatus) account() string {
	rest, ok := strings.CutPrefix(s.User.Username, accountPrefix)
	namespace, name, whole := strings.Cut(rest, ":")
	if !ok || !whole {
		return ""
	}
	return namespace + "/" + name
}

// one is the only value of an extra, "" where there is none or are several.
func (s reviewStatus) one(extra string) string {
	if v := s.User.Extra[extra]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// review asks the cluster's API server about a token. An error is ours or the
// API server's; a token that is not good is no error.
func (c Cluster) review(ctx context.Context, token string) (reviewStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := c.request(ctx, token)
	if err != nil {
		return reviewStatus{}, err
	}
	client, err := c.client()
	if err != nil {
		return reviewStatus{}, err
	}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return reviewStatus{}, fmt.Errorf("ask API server: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxReview))
	if err != nil {
		return reviewStatus{}, fmt.Errorf("read API server's answer: %w", err)
	}
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		return reviewStatus{}, errors.New("the API server does not know the collector's own token; see token_file")
	case res.StatusCode == http.StatusForbidden:
		return reviewStatus{}, errors.New("the collector may not create tokenreviews; see the ClusterRole in deploy/kubernetes/collector.yaml")
	case res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK:
		return reviewStatus{}, fmt.Errorf("the API server answered %d", res.StatusCode)
	}
	var answer tokenReview
	if err := json.Unmarshal(body, &answer); err != nil {
		return reviewStatus{}, fmt.Errorf("read API server's answer: %w", err)
	}
	if answer.Kind != reviewKind {
		return reviewStatus{}, fmt.Errorf("the API server answered a %q", answer.Kind)
	}
	return answer.Status, nil
}

func (c Cluster) request(ctx context.Context, token string) (*http.Request, error) {
	server, err := c.server()
	if err != nil {
		return nil, err
	}
	own, err := readCredential(c.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("read token for the API server: %w", err)
	}
	body, err := json.Marshal(tokenReview{APIVersion: reviewVersion, Kind: reviewKind, Spec: reviewSpec{Token: token, Audiences: []string{c.Audience}}})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(server, "/")+reviewPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(own)))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// client trusts the cluster's CA alone, goes through no proxy and follows nobody
// elsewhere: the request carries two tokens.
func (c Cluster) client() (*http.Client, error) {
	text, err := readCredential(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read the API server's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the API server's CA: no certificate in %s", c.CAFile)
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func readCredential(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCredential))
}

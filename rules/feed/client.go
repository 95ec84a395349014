package feed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// ClientConfig says how a feed is fetched. Secrets come from files.
type ClientConfig struct {
	Timeout   time.Duration `yaml:"timeout"`    // of one whole request
	BasicFile string        `yaml:"basic_file"` // holds user:password
	TokenFile string        `yaml:"token_file"` // holds a bearer token
	KeyFile   string        `yaml:"key_file"`   // holds a key that is sent as it is in Authorization (MISP)
	CAFile    string        `yaml:"ca_file"`    // PEM; the system's authorities when empty
	Insecure  bool          `yaml:"insecure"`   // allow http:// to other hosts than this one
}

// DefaultClientConfig is for feeds of any size on slow lines.
func DefaultClientConfig() ClientConfig { return ClientConfig{Timeout: 10 * time.Minute} }

// Validate refuses two ways to authenticate.
func (c ClientConfig) Validate() error {
	n := 0
	for _, f := range []string{c.BasicFile, c.TokenFile, c.KeyFile} {
		if f != "" {
			n++
		}
	}
	if n > 1 {
		return errors.New("feed client: give one of basic_file, token_file and key_file")
	}
	if c.Timeout < 0 {
		return errors.New("feed client: timeout must not be negative")
	}
	return nil
}

// errNotModified is a server's answer that nothing changed.
var errNotModified = errors.New("not modified")

// client fetches documents, with limits.
type client struct {
	http     *http.Client
	cfg      ClientConfig
	auth     string
	host     string // of the first request: the secret goes there and nowhere else
	maxBytes int64
}

func newClient(cfg ClientConfig, maxBytes int64) (*client, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultClientConfig().Timeout
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	auth, err := cfg.authorization()
	if err != nil {
		return nil, err
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA file: %s holds no certificate", cfg.CAFile)
		}
	}
	c := &client{cfg: cfg, auth: auth, maxBytes: maxBytes}
	c.http = &http.Client{
		Timeout: cfg.Timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true,
			DialContext:           (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   30 * time.Second,
			ResponseHeaderTimeout: 2 * time.Minute,
			IdleConnTimeout:       time.Minute,
		},
		CheckRedirect: c.redirect,
	}
	return c, nil
}

func (c ClientConfig) authorization() (string, error) {
	for file, header := range map[string]func(string) string{
		c.BasicFile: basic,
		c.TokenFile: func(s string) string { return "Bearer " + s },
		c.KeyFile:   func(s string) string { return s },
	} {
		if file == "" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read secret: %w", err)
		}
		secret := strings.TrimSpace(string(data))
		if secret == "" || strings.ContainsAny(secret, "\r\n") {
			return "", fmt.Errorf("read secret: %s must hold one line", file)
		}
		return header(secret), nil
	}
	return "", nil
}

func basic(s string) string {
	user, password, _ := strings.Cut(s, ":")
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// redirect follows OFAC's and others' redirects, but never to plain http and
// never with the secret to another host.
func (c *client) redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	if req.URL.Host != c.host {
		req.Header.Del("Authorization")
	}
	return c.allowed(req.URL)
}

func (c *client) allowed(u *url.URL) error {
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("scheme %q is not supported", u.Scheme)
	case c.cfg.Insecure || u.Hostname() == "localhost":
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("plain http can be changed on its way: use https, or set insecure")
}

// do sends a GET and returns the answer, its body bounded. A caller that gets no
// error closes the body.
func (c *client) do(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if err := c.allowed(req.URL); err != nil {
		return nil, err
	}
	if c.host == "" {
		c.host = req.URL.Host
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "sallyport")
	if c.auth != "" && req.URL.Host == c.host {
		req.Header.Set("Authorization", c.auth)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	if resp.ContentLength > c.maxBytes {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: %d bytes", ErrTooBig, resp.ContentLength)
	}
	resp.Body = &limited{ReadCloser: resp.Body, left: c.maxBytes}
	return resp, nil
}

// withoutURL drops the URL from an error: it may hold a password.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("fetch: %w", u.Err)
	}
	return err
}

func (c *client) open(ctx context.Context, address string) (io.ReadCloser, error) {
	resp, err := c.do(ctx, address, nil)
	if err != nil {
		return nil, err
	}
	return body(resp)
}

// openConditional fetches only what changed since state, and updates state.
func (c *client) openConditional(ctx context.Context, address string, state *State) (io.ReadCloser, error) {
	header := http.Header{}
	if state.ETag != "" {
		header.Set("If-None-Match", state.ETag)
	}
	if state.LastModified != "" {
		header.Set("If-Modified-Since", state.LastModified)
	}
	resp, err := c.do(ctx, address, header)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotModified {
		resp.Body.Close()
		return nil, errNotModified
	}
	b, err := body(resp)
	if err == nil {
		state.ETag, state.LastModified = resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	}
	return b, err
}

func body(resp *http.Response) (io.ReadCloser, error) {
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Body, nil
	case http.StatusNotFound:
		resp.Body.Close()
		return nil, fmt.Errorf("server says %s: %w", resp.Status, os.ErrNotExist)
	}
	resp.Body.Close()
	return nil, fmt.Errorf("server says %s", resp.Status)
}

// NextFetch is when to fetch again: every, give or take a tenth, so that many
// collectors do not knock at once.
func NextFetch(every time.Duration) time.Duration {
	return every + time.Duration((rand.Float64()-0.5)*0.2*float64(every))
}

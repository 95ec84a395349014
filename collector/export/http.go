package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// httpSettings are what exporters over HTTP share.
type httpSettings struct {
	// URL of the receiver.
	URL string `yaml:"url"`
	// Plaintext allows http://. Findings and secrets then travel in the clear.
	Plaintext bool `yaml:"plaintext"`
	// MaxBody is about how many bytes of findings one request carries.
	MaxBody int         `yaml:"max_body"`
	TLS     tlsSettings `yaml:"tls"`
}

func (h httpSettings) validate() error {
	if err := checkURL("settings.url", h.URL, h.Plaintext); err != nil {
		return err
	}
	if h.MaxBody < 1000 {
		return fmt.Errorf("settings.max_body is %d; give at least 1000", h.MaxBody)
	}
	return h.TLS.validate()
}

func checkURL(name, text string, plaintext bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%s is %q; give a whole URL, https://HOST...", name, text)
	case u.User != nil:
		return fmt.Errorf("%s holds a user name or password; give them by their own settings", name)
	case u.Scheme == "http" && !plaintext:
		return fmt.Errorf("%s is http://; give https://, or set plaintext: true", name)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%s is %q; give https://", name, text)
	}
	return nil
}

// at is a URL below the receiver's.
func (h httpSettings) at(path string) string { return strings.TrimRight(h.URL, "/") + path }

// client makes the exporter's own client: a slow receiver holds no connection of
// another. Redirects are not followed: they would take the secret elsewhere.
func (h httpSettings) client() (*http.Client, error) {
	c, err := h.TLS.config()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: c, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// maxAnswer bounds what is read of an answer: a bulk answer speaks of every item.
const maxAnswer = 16 << 20

// answer is a receiver's.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// request sends a body and reads the answer, whatever its status.
func request(ctx context.Context, client *http.Client, method, to string, header http.Header, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("make request: %w", err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "sallyport-collector")
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("send request: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("read answer: %w", err)
	case len(text) > maxAnswer:
		return answer{}, errors.New("read answer: it is too long")
	}
	for k, v := range resp.Trailer { // gRPC's status is there
		resp.Header[k] = v
	}
	return answer{resp.StatusCode, resp.Header, text}, nil
}

// outcome sorts an answer: nil where the receiver took the request, *permanent
// where it refuses what is in it. A wrong secret, path or permission is not of
// the findings: an operator mends it, and they are sent again.
func (a answer) outcome(ctx context.Context) error {
	switch {
	case a.status/100 == 2:
		return nil
	case a.status == http.StatusBadRequest, a.status == http.StatusRequestEntityTooLarge, a.status == http.StatusUnprocessableEntity:
		return &permanent{"receiver answered " + a.text()}
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable:
		a.pause(ctx)
	}
	return errors.New("receiver answered " + a.text())
}

// text is the answer for a person.
func (a answer) text() string {
	return strings.TrimSpace(strconv.Itoa(a.status) + " " + cut(strings.TrimSpace(clean(string(a.body), "")), 500))
}

// pause waits as long as the receiver asks, or until the attempt ends.
func (a answer) pause(ctx context.Context) {
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || seconds <= 0 {
		return
	}
	timer := time.NewTimer(time.Duration(min(seconds, 3600)) * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// compressed is the body in gzip, which every receiver here takes.
func compressed(body []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(body); err != nil {
		return nil, fmt.Errorf("compress body: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress body: %w", err)
	}
	return out.Bytes(), nil
}

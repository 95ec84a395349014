package deliver

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sallyport/rules"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 4 << 20

// maxSkew is how far two clocks may differ before it is said. The Date header
// counts whole seconds and certificates are issued with some slack.
const maxSkew = time.Minute

// refusal is an answer that is not 2xx.
type refusal struct {
	status  int
	problem rules.Problem
	after   time.Duration
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("the collector answered %d", r.status)
	if r.problem.Code != "" {
		text += " " + r.problem.Code
	}
	if r.problem.Detail != "" {
		text += ": " + r.problem.Detail
	}
	return text
}

// caller makes requests to one collector.
type caller struct {
	client *http.Client
	url    string
	skew   func(time.Duration) // told how far the collector's clock is ahead, with each answer
}

// post sends a JSON document and reads the answer into out, if not nil.
func (c caller) post(ctx context.Context, path string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.send(ctx, path, raw, http.Header{"Content-Type": {"application/json"}}, out)
}

func (c caller) send(ctx context.Context, path string, body []byte, h http.Header, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.url, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = h
	sent := time.Now()
	resp, err := c.client.Do(req)
	if err != nil {
		return explain(err)
	}
	defer resp.Body.Close()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && c.skew != nil {
		middle := sent.Add(time.Since(sent) / 2)
		c.skew(date.Add(500 * time.Millisecond).Sub(middle.Round(0)))
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		r := &refusal{status: resp.StatusCode, after: retryAfter(resp.Header.Get("Retry-After"))}
		if json.Unmarshal(answer, &r.problem) != nil {
			r.problem = rules.Problem{}
		}
		r.problem.Detail = printable(r.problem.Detail)
		r.problem.Code = printable(r.problem.Code)
		return r
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// retryAfter reads seconds or a date (RFC 9110 section 10.2.3); 0 where there is
// neither.
func retryAfter(s string) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// printable keeps what a far side says from driving a terminal or filling a log.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r >= 0x80 && r < 0xA0 {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), 300)]
}

// explain adds to a TLS failure what an operator can do about it.
func explain(err error) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return &clockError{fmt.Errorf("the collector's certificate is valid from %s until %s and this host's clock says %s; one of them is wrong: %w",
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339), err)}
	}
	if code := refusedByAlert(err); code != "" {
		return &refusal{status: http.StatusForbidden, problem: rules.Problem{Code: code, Detail: "in the TLS handshake: " + printable(err.Error())}}
	}
	return err
}

// clockError is a failure that a wrong clock explains.
type clockError struct{ error }

func (e *clockError) Unwrap() error { return e.error }

// refusedByAlert reads a server's refusal of our certificate (RFC 8446 section
// 6.2). crypto/tls keeps the alert's type to itself over TCP; its text is all
// there is.
func refusedByAlert(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return ""
	}
	switch op.Err.Error() {
	case "tls: revoked certificate":
		return rules.CodeRevoked
	case "tls: expired certificate":
		return rules.CodeExpired
	case "tls: bad certificate", "tls: unknown certificate", "tls: unknown certificate authority", "tls: certificate required":
		return rules.CodeUnknownAgent
	}
	return ""
}

package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"sallyport/rules"
)

// CollectorConfig is the destination "collector". After `sallyport enrol` all of
// it may stay as it is; the files are for your own PKI.
type CollectorConfig struct {
	IdentityDir string `yaml:"identity_dir"` // where enrolment keeps key and certificate
	URL         string `yaml:"url"`          // https://host:port; empty: as enrolled
	CertFile    string `yaml:"cert_file"`    // PEM; all three or none
	KeyFile     string `yaml:"key_file"`
	CAFile      string `yaml:"ca_file"`

	Kubernetes KubernetesConfig `yaml:"kubernetes"` // enrolment with the pod's own token
}

func defaultCollector() CollectorConfig {
	return CollectorConfig{IdentityDir: "/var/lib/sallyport/identity"}
}

func validateCollector(c Config) error {
	cc := c.Collector
	if cc.URL != "" {
		if u, err := url.Parse(cc.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("deliver.collector.url is %q: use https://host:port", cc.URL)
		}
	}
	if err := cc.validateKubernetes(); err != nil {
		return err
	}
	own := 0
	for _, f := range []string{cc.CertFile, cc.KeyFile, cc.CAFile} {
		if f != "" {
			own++
		}
	}
	switch {
	case own != 0 && own != 3:
		return errors.New("deliver.collector: name cert_file, key_file and ca_file, or none of them")
	case own == 3 && cc.URL == "":
		return errors.New("deliver.collector.url is empty: with certificates of your own it must be named")
	case own == 0 && cc.IdentityDir == "":
		return errors.New("deliver.collector.identity_dir is empty: name the folder that sallyport enrol wrote to")
	}
	return nil
}

// collector sends to a collector over HTTP/2 with mutual TLS.
type collector struct {
	o   opening
	enc *zstd.Encoder

	mu       sync.Mutex
	id       *Identity
	call     caller
	refused  string // the code last reported, "" while accepted
	clockOff bool
}

func openCollector(o opening) (destination, error) {
	c := &collector{o: o}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	c.enc = enc
	id, err := c.load()
	if err != nil {
		return nil, err
	}
	c.use(id)
	return c, nil
}

func (c *collector) load() (*Identity, error) {
	if c.o.cfg.Collector.CertFile != "" {
		return loadOwn(c.o.cfg.Collector)
	}
	return LoadIdentity(c.o.cfg.Collector.IdentityDir)
}

// use makes requests under an identity from now on.
func (c *collector) use(id *Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.call.client != nil {
		c.call.client.CloseIdleConnections()
	}
	at := id.URL
	if c.o.cfg.Collector.URL != "" {
		at = c.o.cfg.Collector.URL
	}
	c.refused = ""
	c.id, c.call = id, caller{client: newClient(id.tlsConfig()), url: at, skew: c.clock}
}

func (c *collector) current() (caller, *Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.call, c.id
}

// Send posts the batch. Findings have arrived only when the receipt accounts for
// every one of them.
func (c *collector) Send(ctx context.Context, batch []rules.Envelope) (rules.Receipt, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	call, id := c.current()
	for _, e := range batch {
		e.Agent = id.Name // an agent can only report as itself
		if err := enc.Encode(e); err != nil {
			return rules.Receipt{}, &sendError{err: fmt.Errorf("encode finding: %w", err), split: true}
		}
	}
	var receipt rules.Receipt
	err := call.send(ctx, rules.PathFindings, c.enc.EncodeAll(body.Bytes(), nil), http.Header{
		"Content-Type":     {"application/x-ndjson"},
		"Content-Encoding": {"zstd"},
	}, &receipt)
	if err != nil {
		return rules.Receipt{}, c.classify(err)
	}
	if receipt.Accepted+len(receipt.Rejected) != len(batch) {
		return rules.Receipt{}, fmt.Errorf("the receipt accounts for %d of %d findings", receipt.Accepted+len(receipt.Rejected), len(batch))
	}
	c.accepted()
	return receipt, nil
}

// classify turns a failure into what the feeder should do, and reports what an
// operator must know.
func (c *collector) classify(err error) error {
	var clock *clockError
	if errors.As(err, &clock) {
		c.sayClock(clock.Error())
		return &sendError{err: err, slow: true}
	}
	var r *refusal
	if !errors.As(err, &r) {
		return err
	}
	switch r.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &sendError{err: err, after: r.after}
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return &sendError{err: err, split: true}
	case http.StatusUnauthorized, http.StatusForbidden:
		c.sayRefused(r)
		return &sendError{err: err, slow: true, after: r.after}
	}
	return &sendError{err: err, after: r.after}
}

// sayRefused reports once that the collector no longer takes this agent.
func (c *collector) sayRefused(r *refusal) {
	code := r.problem.Code
	if code == "" {
		code = fmt.Sprint(r.status)
	}
	_, id := c.current()
	detail := r.Error()
	now := time.Now()
	switch leaf := id.pair.Leaf; {
	case now.Before(leaf.NotBefore):
		detail += fmt.Sprintf("; this host's clock says %s, before the certificate begins at %s: set the clock", now.UTC().Format(time.RFC3339), leaf.NotBefore.UTC().Format(time.RFC3339))
	case code == rules.CodeExpired || now.After(leaf.NotAfter):
		code = rules.CodeExpired
		detail += fmt.Sprintf("; the certificate ran out at %s: enrol again with a new token", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	c.mu.Lock()
	said := c.refused == code
	c.refused = code
	c.mu.Unlock()
	if !said {
		c.o.spool.report(Event{Kind: EventRefused, Detail: detail + "; findings stay in the spool"})
	}
}

func (c *collector) accepted() {
	c.mu.Lock()
	c.refused = ""
	c.mu.Unlock()
}

// clock hears with each answer how far the collector's clock is ahead.
func (c *collector) clock(ahead time.Duration) {
	if ahead.Abs() <= maxSkew {
		c.mu.Lock()
		c.clockOff = false
		c.mu.Unlock()
		return
	}
	word := "behind"
	if ahead < 0 {
		word = "ahead of"
	}
	c.sayClock(fmt.Sprintf("this host's clock is %s %s the collector's", ahead.Abs().Round(time.Second), word))
}

func (c *collector) sayClock(detail string) {
	c.mu.Lock()
	said := c.clockOff
	c.clockOff = true
	c.mu.Unlock()
	if !said {
		c.o.spool.report(Event{Kind: EventClock, Detail: detail})
	}
}

// Close ends the connections.
func (c *collector) Close() error {
	call, _ := c.current()
	call.client.CloseIdleConnections()
	return c.enc.Close()
}

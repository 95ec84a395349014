package deliver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/zstd"

	"sallyport/rules"
)

// fakeCollector speaks the wire of rules/envelope.go with a real CA, TLS 1.3 and
// HTTP/2. What it answers can be changed while it runs.
type fakeCollector struct {
	packRoot []byte // PEM, nil: none

	t      *testing.T
	server *httptest.Server
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	life   time.Duration // of client certificates

	mu        sync.Mutex
	got       []rules.Envelope
	beats     int
	renewed   int
	asked     rules.EnrolRequest // the last one
	noRenewal bool
	findings  func(w http.ResponseWriter, batch []rules.Envelope) bool // true: answered
}

func newFakeCollector(t *testing.T) *fakeCollector {
	c := &fakeCollector{t: t, life: time.Hour}
	c.caKey = newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &c.caKey.PublicKey, c.caKey)
	if err != nil {
		t.Fatal(err)
	}
	c.ca, _ = x509.ParseCertificate(der)
	key := newKey(t)
	leaf := c.issue("collector", &key.PublicKey, time.Hour)
	pool := x509.NewCertPool()
	pool.AddCert(c.ca)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+rules.PathEnrol, c.enrol)
	mux.HandleFunc("POST "+rules.PathRenew, c.renew)
	mux.HandleFunc("POST "+rules.PathHeartbeat, func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.beats++
		c.mu.Unlock()
	})
	mux.HandleFunc("POST "+rules.PathFindings, c.take)
	mux.HandleFunc("GET "+rules.PathPackRoot, func(w http.ResponseWriter, _ *http.Request) {
		if c.packRoot == nil {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write(c.packRoot)
	})
	c.server = httptest.NewUnstartedServer(mux)
	c.server.EnableHTTP2 = true
	c.server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf, der}, PrivateKey: key}},
	}
	c.server.Config.ErrorLog = hclog.NewNullLogger().StandardLogger(nil)
	c.server.StartTLS()
	t.Cleanup(c.server.Close)
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *fakeCollector) issue(name string, pub any, life time.Duration) []byte {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Second), NotAfter: time.Now().Add(life), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, c.ca, pub, c.caKey)
	if err != nil {
		c.t.Error(err)
	}
	return der
}

func (c *fakeCollector) token() rules.Token {
	return rules.Token{URL: c.server.URL, CASHA256: certificateSum(c.ca.Raw), Secret: "once"}
}

func problem(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(rules.Problem{Code: code})
}

func (c *fakeCollector) answer(w http.ResponseWriter, csr, name string) {
	block, _ := pem.Decode([]byte(csr))
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || req.CheckSignature() != nil || req.Subject.CommonName != name || req.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() {
		problem(w, http.StatusBadRequest, rules.CodeBadRequest)
		return
	}
	c.mu.Lock()
	life := c.life
	c.mu.Unlock()
	json.NewEncoder(w).Encode(rules.EnrolResponse{Certificate: encodePEM("CERTIFICATE", c.issue(name, req.PublicKey, life)), CA: encodePEM("CERTIFICATE", c.ca.Raw)})
}

func (c *fakeCollector) enrol(w http.ResponseWriter, r *http.Request) {
	var in rules.EnrolRequest
	json.NewDecoder(r.Body).Decode(&in)
	c.mu.Lock()
	c.asked = in
	c.mu.Unlock()
	if in.Token != "once" && in.ServiceAccountToken != "once" {
		problem(w, http.StatusForbidden, rules.CodeTokenSpent)
		return
	}
	c.answer(w, in.CSR, in.Name)
}

func (c *fakeCollector) renew(w http.ResponseWriter, r *http.Request) {
	var in rules.RenewRequest
	json.NewDecoder(r.Body).Decode(&in)
	c.mu.Lock()
	c.renewed++
	refuse := c.noRenewal
	if !refuse {
		c.life = time.Hour
	}
	c.mu.Unlock()
	if refuse {
		problem(w, http.StatusForbidden, rules.CodeUnknownAgent)
		return
	}
	c.answer(w, in.CSR, r.TLS.PeerCertificates[0].Subject.CommonName)
}

func (c *fakeCollector) take(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 || r.TLS.Version != tls.VersionTLS13 || len(r.TLS.PeerCertificates) == 0 || r.Header.Get("Content-Encoding") != "zstd" {
		c.t.Errorf("request over HTTP/%d, TLS %x, %d certificates, encoding %q", r.ProtoMajor, r.TLS.Version, len(r.TLS.PeerCertificates), r.Header.Get("Content-Encoding"))
	}
	dec, err := zstd.NewReader(r.Body)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer dec.Close()
	var batch []rules.Envelope
	for lines := bufio.NewScanner(dec); lines.Scan(); {
		var e rules.Envelope
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Agent != r.TLS.PeerCertificates[0].Subject.CommonName {
			c.t.Errorf("line %s: %v", lines.Bytes(), err)
		}
		batch = append(batch, e)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.findings != nil && c.findings(w, batch) {
		return
	}
	c.got = append(c.got, batch...)
	json.NewEncoder(w).Encode(rules.Receipt{Accepted: len(batch)})
}

func (c *fakeCollector) received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, e := range c.got {
		ids = append(ids, strings.TrimSuffix(e.ID, ".1"))
	}
	return ids
}

// enrolled gives a spool whose Deliverer runs against the collector.
func (c *fakeCollector) enrolled(t *testing.T) *Spool {
	t.Helper()
	cfg := testConfig(t)
	cfg.Destinations, cfg.Batch = []string{"collector"}, 10
	cfg.Collector = CollectorConfig{IdentityDir: filepath.Join(t.TempDir(), "identity")}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if _, err := Enrol(t.Context(), c.token().Encode(), "host-1", cfg.Collector.IdentityDir); err != nil {
		t.Fatal(err)
	}
	s := open(t, cfg)
	d := New(cfg, Local{Agent: "host-1", Heartbeat: func() rules.Heartbeat { return rules.Heartbeat{Version: "test"} }}, s, hclog.NewNullLogger())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func drained(t *testing.T, s *Spool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := s.Drained(ctx); err != nil {
		t.Fatalf("%d findings still wait: %v", s.State().Findings, err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func waitEvent(t *testing.T, s *Spool, kind string) Event {
	t.Helper()
	timeout := time.After(60 * time.Second)
	for {
		select {
		case e := <-s.Events():
			if e.Kind == kind {
				return e
			}
		case <-timeout:
			t.Fatalf("no event %s", kind)
		}
	}
}

func TestDeliverInOrder(t *testing.T) {
	c := newFakeCollector(t)
	s := c.enrolled(t)
	appendN(t, s, 0, 95)
	drained(t, s)
	checkOrder(t, c.received(), 0, 95)
	for i, e := range c.got {
		if e.Seq != uint64(i+1) || e.Epoch != s.epoch {
			t.Fatalf("envelope %d has number %d of epoch %s", i, e.Seq, e.Epoch)
		}
	}
	eventually(t, "a heartbeat", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.beats > 0 })
}

func TestBusyCollectorLosesNothing(t *testing.T) {
	c := newFakeCollector(t)
	refusals := 0
	c.findings = func(w http.ResponseWriter, batch []rules.Envelope) bool {
		if refusals++; refusals > 4 {
			return false
		}
		switch refusals {
		case 1:
			w.Header().Set("Retry-After", "1")
			problem(w, http.StatusTooManyRequests, rules.CodeBusy)
		case 2:
			w.Header().Set("Retry-After", time.Now().UTC().Format(http.TimeFormat))
			problem(w, http.StatusServiceUnavailable, rules.CodeNotAvailable)
		case 3:
			json.NewEncoder(w).Encode(rules.Receipt{Accepted: len(batch) - 1}) // does not account for all
		case 4:
			w.Write([]byte("not JSON"))
		}
		return true
	}
	s := c.enrolled(t)
	appendN(t, s, 0, 12)
	drained(t, s)
	checkOrder(t, c.received(), 0, 12)
}

func TestTooLargeAndRejected(t *testing.T) {
	c := newFakeCollector(t)
	c.findings = func(w http.ResponseWriter, batch []rules.Envelope) bool {
		if len(batch) > 3 {
			problem(w, http.StatusRequestEntityTooLarge, rules.CodeTooLarge)
			return true
		}
		for _, e := range batch {
			if e.ID == "f5.1" && len(batch) == 1 {
				problem(w, http.StatusBadRequest, rules.CodeBadRequest)
				return true
			} else if e.ID == "f5.1" {
				problem(w, http.StatusBadRequest, rules.CodeBadRequest)
				return true
			}
		}
		receipt := rules.Receipt{}
		for _, e := range batch {
			if e.ID == "f7.1" {
				receipt.Rejected = append(receipt.Rejected, rules.Reject{Seq: e.Seq, Reason: "no such version"})
				continue
			}
			c.got = append(c.got, e)
			receipt.Accepted++
		}
		json.NewEncoder(w).Encode(receipt)
		return true
	}
	s := c.enrolled(t)
	appendN(t, s, 0, 20)
	drained(t, s)
	if ids := c.received(); len(ids) != 18 || ids[17] != "f19" {
		t.Errorf("received %v", ids)
	}
	raw, err := os.ReadFile(filepath.Join(s.cfg.Dir, "parked-collector.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range bytes.Lines(raw) {
		var p parked
		if err := json.Unmarshal(line, &p); err != nil || p.Reason == "" {
			t.Fatalf("parked line %s: %v", line, err)
		}
		ids = append(ids, p.Envelope.ID)
	}
	if strings.Join(ids, " ") != "f5.1 f7.1" {
		t.Errorf("parked %v, want f5.1 f7.1", ids)
	}
	if e := waitEvent(t, s, EventParked); e.Findings != 1 {
		t.Errorf("event = %+v", e)
	}
}

func TestRevokedKeepsSpool(t *testing.T) {
	c := newFakeCollector(t)
	c.findings = func(w http.ResponseWriter, _ []rules.Envelope) bool {
		w.Header().Set("Retry-After", "1")
		problem(w, http.StatusForbidden, rules.CodeRevoked)
		return true
	}
	s := c.enrolled(t)
	appendN(t, s, 0, 3)
	if e := waitEvent(t, s, EventRefused); !strings.Contains(e.Detail, rules.CodeRevoked) {
		t.Errorf("detail = %q", e.Detail)
	}
	if n := s.State().Findings; n != 3 {
		t.Fatalf("%d findings in the spool of a revoked agent, want 3", n)
	}
	c.mu.Lock()
	c.findings = nil
	c.mu.Unlock()
	drained(t, s)
	checkOrder(t, c.received(), 0, 3)
}

func TestClockSkewIsNamed(t *testing.T) {
	c := newFakeCollector(t)
	c.findings = func(w http.ResponseWriter, _ []rules.Envelope) bool {
		w.Header().Set("Date", time.Now().Add(10*time.Minute).UTC().Format(http.TimeFormat))
		return false
	}
	s := c.enrolled(t)
	appendN(t, s, 0, 1)
	if e := waitEvent(t, s, EventClock); !strings.Contains(e.Detail, "behind the collector's") {
		t.Errorf("detail = %q", e.Detail)
	}
}

// TestWrongClockIsNamed has the host's clock stand before the collector's
// certificate begins, and after it ends.
func TestWrongClockIsNamed(t *testing.T) {
	for name, shift := range map[string]time.Duration{"behind": -48 * time.Hour, "ahead": 48 * time.Hour} {
		c := newFakeCollector(t)
		id, err := Enrol(t.Context(), c.token().Encode(), "host-1", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		trust := id.tlsConfig()
		trust.Time = func() time.Time { return time.Now().Add(shift) }
		err = caller{client: newClient(trust), url: c.server.URL}.post(t.Context(), rules.PathHeartbeat, rules.Heartbeat{Agent: "host-1"}, nil)
		var clock *clockError
		if !errors.As(err, &clock) || !strings.Contains(err.Error(), "this host's clock says") || !strings.Contains(err.Error(), "valid from") {
			t.Errorf("clock %s: %v", name, err)
		}
	}
}

func TestRenewal(t *testing.T) {
	c := newFakeCollector(t)
	c.life = 3 * time.Second
	s := c.enrolled(t)
	eventually(t, "renewed", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.renewed > 0 })
	eventually(t, "kept", func() bool {
		id, err := LoadIdentity(s.cfg.Collector.IdentityDir)
		return err == nil && time.Until(id.Expires()) > 30*time.Minute
	})
	appendN(t, s, 0, 5)
	drained(t, s)
}

// A certificate that ran out is named as such, from the collector's TLS alert.
func TestExpiredIsNamed(t *testing.T) {
	c := newFakeCollector(t)
	c.life, c.noRenewal = time.Second, true
	s := c.enrolled(t)
	eventually(t, "expired", func() bool {
		id, err := LoadIdentity(s.cfg.Collector.IdentityDir)
		return err == nil && time.Now().After(id.Expires())
	})
	c.server.CloseClientConnections()
	appendN(t, s, 0, 2)
	for {
		if e := waitEvent(t, s, EventRefused); strings.Contains(e.Detail, "enrol again") {
			break
		}
	}
	if n := s.State().Findings; n != 2 {
		t.Errorf("%d findings in the spool of an expired agent, want 2", n)
	}
	// Enrolled anew while it runs, it goes on by itself.
	c.mu.Lock()
	c.life, c.noRenewal = time.Hour, false
	c.mu.Unlock()
	if _, err := Enrol(t.Context(), c.token().Encode(), "host-1", s.cfg.Collector.IdentityDir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := s.Drained(ctx); err != nil {
		t.Errorf("%d findings still wait: %v", s.State().Findings, err)
	}
}

func TestEnrolRefusals(t *testing.T) {
	c := newFakeCollector(t)
	dir := t.TempDir()
	spent, other := c.token(), c.token()
	spent.Secret = "spent"
	other.CASHA256 = strings.Repeat("0", 64)
	var r *refusal
	if _, err := Enrol(t.Context(), spent.Encode(), "h", dir); !errors.As(err, &r) || r.problem.Code != rules.CodeTokenSpent {
		t.Errorf("spent token: %v", err)
	}
	if _, err := Enrol(t.Context(), other.Encode(), "h", dir); !errors.Is(err, ErrWrongCA) {
		t.Errorf("other CA: %v", err)
	}
	if _, err := LoadIdentity(dir); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("identity after refusals: %v", err)
	}
	if _, err := Enrol(t.Context(), c.token().Encode(), "h", dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, identityFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("identity file: %v, %v; want mode 0600", info.Mode(), err)
	}
}

func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		in       string
		min, max time.Duration
	}{
		{"", 0, 0}, {"soon", 0, 0}, {"-1", 0, 0}, {"120", 2 * time.Minute, 2 * time.Minute},
		{strconv.FormatUint(1<<63, 10), 0, 0},
		{time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), 50 * time.Second, time.Minute},
	} {
		if got := retryAfter(test.in); got < test.min || got > test.max {
			t.Errorf("retryAfter(%q) = %v", test.in, got)
		}
	}
}

func TestEnrolPinsTheRootOfPacks(t *testing.T) {
	key, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	good := []byte(encodePEM("PUBLIC KEY", der))
	for name, tt := range map[string]struct {
		root []byte
		ok   bool
	}{
		"none":      {nil, true},
		"a key":     {good, true},
		"no key":    {[]byte("<html>"), false},
		"other PEM": {[]byte(encodePEM("PUBLIC KEY", []byte("x"))), false},
	} {
		c := newFakeCollector(t)
		c.packRoot = tt.root
		dir := t.TempDir()
		_, err := Enrol(t.Context(), c.token().Encode(), "h", dir)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, PackRootFile)); (err == nil) != (name == "a key") || err == nil && !bytes.Equal(got, good) {
			t.Errorf("%s: pinned %q, %v", name, got, err)
		}
	}
}

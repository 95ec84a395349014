package collector

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/zstd"

	"sallyport/collector/admin"
	"sallyport/collector/identity"
	"sallyport/collector/store"
	"sallyport/rules"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// testConfig listens on ports of its own.
func testConfig(t testing.TB) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.State = filepath.Join(t.TempDir(), "state")
	cfg.Listen.Agents, cfg.Listen.People, cfg.Listen.Health = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.URL = "https://127.0.0.1:1"
	cfg.Stream.Reserve = 1 << 20
	cfg.Account.SignInsPerMinute = 100
	cfg.Fleet.CheckEvery = cfg.Fleet.SilentAfter // tests that count findings want none about the fleet
	return cfg
}

// site is a running collector of a test's own.
type site struct {
	cfg      Config
	at       Addresses
	password string // of the first administrator
	stop     func() // ends it, and waits
}

// startSite makes and starts a collector.
func startSite(t testing.TB, cfg Config) *site {
	t.Helper()
	made, err := Init(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{cfg: cfg, password: made.Password}
	s.start(t)
	return s
}

func (s *site) start(t testing.TB) {
	t.Helper()
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: testLog{t}})
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan Addresses, 1), make(chan error, 1)
	go func() { ended <- New(s.cfg, "test", logger).Run(ctx, func(a Addresses) { ready <- a }) }()
	select {
	case s.at = <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("collector ended: %v", err)
	}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("collector ended: %v", err)
		}
	}
	t.Cleanup(s.stop)
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

func (s *site) admin(t testing.TB, method, path string, body, out any) {
	t.Helper()
	if err := admin.NewClient(s.cfg.Socket()).Do(context.Background(), method, path, body, out); err != nil {
		t.Fatal(err)
	}
}

func (s *site) token(t testing.TB) string {
	t.Helper()
	var made admin.NewToken
	s.admin(t, "POST", "/tokens", identity.TokenRequest{Pattern: "*", Uses: 100, Life: time.Hour}, &made)
	token, err := rules.ParseToken(made.Text)
	if err != nil {
		t.Fatal(err)
	}
	return token.Secret
}

func (s *site) counts(t testing.TB) store.Counts {
	t.Helper()
	st, err := store.Open(context.Background(), s.cfg.Store, s.cfg.State)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	c, err := st.Counts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// agent is an agent of a test's own.
type agent struct {
	name   string
	url    string
	key    *ecdsa.PrivateKey
	cert   tls.Certificate
	ca     *x509.CertPool
	client *http.Client
	// timeout of a request; patience where it is 0.
	timeout time.Duration
}

// newAgent enrols.
func newAgent(t testing.TB, address, secret, name string) *agent {
	t.Helper()
	a := &agent{name: name, url: "https://" + address}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	a.connect()
	var res rules.EnrolResponse
	if status := a.post(t, rules.PathEnrol, rules.EnrolRequest{Token: secret, CSR: a.request(t), Name: name}, &res); status != http.StatusOK {
		t.Fatalf("enrol %s: status %d", name, status)
	}
	a.use(t, res)
	return a
}

func (a *agent) request(t testing.TB) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: a.name}}, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func (a *agent) use(t testing.TB, res rules.EnrolResponse) {
	t.Helper()
	block, _ := pem.Decode([]byte(res.Certificate))
	if block == nil {
		t.Fatal("no certificate in the answer")
	}
	a.cert = tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: a.key}
	a.ca = x509.NewCertPool()
	if !a.ca.AppendCertsFromPEM([]byte(res.CA)) {
		t.Fatal("no CA in the answer")
	}
	a.connect()
}

// connect makes a client: before enrolment it trusts anybody, as a test may.
func (a *agent) connect() {
	cfg := &tls.Config{RootCAs: a.ca, InsecureSkipVerify: a.ca == nil}
	if a.cert.PrivateKey != nil {
		cfg.Certificates = []tls.Certificate{a.cert}
	}
	a.client = &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}, Timeout: cmp.Or(a.timeout, patience)}
}

func (a *agent) post(t testing.TB, path string, body, out any) int {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := a.client.Post(a.url+path, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if out != nil {
		if err := json.NewDecoder(res.Body).Decode(out); err != nil {
			t.Fatalf("%s: %s: %v", path, res.Status, err)
		}
	}
	return res.StatusCode
}

// send sends lines, packed, and returns the status and the answer's body.
func (a *agent) send(lines []rules.Envelope) (int, []byte, error) {
	body, err := packLines(lines)
	if err != nil {
		return 0, nil, err
	}
	return a.sendPacked(body)
}

// packLines makes a request's body.
func packLines(lines []rules.Envelope) ([]byte, error) {
	var body bytes.Buffer
	z, err := zstd.NewWriter(&body)
	if err != nil {
		return nil, err
	}
	e := json.NewEncoder(z)
	for _, l := range lines {
		if err := e.Encode(l); err != nil {
			return nil, err
		}
	}
	err = z.Close()
	return body.Bytes(), err
}

func (a *agent) sendPacked(body []byte) (int, []byte, error) {
	req, err := http.NewRequest(http.MethodPost, a.url+rules.PathFindings, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Encoding", "zstd")
	res, err := a.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

// mustSend fails unless everything was accepted.
func (a *agent) mustSend(t testing.TB, lines ...rules.Envelope) {
	t.Helper()
	status, body, err := a.send(lines)
	if err != nil || status != http.StatusOK {
		t.Fatalf("send: status %d, %s, %v", status, body, err)
	}
	var receipt rules.Receipt
	if err := json.Unmarshal(body, &receipt); err != nil || receipt.Accepted != len(lines) {
		t.Fatalf("send: %s, %v", body, err)
	}
}

// finding is a valid one.
func (a *agent) finding(id string, revision uint64) rules.Finding {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return rules.Finding{
		Version: rules.FindingVersion, ID: id, Revision: revision, State: rules.StateOpened,
		Agent: rules.AgentInfo{Name: a.name, Version: "test"},
		Rule:  rules.RuleRef{ID: "rdp-attributed-remote", Title: "RDP with an attributed remote", Level: "high"},
		Title: "RDP with an attributed remote", Severity: rules.SeverityHigh, Confidence: "high", Why: []string{"data went both ways"},
		Matches: []rules.Match{{
			Field: "remote.addr", Value: "203.0.113.9", Entity: rules.EntityRef{ID: "example-entity", Name: "Example Entity"},
			Indicator: rules.IndicatorRef{Type: "ip", Value: "203.0.113.9"}, Statement: "a remote attributed to Example Entity, reported by Example",
		}},
		Observation: rules.Observation{
			FlowID: "1", Host: a.name, Sensor: "socket", Transport: rules.TCP, Direction: rules.Outbound,
			Local:  rules.Endpoint{Addr: netip.MustParseAddr("192.0.2.1"), Port: 51000},
			Remote: rules.Endpoint{Addr: netip.MustParseAddr("203.0.113.9"), Port: 3389}, Outcome: rules.OutcomeData,
			First: at, Last: at.Add(time.Minute), Owner: rules.Owner{Attribution: rules.AttributionExact, Process: &rules.Process{PID: 7, Executable: "/usr/bin/xfreerdp", User: "alice"}},
			Identification: rules.Identification{Protocol: "rdp", State: "confirmed", Evidence: "X.224 connection request; server chose TLS"},
		},
		First: at, Last: at.Add(time.Minute), Count: revision, Created: at.Add(time.Minute),
		Evidence: &rules.Evidence{PCAPNG: []byte("\n\r\r\nnot really packets"), Packets: 3, SHA256: "00"},
	}
}

func (a *agent) envelope(epoch string, seq uint64, f rules.Finding) rules.Envelope {
	text, err := json.Marshal(f)
	if err != nil {
		panic(fmt.Sprint("encode finding: ", err))
	}
	return rules.Envelope{Agent: a.name, Seq: seq, Epoch: epoch, ID: f.MessageID(), Finding: text}
}

// eventually waits until f returns true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	within(t, patience, what, f)
}

func within(t testing.TB, limit time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatal("never: " + what)
}

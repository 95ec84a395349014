package identity

import (
	"crypto/elliptic"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/rules"
)

// fakeAPIServer is a strict fake of the API server's TokenReview: it takes what the
// real one takes and answers in its form. cmd/e2e has the same path against the
// real one.
type fakeAPIServer struct {
	t      *testing.T
	own    string            // the collector's token
	status int               // an answer other than 201, 0: none
	tokens map[string]string // a pod's token to its status, JSON
}

func (f *fakeAPIServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("asked %s %s as %q", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	if r.Header.Get("Authorization") != "Bearer "+f.own {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if f.status != 0 {
		w.WriteHeader(f.status)
		return
	}
	var review struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct{}
		Spec       struct {
			Token     string   `json:"token"`
			Audiences []string `json:"audiences"`
		} `json:"spec"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&review); err != nil || review.APIVersion != "authentication.k8s.io/v1" || review.Kind != "TokenReview" || len(review.Spec.Audiences) != 1 {
		f.t.Errorf("review %+v, %v", review, err)
	}
	status, ok := f.tokens[review.Spec.Token]
	if !ok {
		status = `{"user":{},"error":"[invalid bearer token, token lookup failed]"}`
	}
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{"creationTimestamp":null},"spec":{"token":"x"},"status":`+status+`}`)
}

// podStatus is what the API server says of a token.
func podStatus(account, node, audience string) string {
	return `{"authenticated":true,"user":{"username":"` + account + `","uid":"1","groups":["system:authenticated"],"extra":{` +
		`"authentication.kubernetes.io/node-name":["` + node + `"],"authentication.kubernetes.io/pod-name":["agent-x"]}},"audiences":["` + audience + `"]}`
}

const agentAccount = "system:serviceaccount:sallyport:sallyport-agent"

// cluster makes a service that reviews tokens with a fake.
func cluster(t *testing.T) (*Service, *fakeAPIServer) {
	t.Helper()
	id, _ := service(t)
	f := &fakeAPIServer{t: t, own: "collectors-own", tokens: map[string]string{
		"good":       podStatus(agentAccount, "node-1", "sallyport-collector"),
		"good-2":     podStatus(agentAccount, "node-2", "sallyport-collector"),
		"audience":   podStatus(agentAccount, "node-1", "https://kubernetes.default.svc"),
		"account":    podStatus("system:serviceaccount:default:default", "node-1", "sallyport-collector"),
		"person":     podStatus("sallyport/sallyport-agent", "node-1", "sallyport-collector"),
		"colons":     podStatus(agentAccount+":x", "node-1", "sallyport-collector"),
		"node":       podStatus(agentAccount, "node-2", "sallyport-collector"),
		"no node":    strings.Replace(podStatus(agentAccount, "node-1", "sallyport-collector"), "node-name", "other", 1),
		"two nodes":  podStatus(agentAccount, `node-1","node-2`, "sallyport-collector"),
		"no pod":     strings.Replace(podStatus(agentAccount, "node-1", "sallyport-collector"), "pod-name", "other", 1),
		"not in":     strings.Replace(podStatus(agentAccount, "node-1", "sallyport-collector"), `"authenticated":true,`, "", 1),
		"no audence": strings.Replace(podStatus(agentAccount, "node-1", "sallyport-collector"), `,"audiences":["sallyport-collector"]`, "", 1),
	}}
	server := httptest.NewTLSServer(f)
	t.Cleanup(server.Close)
	folder := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, text := range map[string]string{"ca.crt": string(ca), "token": f.own + "\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id.cfg.Kubernetes = []Cluster{{APIServer: server.URL, CAFile: filepath.Join(folder, "ca.crt"), TokenFile: filepath.Join(folder, "token")}}
	if err := id.cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return id, f
}

func TestPodEnrolment(t *testing.T) {
	id, f := cluster(t)
	ctx := t.Context()
	csr := request(t, newKey(t, elliptic.P256()))
	ask := func(token, name string) (string, error) {
		c, err := id.enrol(ctx, rules.EnrolRequest{ServiceAccountToken: token, CSR: csr, Name: name})
		if err != nil {
			return "", err
		}
		return certificateName(c)
	}
	for name, want := range map[string]string{
		"unknown": rules.CodeTokenRefused, "audience": rules.CodeTokenRefused, "account": rules.CodeTokenRefused, "person": rules.CodeTokenRefused,
		"colons": rules.CodeTokenRefused, "no node": rules.CodeTokenRefused, "two nodes": rules.CodeTokenRefused, "no pod": rules.CodeTokenRefused,
		"not in": rules.CodeTokenRefused, "no audence": rules.CodeTokenRefused, "node": rules.CodeNameRefused,
		strings.Repeat("x", maxServiceAccountToken+1): rules.CodeBadRequest,
	} {
		if _, err := ask(name, "node-1"); code(err) != want {
			t.Errorf("token %.20q: %v, want %s", name, err, want)
		}
	}
	if list, err := id.store.Certificates(ctx, ""); err != nil || len(list) != 0 {
		t.Errorf("certificates were issued to those refused: %+v, %v", list, err)
	}
	if name, err := ask("good", "node-1"); err != nil || name != "node-1" {
		t.Fatalf("enrolled %q, %v", name, err)
	}
	if _, err := id.enrol(ctx, rules.EnrolRequest{ServiceAccountToken: "good", CSR: csr, Name: "node-1", Cluster: "other"}); code(err) != rules.CodeTokenRefused {
		t.Errorf("unknown cluster: %v", err)
	}
	if _, err := id.enrol(ctx, rules.EnrolRequest{ServiceAccountToken: "good", CSR: "x", Name: "node-1"}); code(err) != rules.CodeBadRequest {
		t.Errorf("no request: %v", err)
	}
	for _, status := range []int{http.StatusForbidden, http.StatusInternalServerError, http.StatusFound} {
		f.status = status
		if _, err := ask("good", "node-1"); err == nil || code(err) != "" {
			t.Errorf("API server answers %d: %v, want an error of our own", status, err)
		}
	}
	f.status, f.own = 0, "rotated"
	if _, err := ask("good", "node-1"); err == nil || !strings.Contains(err.Error(), "own token") {
		t.Errorf("our token is refused: %v", err)
	}
	if err := os.WriteFile(id.cfg.Kubernetes[0].TokenFile, []byte("rotated"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ask("good", "node-1"); err != nil {
		t.Errorf("our token was rotated: %v", err)
	}
}

// TestPodComesBack has a node lose its state, be revoked, and be readmitted.
func TestPodComesBack(t *testing.T) {
	id, _ := cluster(t)
	ctx := t.Context()
	ask := func() error {
		_, err := id.enrol(ctx, rules.EnrolRequest{ServiceAccountToken: "good", CSR: request(t, newKey(t, elliptic.P256())), Name: "node-1"})
		return err
	}
	for range 3 {
		if err := ask(); err != nil {
			t.Fatalf("with a new key: %v", err)
		}
	}
	if gone, err := id.store.Revoked(ctx, time.Now()); err != nil || len(gone) != 2 {
		t.Errorf("%d certificates were replaced, %v", len(gone), err)
	}
	if _, err := id.RevokeAgent(ctx, "node-1"); err != nil {
		t.Fatal(err)
	}
	if err := ask(); code(err) != rules.CodeRevoked || !strings.Contains(err.Error(), "readmit node-1") {
		t.Errorf("revoked, and back by its pod's token: %v", err)
	}
	if _, err := id.Readmit(ctx, "node-2"); err != nil {
		t.Fatal(err)
	}
	if err := ask(); code(err) != rules.CodeRevoked {
		t.Errorf("another was readmitted: %v", err)
	}
	if _, err := id.Readmit(ctx, "node-1"); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Errorf("readmitted: %v", err)
	}
	if _, err := id.RevokeAgent(ctx, "node-1"); err != nil {
		t.Fatal(err)
	}
	if err := ask(); code(err) != rules.CodeRevoked {
		t.Errorf("a readmission served twice: %v", err)
	}
}

func TestClustersHavePrefixes(t *testing.T) {
	id, f := cluster(t)
	id.cfg.Kubernetes[0].Name, id.cfg.Kubernetes[0].Prefix = "east", "east."
	f.tokens["good"] = podStatus(agentAccount, "node-1", "sallyport-collector")
	csr := request(t, newKey(t, elliptic.P256()))
	if _, err := id.enrol(t.Context(), rules.EnrolRequest{ServiceAccountToken: "good", Cluster: "east", CSR: csr, Name: "node-1"}); code(err) != rules.CodeNameRefused {
		t.Errorf("without the prefix: %v", err)
	}
	if _, err := id.enrol(t.Context(), rules.EnrolRequest{ServiceAccountToken: "good", Cluster: "east", CSR: csr, Name: "east.node-1"}); err != nil {
		t.Errorf("with the prefix: %v", err)
	}
}

func TestClustersAreChecked(t *testing.T) {
	for name, tt := range map[string]struct {
		list []Cluster
		want string
	}{
		"two of a name":      {[]Cluster{{Prefix: "a."}, {Prefix: "b."}}, "twice"},
		"one prefix for two": {[]Cluster{{Name: "a"}, {Name: "b", Prefix: "b."}}, "take over"},
		"plain HTTP":         {[]Cluster{{APIServer: "http://x"}}, "https"},
		"relative file":      {[]Cluster{{CAFile: "x"}}, "absolute"},
		"account":            {[]Cluster{{ServiceAccounts: []string{"agent"}}}, "NAMESPACE/NAME"},
		"prefix":             {[]Cluster{{Prefix: "/"}}, "prefix"},
		"name":               {[]Cluster{{Name: "a b"}}, "letters"},
		"timeout":            {[]Cluster{{Timeout: time.Hour}}, "timeout"},
	} {
		c := DefaultConfig()
		c.Kubernetes = tt.list
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := DefaultConfig()
	c.Kubernetes = []Cluster{{Name: "a", Prefix: "a."}, {Name: "b", Prefix: "b."}}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	t.Setenv(podHostEnv, "")
	if _, err := (Cluster{}).server(); err == nil {
		t.Error("a server outside of every cluster")
	}
	t.Setenv(podHostEnv, "2001:db8::1")
	t.Setenv(podPortEnv, "443")
	if at, err := (Cluster{}).server(); err != nil || at != "https://[2001:db8::1]:443" {
		t.Errorf("in a pod: %q, %v", at, err)
	}
}

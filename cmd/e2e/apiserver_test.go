package e2e

import (
	"bytes"
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
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// peersDir is where collector/identity/testdata/peers/build.sh puts the API server
// and etcd. They take long to build, so that no test asks for them.
const peersDir = "/var/cache/sallyport-peers"

// administrator's token, of the group that RBAC lets do anything.
const administrator = "administrator-of-the-test"

// apiServer is a real Kubernetes API server on a real etcd.
type apiServer struct {
	url    string
	ca     string // path
	client *http.Client
}

func startAPIServer(t *testing.T, s *site) *apiServer {
	t.Helper()
	for _, name := range []string{"kube-apiserver", "etcd"} {
		if _, err := os.Stat(filepath.Join(peersDir, name)); err != nil {
			t.Skipf("%s is absent; collector/identity/testdata/peers/build.sh builds it", filepath.Join(peersDir, name))
		}
	}
	etcd, peer, address := "http://"+freeAddr(t), "http://"+freeAddr(t), freeAddr(t)
	s.launch(t, "etcd", exec.Command(filepath.Join(peersDir, "etcd"), "--data-dir", s.path("etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer))
	a := &apiServer{url: "https://" + address, ca: s.path("api.crt")}
	pool := writeCertificate(t, a.ca, s.path("api.key"))
	s.write(t, "tokens.csv", administrator+`,admin,admin,"system:masters"`+"\n")
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	// Mounting service accounts' tokens into pods wants a controller that is not here.
	// The address that is advertised is nobody's: nothing dials it.
	p := s.launch(t, "kube-apiserver", exec.Command(filepath.Join(peersDir, "kube-apiserver"), "--etcd-servers", etcd, "--bind-address", host, "--secure-port", port,
		"--advertise-address", "198.18.65.1", "--endpoint-reconciler-type", "none",
		"--cert-dir", s.path("certs"), "--tls-cert-file", a.ca, "--tls-private-key-file", s.path("api.key"), "--token-auth-file", s.path("tokens.csv"),
		"--authorization-mode", "Node,RBAC", "--disable-admission-plugins", "ServiceAccount", "--service-cluster-ip-range", "198.18.64.0/24",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", s.path("api.key"), "--service-account-signing-key-file", s.path("api.key")))
	a.client = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	for range 5 { // it takes minutes on a loaded machine
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Second) {
			if status, _ := a.try("GET", "/readyz", nil); status == http.StatusOK {
				return a
			}
			select {
			case err := <-p.done:
				p.done <- err
				t.Fatalf("the API server ended: %v\n%s", err, tail(p.log))
			default:
			}
		}
	}
	t.Fatalf("the API server is not ready\n%s", tail(p.log))
	return nil
}

// writeCertificate makes a self-signed certificate for loopback.
func writeCertificate(t *testing.T, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test API server"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return pool
}

// try asks as the administrator; status 0 is no answer.
func (a *apiServer) try(method, path string, body any) (int, []byte) {
	text, contentType := []byte(nil), "application/json"
	switch v := body.(type) {
	case nil:
	case applied:
		text, contentType = v, "application/apply-patch+yaml"
	default:
		var err error
		if text, err = json.Marshal(v); err != nil {
			return 0, []byte(err.Error())
		}
	}
	req, err := http.NewRequest(method, a.url+path, bytes.NewReader(text))
	if err != nil {
		return 0, []byte(err.Error())
	}
	req.Header.Set("Authorization", "Bearer "+administrator)
	req.Header.Set("Content-Type", contentType)
	res, err := a.client.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return res.StatusCode, answer
}

// do asks and fails the test where the answer is not 2xx.
func (a *apiServer) do(t *testing.T, method, path string, body any) map[string]any {
	t.Helper()
	status, answer := a.try(method, path, body)
	var out map[string]any
	if status/100 != 2 || json.Unmarshal(answer, &out) != nil {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return out
}

// applied is one document of a manifest, for server-side apply.
type applied []byte

// resources are where objects of a kind lie.
var resources = map[string]string{
	"Namespace": "/api/v1/namespaces", "ServiceAccount": "/api/v1/namespaces/sallyport/serviceaccounts", "ConfigMap": "/api/v1/namespaces/sallyport/configmaps",
	"Service": "/api/v1/namespaces/sallyport/services", "DaemonSet": "/apis/apps/v1/namespaces/sallyport/daemonsets", "StatefulSet": "/apis/apps/v1/namespaces/sallyport/statefulsets",
	"ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles", "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}

// apply has the API server take a manifest as kubectl apply --server-side would,
// first as a trial; unknown fields are errors.
func (a *apiServer) apply(t *testing.T, path string) map[string]map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]map[string]any{}
	for _, document := range strings.Split(string(text), "\n---\n") {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		at, ok := resources[o.Kind]
		if !ok {
			t.Fatalf("%s: the test does not know where a %q lies", path, o.Kind)
		}
		for _, trial := range []string{"&dryRun=All", ""} {
			objects[o.Kind] = a.do(t, "PATCH", fmt.Sprintf("%s/%s?fieldManager=test&fieldValidation=Strict%s", at, o.Metadata.Name, trial), applied(document))
		}
	}
	return objects
}

// at reads a path of keys in an object.
func at[T any](t *testing.T, object any, keys ...any) T {
	t.Helper()
	for _, k := range keys {
		switch k := k.(type) {
		case string:
			m, _ := object.(map[string]any)
			object = m[k]
		case int:
			l, _ := object.([]any)
			if k >= len(l) {
				t.Fatalf("%v: there is no element %d", keys, k)
			}
			object = l[k]
		}
	}
	v, ok := object.(T)
	if !ok {
		t.Fatalf("%v is %T %v", keys, object, object)
	}
	return v
}

package deliver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/rules"
)

// pod is a pod's files and the agent's configuration for them.
func pod(t *testing.T, c *fakeCollector) CollectorConfig {
	t.Helper()
	dir := t.TempDir()
	cfg := CollectorConfig{
		IdentityDir: filepath.Join(dir, "identity"), URL: c.server.URL,
		Kubernetes: KubernetesConfig{TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.crt"), Cluster: "east"},
	}
	for path, text := range map[string]string{cfg.Kubernetes.TokenFile: "once\n", cfg.Kubernetes.CAFile: encodePEM("CERTIFICATE", c.ca.Raw)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

func TestPodEnrols(t *testing.T) {
	c := newFakeCollector(t)
	cfg := pod(t, c)
	first, err := EnrolPod(t.Context(), cfg, "node-1")
	if err != nil || first.Name != "node-1" || first.URL != c.server.URL {
		t.Fatalf("identity %+v, %v", first, err)
	}
	if c.asked.ServiceAccountToken != "once" || c.asked.Cluster != "east" || c.asked.Token != "" {
		t.Errorf("asked with %+v", c.asked)
	}
	again, err := EnrolPod(t.Context(), cfg, "node-1")
	if err != nil || again.Certificate != first.Certificate {
		t.Errorf("enrolled again with a good certificate: %v", err)
	}
	if other, err := EnrolPod(t.Context(), cfg, "node-2"); err != nil || other.Name != "node-2" {
		t.Errorf("the state of another node: %v", err)
	}
	if err := os.WriteFile(cfg.Kubernetes.TokenFile, []byte("rotated"), 0o600); err != nil {
		t.Fatal(err)
	}
	var r *refusal
	if _, err := EnrolPod(t.Context(), cfg, "node-1"); !errors.As(err, &r) || r.problem.Code != rules.CodeTokenSpent {
		t.Errorf("the token is read anew each time: %v", err)
	}
}

func TestPodTrustsItsCAAlone(t *testing.T) {
	c, other := newFakeCollector(t), newFakeCollector(t)
	cfg := pod(t, c)
	cfg.URL = other.server.URL
	if _, err := EnrolPod(t.Context(), cfg, "node-1"); err == nil || other.asked.Name != "" {
		t.Errorf("the token went to somebody else: %v", err)
	}
}

// TestPodEnrolsAnewWhenItsCertificateRanOut has the agent be away for longer than
// its certificate lives.
func TestPodEnrolsAnewWhenItsCertificateRanOut(t *testing.T) {
	c := newFakeCollector(t)
	cfg := pod(t, c)
	old, err := EnrolPod(t.Context(), cfg, "node-1")
	if err != nil {
		t.Fatal(err)
	}
	old.pair.Leaf.NotAfter = time.Now().Add(-time.Second)
	d := &collector{o: opening{cfg: Config{Collector: cfg}}}
	fresh, err := d.replacement(t.Context(), caller{}, old)
	if err != nil || !time.Now().Before(fresh.Expires()) {
		t.Fatalf("replaced by %v, %v", fresh, err)
	}
	kept, err := LoadIdentity(cfg.IdentityDir)
	if err != nil || kept.Certificate != fresh.Certificate {
		t.Errorf("kept: %v", err)
	}
}

func TestKubernetesConfigIsChecked(t *testing.T) {
	whole := CollectorConfig{IdentityDir: "/i", URL: "https://c:1", Kubernetes: KubernetesConfig{TokenFile: "/t", CAFile: "/c"}}
	for name, tt := range map[string]struct {
		edit func(*CollectorConfig)
		want string
	}{
		"whole":    {func(*CollectorConfig) {}, ""},
		"no CA":    {func(c *CollectorConfig) { c.Kubernetes.CAFile = "" }, "ca_file"},
		"no token": {func(c *CollectorConfig) { c.Kubernetes.TokenFile = "" }, "token_file"},
		"no URL":   {func(c *CollectorConfig) { c.URL = "" }, "url"},
		"own PKI":  {func(c *CollectorConfig) { c.CertFile, c.KeyFile, c.CAFile = "/a", "/b", "/c" }, "own PKI"},
	} {
		c := whole
		tt.edit(&c)
		err := validateCollector(Config{Collector: c})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sallyport/rules"
)

// maxCredential bounds what is read of a projected token or a CA, in bytes.
const maxCredential = 1 << 20

// KubernetesConfig has an agent in a pod enrol with the service-account token that
// Kubernetes projects into it for the collector's audience. Its name must be that of
// the pod's node, which the collector asks the API server about.
type KubernetesConfig struct {
	TokenFile string `yaml:"token_file"` // of the projected volume; empty: no such enrolment
	CAFile    string `yaml:"ca_file"`    // PEM of the collector's CA ("sallyport-collector ca certificate")
	Cluster   string `yaml:"cluster"`    // as identity.kubernetes of the collector calls it
}

func (c CollectorConfig) validateKubernetes() error {
	k := c.Kubernetes
	switch {
	case k == KubernetesConfig{}:
		return nil
	case k.TokenFile == "" || k.CAFile == "":
		return errors.New("deliver.collector.kubernetes: name token_file and ca_file, or neither")
	case c.URL == "":
		return errors.New("deliver.collector.url is empty: enrolment in Kubernetes needs it")
	case c.CertFile != "":
		return errors.New("deliver.collector: cert_file is of your own PKI, so leave kubernetes out")
	}
	return nil
}

// EnrolPod enrols with the pod's token where there is no identity yet, or one that
// has run out. It gives the identity that is in force.
func EnrolPod(ctx context.Context, c CollectorConfig, name string) (*Identity, error) {
	id, err := LoadIdentity(c.IdentityDir)
	if err == nil && id.Name == name && time.Now().Before(id.Expires()) {
		return id, nil
	}
	if err != nil && !errors.Is(err, ErrNotEnrolled) {
		return nil, err
	}
	return enrolPod(ctx, c, name)
}

// enrolPod reads token and CA anew each time, since the kubelet rotates the one
// and an operator the other.
func enrolPod(ctx context.Context, c CollectorConfig, name string) (*Identity, error) {
	token, err := readCredential(c.Kubernetes.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("enrol: read service-account token: %w", err)
	}
	ca, err := readCredential(c.Kubernetes.CAFile)
	if err != nil {
		return nil, fmt.Errorf("enrol: read the collector's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("enrol: read the collector's CA: no certificate in %s", c.Kubernetes.CAFile)
	}
	id, err := ask(ctx, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}, c.URL, rules.EnrolRequest{
		ServiceAccountToken: strings.TrimSpace(string(token)), Cluster: c.Kubernetes.Cluster, Name: name,
	})
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	return id, keep(ctx, id, c.IdentityDir)
}

func readCredential(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCredential))
}

// replacement asks for the identity to follow an old one: by its own certificate,
// or, where that does not count any more, by the pod's token.
func (c *collector) replacement(ctx context.Context, call caller, old *Identity) (*Identity, error) {
	cc := c.o.cfg.Collector
	if cc.Kubernetes.TokenFile != "" && (time.Now().After(old.Expires()) || c.isRefused()) {
		return enrolPod(ctx, cc, old.Name)
	}
	fresh, err := renew(ctx, call, old)
	if err != nil {
		return nil, err
	}
	return fresh, fresh.save(cc.IdentityDir)
}

// isRefused says whether the collector refuses the certificate.
func (c *collector) isRefused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused != ""
}

// mustReplace says whether the identity is due to be followed by another.
func (c *collector) mustReplace(id *Identity) bool {
	return !time.Now().Before(id.renewAt()) || c.o.cfg.Collector.Kubernetes.TokenFile != "" && c.isRefused()
}

package identity

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Where a pod finds its own credentials, and the API server
// (kubernetes.io, "Accessing the Kubernetes API from a Pod").
const (
	podFolder  = "/var/run/secrets/kubernetes.io/serviceaccount"
	podHostEnv = "KUBERNETES_SERVICE_HOST"
	podPortEnv = "KUBERNETES_SERVICE_PORT"
)

// Cluster is a Kubernetes cluster whose agents enrol with the token of their pod.
// Its API server says whose token it is and on which node the pod runs.
type Cluster struct {
	// Name is what agents call the cluster. Empty: those that name none.
	Name string `yaml:"name"`
	// Audience that the pods' tokens must be for.
	Audience string `yaml:"audience"`
	// ServiceAccounts that agents run as, NAMESPACE/NAME.
	ServiceAccounts []string `yaml:"service_accounts"`
	// Prefix goes before the node's name in the agent's. Agents of several clusters
	// need one each, since an enrolment takes over its name.
	Prefix string `yaml:"prefix"`
	// APIServer is https://HOST:PORT. Empty: the cluster that the collector runs in.
	APIServer string `yaml:"api_server"`
	// CAFile is the PEM file of the API server's CA, TokenFile that of a token that may
	// create tokenreviews. Empty: those of the collector's own pod. Both are read for
	// every enrolment, since they rotate.
	CAFile    string `yaml:"ca_file"`
	TokenFile string `yaml:"token_file"`
	// Timeout of one review.
	Timeout time.Duration `yaml:"timeout"`
}

// Defaults of what a cluster leaves out.
const (
	defaultAudience       = "sallyport-collector"
	defaultServiceAccount = "sallyport/sallyport-agent"
	defaultReviewTimeout  = 10 * time.Second
)

var (
	serviceAccountName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	clusterName        = regexp.MustCompile(`^[A-Za-z0-9._-]{0,63}$`)
)

// withDefaults fills in what was left out.
func (c Cluster) withDefaults() Cluster {
	if c.Audience == "" {
		c.Audience = defaultAudience
	}
	if len(c.ServiceAccounts) == 0 {
		c.ServiceAccounts = []string{defaultServiceAccount}
	}
	if c.CAFile == "" {
		c.CAFile = filepath.Join(podFolder, "ca.crt")
	}
	if c.TokenFile == "" {
		c.TokenFile = filepath.Join(podFolder, "token")
	}
	if c.Timeout == 0 {
		c.Timeout = defaultReviewTimeout
	}
	return c
}

// server is the API server's address.
func (c Cluster) server() (string, error) {
	if c.APIServer != "" {
		return c.APIServer, nil
	}
	host, port := os.Getenv(podHostEnv), os.Getenv(podPortEnv)
	if host == "" || port == "" {
		return "", errors.New("api_server is empty, and the collector runs in no pod")
	}
	return "https://" + net.JoinHostPort(host, port), nil
}

func validateClusters(list []Cluster) error {
	seen := map[string]bool{}
	for _, c := range list {
		at := fmt.Sprintf("identity.kubernetes: cluster %q", c.Name)
		if !clusterName.MatchString(c.Name) {
			return fmt.Errorf("%s: a name has up to 63 letters, digits or . _ -", at)
		}
		if seen[c.Name] {
			return fmt.Errorf("%s is there twice", at)
		}
		seen[c.Name] = true
		if err := c.validate(); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		for _, other := range list {
			if other.Name != c.Name && strings.HasPrefix(c.Prefix, other.Prefix) {
				return fmt.Errorf("%s: its prefix %q begins with %q, that of cluster %q, which could take over its agents' names", at, c.Prefix, other.Prefix, other.Name)
			}
		}
	}
	return nil
}

func (c Cluster) validate() error {
	for _, s := range c.ServiceAccounts {
		if !serviceAccountName.MatchString(s) {
			return fmt.Errorf("service account %q; give NAMESPACE/NAME", s)
		}
	}
	if c.Prefix != "" && !ValidName(c.Prefix+"x") {
		return fmt.Errorf("prefix %q cannot begin an agent's name: letters, digits, . _ - only", c.Prefix)
	}
	if c.APIServer != "" {
		if u, err := url.Parse(c.APIServer); err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("api_server is %q; give https://HOST:PORT", c.APIServer)
		}
	}
	for what, path := range map[string]string{"ca_file": c.CAFile, "token_file": c.TokenFile} {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("%s is %q; give an absolute path", what, path)
		}
	}
	if c.Timeout < 0 || c.Timeout > time.Minute {
		return errors.New("timeout must be at most 1m")
	}
	return nil
}

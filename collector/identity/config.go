package identity

import (
	"errors"
	"fmt"
	"time"
)

// Config says how agents prove who they are.
type Config struct {
	// Folder of ca.crt and ca.key. Empty: "ca" in the state folder. Collectors that
	// are one share it (docs/cluster.md).
	Folder string `yaml:"folder"`
	// ClientCA is a PEM file of your own PKI. Its certificates are taken too; the
	// agent's name is the URI sallyport://agent/NAME or else the common name.
	ClientCA string `yaml:"client_ca"`
	// ClientCRL is a file of that PKI's revocation lists, PEM or DER. It is looked at
	// every RevocationPoll.
	ClientCRL string `yaml:"client_crl"`
	// CertificateLife is how long an agent's certificate is valid. Agents renew
	// theirs well before.
	CertificateLife time.Duration `yaml:"certificate_life"`
	// ServerLife is the same for the collector's own.
	ServerLife time.Duration `yaml:"server_life"`
	// Names are the DNS names and addresses that agents and people reach the
	// collector by. The host's name and loopback are always among them.
	Names []string `yaml:"names"`
	// EnrolPerSecond bounds enrolments, so that tokens cannot be guessed at speed;
	// EnrolPerAddress those from one address, so that nobody keeps others out.
	EnrolPerSecond  float64 `yaml:"enrol_per_second"`
	EnrolPerAddress float64 `yaml:"enrol_per_second_address"`
	// RequestsPerSecond bounds the requests of one agent; short bursts may be twice
	// that.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	// RevocationPoll is how often revocations, and changes of the CA, made on
	// another collector are looked for.
	RevocationPoll time.Duration `yaml:"revocation_poll"`
	// Kubernetes lists the clusters whose agents enrol with their pod's token.
	Kubernetes []Cluster `yaml:"kubernetes"`
}

// DefaultConfig gives agents certificates for a week.
func DefaultConfig() Config {
	return Config{
		CertificateLife: 7 * 24 * time.Hour,
		ServerLife:      90 * 24 * time.Hour,
		EnrolPerSecond:  20,
		EnrolPerAddress: 5,

		RequestsPerSecond: 200,
		RevocationPoll:    2 * time.Second,
		Kubernetes:        []Cluster{},
	}
}

// Validate checks the settings.
func (c Config) Validate() error {
	switch {
	case c.CertificateLife < 5*time.Minute || c.CertificateLife > 366*24*time.Hour:
		return errors.New("identity.certificate_life must lie between 5m and 8784h")
	case c.ServerLife < time.Hour || c.ServerLife > 398*24*time.Hour:
		return errors.New("identity.server_life must lie between 1h and 9552h; browsers refuse longer")
	case c.ClientCRL != "" && c.ClientCA == "":
		return errors.New("identity.client_crl is of identity.client_ca, which is empty")
	case c.EnrolPerSecond <= 0 || c.EnrolPerAddress <= 0:
		return errors.New("identity.enrol_per_second and identity.enrol_per_second_address must be more than 0")
	case c.RequestsPerSecond <= 0:
		return errors.New("identity.requests_per_second must be more than 0")
	case c.RevocationPoll < 100*time.Millisecond || c.RevocationPoll > 4*time.Second:
		return fmt.Errorf("identity.revocation_poll is %s; a revocation must cut connections within 5 s, so give 100ms to 4s", c.RevocationPoll)
	}
	return validateClusters(c.Kubernetes)
}

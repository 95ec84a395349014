package stream

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Config says where the stream is and how much it holds.
type Config struct {
	// URL of an existing NATS cluster ("nats://a:4222,nats://b:4222", or
	// "tls://..."). Empty: a server embedded in the collector, without a listener.
	URL string `yaml:"url"`
	// Name of the stream. Collectors that share a cluster share the name.
	Name string `yaml:"name"`
	// Credentials is a NATS credentials file, for a cluster.
	Credentials string `yaml:"credentials"`
	// CA, Certificate and Key are PEM files for TLS to a cluster.
	CA          string `yaml:"ca"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// Replicas of each entry, on a cluster.
	Replicas int `yaml:"replicas"`
	// MaxBytes bounds the stream. When four fifths are used, what the store has is
	// trimmed; when it is full all the same, agents are asked to wait.
	MaxBytes int64 `yaml:"max_bytes"`
	// Keep is how long an entry stays for slow exporters. The store's own entries
	// are never trimmed before it has them.
	Keep time.Duration `yaml:"keep"`
	// Reserve is how many bytes of the state folder's file system must be free;
	// below that the embedded stream takes nothing.
	Reserve int64 `yaml:"reserve"`
	// Duplicates is how long a message id is remembered.
	Duplicates time.Duration `yaml:"duplicates"`
	// AppendTimeout bounds the wait for the stream to have a batch.
	AppendTimeout time.Duration `yaml:"append_timeout"`
}

// DefaultConfig is the embedded stream.
func DefaultConfig() Config {
	return Config{
		Name:          "SALLYPORT",
		Replicas:      1,
		MaxBytes:      4 << 30,
		Keep:          7 * 24 * time.Hour,
		Reserve:       64 << 20,
		Duplicates:    10 * time.Minute,
		AppendTimeout: 10 * time.Second,
	}
}

// Validate checks the settings.
func (c Config) Validate() error {
	switch {
	case c.Name == "" || strings.ContainsAny(c.Name, " .*>/\\\t"):
		return fmt.Errorf("stream.name %q must be one word without . * > or slashes", c.Name)
	case c.MaxBytes < 1<<20:
		return fmt.Errorf("stream.max_bytes is %d; give at least 1048576", c.MaxBytes)
	case c.Reserve < 0:
		return errors.New("stream.reserve must not be negative")
	case c.Replicas < 1 || c.Replicas > 5:
		return fmt.Errorf("stream.replicas is %d; give 1 to 5", c.Replicas)
	case c.Replicas > 1 && c.URL == "":
		return errors.New("stream.replicas needs a cluster; set stream.url")
	case c.Keep < time.Minute:
		return errors.New("stream.keep must be at least 1m")
	case c.Duplicates < time.Second || c.Duplicates > c.Keep:
		return errors.New("stream.duplicates must lie between 1s and stream.keep")
	case c.AppendTimeout < time.Second:
		return errors.New("stream.append_timeout must be at least 1s")
	case c.URL == "" && (c.Credentials != "" || c.CA != "" || c.Certificate != ""):
		return errors.New("stream.credentials, ca and certificate need stream.url")
	case (c.Certificate == "") != (c.Key == ""):
		return errors.New("stream.certificate and stream.key go together")
	}
	return nil
}

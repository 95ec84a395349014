package export

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// tlsSettings say whom to trust and who we are. There is no switch that turns
// verification off: name the receiver's CA.
type tlsSettings struct {
	// CA is a PEM file of the CAs that the receiver's certificate may come from.
	// Empty: the system's.
	CA string `yaml:"ca"`
	// Certificate and Key are PEM files of a client certificate. They are read for
	// each connection, so that a renewed one is used.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// ServerName is the name the receiver's certificate must bear, where it is not
	// the one it is reached by.
	ServerName string `yaml:"server_name"`
}

func (t tlsSettings) validate() error {
	if (t.Certificate == "") != (t.Key == "") {
		return errors.New("settings.tls: give certificate and key, or neither")
	}
	return errors.Join(absolute("settings.tls.ca", t.CA), absolute("settings.tls.certificate", t.Certificate), absolute("settings.tls.key", t.Key))
}

// config reads the CA. Receivers that lack TLS 1.3 are still common.
func (t tlsSettings) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read CA: %s holds no PEM certificate", t.CA)
		}
	}
	if t.Certificate != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
			if err != nil {
				return nil, fmt.Errorf("read client certificate: %w", err)
			}
			return &pair, nil
		}
	}
	return c, nil
}

// dial connects over TLS.
func (t tlsSettings) dial(ctx context.Context, address string) (*tls.Conn, error) {
	c, err := t.config()
	if err != nil {
		return nil, err
	}
	conn, err := (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil
}

// absolute checks the path of a file; "" is none.
func absolute(name, path string) error {
	if path != "" && !filepath.IsAbs(path) {
		return fmt.Errorf("%s is %q; give an absolute path", name, path)
	}
	return nil
}

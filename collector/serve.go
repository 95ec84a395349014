package collector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/admin"
	"sallyport/rules"
)

// server is an HTTP server and its listener.
type server struct {
	name     string
	http     *http.Server
	listener net.Listener
}

func (s server) serve() error {
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", s.name, err)
}

// shutdown lets requests end, then closes what is left.
func (s server) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close() // an error means that it is closed already
	}
}

// listen opens every listener before any serves, so that an address in use is
// found at once.
func (c *Collector) listen() (list []server, at Addresses, err error) {
	defer func() {
		if err != nil {
			for _, s := range list {
				err = errors.Join(err, s.listener.Close())
			}
		}
	}()
	peopleTLS, err := c.peopleTLS()
	if err != nil {
		return nil, at, err
	}
	people, err := c.peopleHandler()
	if err != nil {
		return nil, at, err
	}
	for _, x := range []struct {
		name, address string
		tls           *tls.Config
		handler       http.Handler
		bound         *net.Addr
	}{
		{"agents", c.cfg.Listen.Agents, c.identity.TLS(), c.agentHandler(), &at.Agents},
		{"people", c.cfg.Listen.People, peopleTLS, people, &at.People},
		{"health", c.cfg.Listen.Health, nil, c.healthHandler(), &at.Health},
	} {
		l, err := net.Listen("tcp", x.address)
		if err != nil {
			return list, at, fmt.Errorf("listen for %s: %w", x.name, err)
		}
		*x.bound = l.Addr()
		s := server{x.name, newServer(x.handler, c.logger.Named("http")), l}
		s.http.TLSConfig = x.tls
		if x.name == "people" {
			s.http.RegisterOnShutdown(c.api.Close)
		}
		if x.name == "agents" {
			s.http.ConnContext = c.identity.ConnContext
			s.listener = limitListener(l, c.cfg.Listen.Connections)
		}
		list = append(list, s)
	}
	l, err := admin.Listen(c.cfg.Socket())
	if err != nil {
		return list, at, err
	}
	s := server{"admin socket", newServer(c.adminServer().Handler(), c.logger.Named("http")), l}
	s.http.WriteTimeout = 0 // a backup takes its time
	return append(list, s), at, nil
}

func newServer(h http.Handler, logger hclog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		WriteTimeout:      3 * time.Minute,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

// peopleTLS is how the console and the API speak.
func (c *Collector) peopleTLS() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: c.identity.Certificate, NextProtos: []string{"h2", "http/1.1"}}
	if c.cfg.Listen.PeopleCertificate == "" {
		return cfg, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cfg.Listen.PeopleCertificate, c.cfg.Listen.PeopleKey)
	if err != nil {
		return nil, fmt.Errorf("read listen.people_certificate: %w", err)
	}
	cfg.GetCertificate = nil
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

func (c *Collector) agentRoutes(mux *http.ServeMux) {
	mux.HandleFunc(rules.PathFindings, c.ingest.Findings)
	mux.HandleFunc(rules.PathHeartbeat, c.ingest.Heartbeat)
	mux.HandleFunc(rules.PathEnrol, c.identity.Enrol)
	mux.HandleFunc(rules.PathRenew, c.identity.Renew)
	mux.HandleFunc("GET "+rules.PathPackRoot, c.packs.Root(c.identity.Agent))
	mux.HandleFunc("GET "+rules.PathPacks, c.packs.Offers(c.identity.Agent))
	mux.HandleFunc("GET "+rules.PathPacks+"/{name}", c.packs.Archive(c.identity.Agent))
}

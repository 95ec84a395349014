// Package enrich adds to an observation what the host and the databases know:
// the process and its parents, the container, and where the remote is. One file
// an enricher; the list in New is the whole registry.
package enrich

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// Config is what enrichers need to know.
type Config struct {
	Passwd string      `yaml:"passwd"` // where user names are looked up
	GeoIP  GeoIPConfig `yaml:"geoip"`
}

// DefaultConfig names the host's users and no GeoIP database.
func DefaultConfig() Config { return Config{Passwd: "/etc/passwd"} }

// Validate says what is wrong and what to write instead.
func (c Config) Validate() error { return c.GeoIP.validate() }

// ProcessSource knows processes; every sensor.Sensor does.
type ProcessSource interface {
	Process(sensor.ProcessRef) (sensor.Process, bool)
}

// enricher adds what it knows. It must be quick and safe for use by several
// goroutines.
type enricher interface {
	enrich(o *rules.Observation, owner sensor.OwnerRef)
}

// Enricher runs every enricher over an observation.
type Enricher struct {
	list  []enricher
	geoip *geoIP
}

// New makes an Enricher. source may be nil: a capture file has no processes.
func New(cfg Config, source ProcessSource, log hclog.Logger) *Enricher {
	geo := newGeoIP(cfg.GeoIP, log.Named("enrich"))
	return &Enricher{geoip: geo, list: []enricher{
		newProcess(source, cfg.Passwd),
		container{source},
		geo,
	}}
}

// Open reads the databases. One that is missing or broken is an error here, and
// only a warning later.
func (e *Enricher) Open() error {
	if err := e.geoip.refresh(); err != nil {
		return fmt.Errorf("open geoip: %w", err)
	}
	return nil
}

// Run takes over databases that change until ctx ends.
func (e *Enricher) Run(ctx context.Context) error { return e.geoip.run(ctx) }

// Enrich fills Owner and Geo.
func (e *Enricher) Enrich(o *rules.Observation, owner sensor.OwnerRef) {
	for _, one := range e.list {
		one.enrich(o, owner)
	}
}

// Prefixes gives the prefixes that the ASN database holds for the given numbers,
// for indicators of type asn. It walks the whole database: seconds, not for a hot path.
func (e *Enricher) Prefixes(asns []uint32) ([]netip.Prefix, error) {
	path := e.geoip.asnPath()
	if path == "" {
		return nil, errors.New("list prefixes of ASNs: no ASN database is configured: set enrich.geoip.asn")
	}
	found, _, err := ASNPrefixes(path, asns)
	var out []netip.Prefix
	for _, list := range found {
		out = append(out, list...)
	}
	return out, err
}

// ASNChanged is told when Run has taken over another ASN database: what was
// derived from the old one is to be derived again.
func (e *Enricher) ASNChanged() <-chan struct{} { return e.geoip.changed }

// Close releases the databases.
func (e *Enricher) Close() error { return e.geoip.close() }

package enrich

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/oschwald/geoip2-golang/v2"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// geoCheck is how often the files are looked at.
const geoCheck = 30 * time.Second

// GeoIPConfig names MaxMind databases; an empty path leaves one out. City holds
// the country too. A file may be replaced at any time, by renaming a new one
// over it as geoipupdate does.
type GeoIPConfig struct {
	City    string `yaml:"city"`
	Country string `yaml:"country"`
	ASN     string `yaml:"asn"`
}

func (c GeoIPConfig) validate() error {
	for _, path := range []string{c.City, c.Country, c.ASN} {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("enrich.geoip: %q is not an absolute path", path)
		}
	}
	if c.City != "" && c.Country != "" {
		return errors.New("enrich.geoip: city and country are both named: city holds the country, leave country out")
	}
	return nil
}

// database is one open file.
type database struct {
	path   string
	what   string // "City", "Country", "ASN": a part of the database's type
	reader *geoip2.Reader
	size   int64
	time   time.Time
}

// geoIP says where the remote is.
type geoIP struct {
	log     hclog.Logger
	changed chan struct{} // told of a new ASN database

	mu        sync.RWMutex // a reader is a mapped file: it must not close under a look-up
	databases []*database
}

func newGeoIP(cfg GeoIPConfig, log hclog.Logger) *geoIP {
	g := &geoIP{log: log, changed: make(chan struct{}, 1)}
	for _, d := range []*database{{path: cfg.City, what: "City"}, {path: cfg.Country, what: "Country"}, {path: cfg.ASN, what: "ASN"}} {
		if d.path != "" {
			g.databases = append(g.databases, d)
		}
	}
	return g
}

func (g *geoIP) run(ctx context.Context) error {
	t := time.NewTicker(geoCheck)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := g.refresh(); err != nil {
				g.log.Warn("the geoip database cannot be taken over; the old one stays", "error", err)
			}
		}
	}
}

// refresh opens every file that is new or has changed. A broken one leaves the
// old one in place.
func (g *geoIP) refresh() error {
	var all []error
	for _, d := range g.databases {
		info, err := os.Stat(d.path)
		if err != nil {
			all = append(all, err)
			continue
		}
		if d.reader != nil && info.Size() == d.size && info.ModTime().Equal(d.time) {
			continue
		}
		fresh, err := openDatabase(d)
		if err != nil {
			all = append(all, err)
			continue
		}
		g.mu.Lock()
		old := d.reader
		d.reader, d.size, d.time = fresh, info.Size(), info.ModTime()
		g.mu.Unlock()
		if old == nil {
			continue
		}
		old.Close()
		g.log.Info("geoip database taken over", "path", d.path)
		if d.what == "ASN" {
			select {
			case g.changed <- struct{}{}:
			default: // whoever looks has not looked yet
			}
		}
	}
	return errors.Join(all...)
}

// openDatabase opens the file and tries it, so that a database of another kind
// is refused now and not at the first look-up.
func openDatabase(d *database) (*geoip2.Reader, error) {
	r, err := geoip2.Open(d.path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path, err)
	}
	probe := netip.IPv4Unspecified()
	switch d.what {
	case "City":
		_, err = r.City(probe)
	case "Country":
		_, err = r.Country(probe)
	default:
		_, err = r.ASN(probe)
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("%s is not a %s database: %w", d.path, d.what, err)
	}
	return r, nil
}

func (g *geoIP) enrich(o *rules.Observation, _ sensor.OwnerRef) {
	addr := o.Remote.Addr.Unmap()
	if o.Hidden != nil && o.Hidden.Addr.IsValid() {
		addr = o.Hidden.Addr.Unmap() // where the flow truly goes
	}
	if !addr.IsValid() || len(g.databases) == 0 {
		return
	}
	var geo rules.Geo
	g.mu.RLock()
	for _, d := range g.databases {
		if d.reader != nil {
			d.look(addr, &geo)
		}
	}
	g.mu.RUnlock()
	if geo != (rules.Geo{}) {
		o.Geo = &geo
	}
}

// look adds what one database says. An address it does not know, or a broken
// record, adds nothing.
func (d *database) look(addr netip.Addr, geo *rules.Geo) {
	switch d.what {
	case "City":
		if r, err := d.reader.City(addr); err == nil {
			geo.Country, geo.City = r.Country.ISOCode, r.City.Names.English
		}
	case "Country":
		if r, err := d.reader.Country(addr); err == nil {
			geo.Country = r.Country.ISOCode
		}
	case "ASN":
		if r, err := d.reader.ASN(addr); err == nil {
			geo.ASN, geo.Organisation = uint32(r.AutonomousSystemNumber), r.AutonomousSystemOrganization
		}
	}
}

// asnPath is where the ASN database is, or nothing.
func (g *geoIP) asnPath() string {
	i := slices.IndexFunc(g.databases, func(d *database) bool { return d.what == "ASN" })
	if i < 0 {
		return ""
	}
	return g.databases[i].path
}

func (g *geoIP) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []error
	for _, d := range g.databases {
		if d.reader != nil {
			all = append(all, d.reader.Close())
			d.reader = nil
		}
	}
	return errors.Join(all...)
}

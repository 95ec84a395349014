package collector

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/hashicorp/go-hclog"

	"sallyport/collector/account"
	"sallyport/collector/api"
	"sallyport/collector/export"
	"sallyport/collector/feeds"
	"sallyport/collector/fleet"
	"sallyport/collector/identity"
	"sallyport/collector/ingest"
	"sallyport/collector/packs"
	"sallyport/collector/record"
	"sallyport/collector/reports"
	"sallyport/collector/store"
	"sallyport/collector/stream"
)

// Config is the collector's configuration; each part is documented where it is
// defined.
type Config struct {
	// State is the folder of the CA, the embedded stream and the SQLite store.
	State string `yaml:"state_dir"`
	// URL is where agents reach this collector, or the balancer before it; it goes
	// into enrolment tokens.
	URL       string          `yaml:"url"`
	Log       Log             `yaml:"log"`
	Listen    Listen          `yaml:"listen"`
	Identity  identity.Config `yaml:"identity"`
	Ingest    ingest.Config   `yaml:"ingest"`
	Stream    stream.Config   `yaml:"stream"`
	Store     store.Config    `yaml:"store"`
	Fleet     fleet.Config    `yaml:"fleet"`
	Record    record.Config   `yaml:"record"`
	Reports   reports.Config  `yaml:"reports"`
	Packs     packs.Config    `yaml:"packs"`
	Feeds     feeds.Config    `yaml:"feeds"`
	Account   account.Config  `yaml:"account"`
	API       api.Config      `yaml:"api"`
	Exporters []export.Config `yaml:"exporters"`
}

// Log says how much is logged, and how.
type Log struct {
	Level string `yaml:"level"` // trace, debug, info, warn or error
	JSON  bool   `yaml:"json"`
}

// Listen says where the collector listens.
type Listen struct {
	// Agents is for agents, with client certificates.
	Agents string `yaml:"agents"`
	// People is for the console and the API.
	People string `yaml:"people"`
	// PeopleCertificate and PeopleKey are PEM files for People. Empty: a
	// certificate of the collector's own CA.
	PeopleCertificate string `yaml:"people_certificate"`
	PeopleKey         string `yaml:"people_key"`
	// Health is for health and metrics, without TLS; loopback only.
	Health string `yaml:"health"`
	// Connections bounds the connections of agents.
	Connections int `yaml:"connections"`
}

// DefaultConfig serves one machine: embedded stream, SQLite, no exporters.
func DefaultConfig() Config {
	return Config{
		State:    "/var/lib/sallyport-collector",
		Log:      Log{Level: "info"},
		Listen:   Listen{Agents: ":8443", People: "127.0.0.1:8444", Health: "127.0.0.1:8445", Connections: 20000},
		Identity: identity.DefaultConfig(),
		Ingest:   ingest.DefaultConfig(),
		Stream:   stream.DefaultConfig(),
		Store:    store.DefaultConfig(),
		Fleet:    fleet.DefaultConfig(),
		Record:   record.DefaultConfig(),
		Reports:  reports.DefaultConfig(),
		Packs:    packs.DefaultConfig(),
		Feeds:    feeds.DefaultConfig(),
		Account:  account.DefaultConfig(),
		API:      api.DefaultConfig(),
	}
}

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 1 << 20

// LoadConfig reads a file over the defaults. Unknown keys are refused.
func LoadConfig(path string) (Config, error) {
	cfg := DefaultConfig()
	st, err := os.Stat(path)
	if err != nil {
		return cfg, fmt.Errorf("read configuration: %w", err)
	}
	if st.Size() > maxConfig {
		return cfg, fmt.Errorf("read configuration: %s is larger than %d bytes", path, maxConfig)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return cfg, fmt.Errorf("read configuration: %w", err)
	}
	if len(bytes.TrimSpace(text)) > 0 {
		if err := yaml.UnmarshalWithOptions(text, &cfg, yaml.Strict()); err != nil {
			return cfg, fmt.Errorf("read configuration %s: %s", path, strings.TrimSpace(yaml.FormatError(err, false, true)))
		}
	}
	if err := cfg.Validate(); err != nil {
		return cfg, fmt.Errorf("check configuration %s: %w", path, err)
	}
	return cfg, nil
}

// Validate checks all parts.
func (c Config) Validate() error {
	if !filepath.IsAbs(c.State) {
		return fmt.Errorf("state_dir is %q; give an absolute path", c.State)
	}
	if hclog.LevelFromString(c.Log.Level) == hclog.NoLevel {
		return fmt.Errorf("log.level is %q; give trace, debug, info, warn or error", c.Log.Level)
	}
	if c.URL != "" {
		if u, err := url.Parse(c.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("url is %q; give https://HOST:PORT as agents reach the collector", c.URL)
		}
	}
	for _, err := range []error{
		c.Listen.validate(), c.Identity.Validate(), c.Ingest.Validate(), c.Stream.Validate(),
		c.Store.Validate(), c.Fleet.Validate(), c.Record.Validate(), c.Reports.Validate(), c.Account.Validate(), c.API.Validate(), export.ValidateAll(c.Exporters),
		c.Packs.Validate(), c.Feeds.Validate(), c.feedsHavePacks(),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// feedsHavePacks says that what feeds make can be offered.
func (c Config) feedsHavePacks() error {
	for _, s := range c.Feeds.Sources {
		if c.Packs.Root == "" {
			return errors.New("packs.root is empty; the packs of feeds.sources are offered only where they verify under it")
		}
		if s.Group != "" && !c.Packs.Known(s.Group) {
			return fmt.Errorf("feeds.sources: %q: no group %q in packs.groups", s.Name, s.Group)
		}
	}
	return nil
}

func (l Listen) validate() error {
	for _, x := range [][2]string{{"agents", l.Agents}, {"people", l.People}, {"health", l.Health}} {
		if _, _, err := net.SplitHostPort(x[1]); err != nil {
			return fmt.Errorf("listen.%s is %q; give HOST:PORT or :PORT", x[0], x[1])
		}
	}
	host, _, _ := net.SplitHostPort(l.Health)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("listen.health is %q; it has no authentication, so give an address of loopback", l.Health)
	}
	if (l.PeopleCertificate == "") != (l.PeopleKey == "") {
		return errors.New("listen.people_certificate and listen.people_key go together")
	}
	if l.Connections < 1 {
		return errors.New("listen.connections must be at least 1")
	}
	return nil
}

// Socket is the path of the admin socket.
func (c Config) Socket() string { return filepath.Join(c.State, "admin.sock") }

// agentURL is where agents reach the collector.
func (c Config) agentURL() string {
	if c.URL != "" {
		return c.URL
	}
	host, port, _ := net.SplitHostPort(c.Listen.Agents)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return "https://" + net.JoinHostPort(host, port)
}

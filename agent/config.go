package agent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"sallyport/agent/deliver"
	"sallyport/agent/enrich"
	"sallyport/agent/flow"
	"sallyport/agent/flowlog"
	"sallyport/agent/history"
	"sallyport/agent/hostevidence"
	"sallyport/agent/ledger"
	"sallyport/agent/naming"
	"sallyport/agent/sensor"
)

// hostEnv overrides host, for manifests that know the node's name.
const hostEnv = "SALLYPORT_HOST"

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 1 << 20

// Config is the agent's whole configuration. deploy/agent.yaml is the full
// commented example. Paths of the parts that are left empty lie in StateDir.
type Config struct {
	Host      string          `yaml:"host"`      // the name findings go out under; empty: the host's own name
	StateDir  string          `yaml:"state_dir"` // spool, ledger, history, identity, control socket
	LogLevel  string          `yaml:"log_level"` // error, warn, info, debug, trace
	LogJSON   bool            `yaml:"log_json"`
	Metrics   string          `yaml:"metrics"` // loopback address of /metrics and /healthz; empty: none
	Enrolment EnrolmentConfig `yaml:"enrolment"`
	Sensor    SensorConfig    `yaml:"sensor"`
	Flow      flow.Config     `yaml:"flow"`
	Naming    naming.Config   `yaml:"naming"`
	Enrich    enrich.Config   `yaml:"enrich"`
	Rules     RulesConfig     `yaml:"rules"`
	History   history.Config  `yaml:"history"`
	Ledger    ledger.Config   `yaml:"ledger"`
	Deliver   deliver.Config  `yaml:"deliver"`
	FlowLog   flowlog.Config  `yaml:"flow_log"`
}

// EnrolmentConfig lets an agent without an identity enrol itself when it starts,
// as in a DaemonSet. "sallyport enrol" does the same by hand.
type EnrolmentConfig struct {
	TokenFile string `yaml:"token_file"`
}

// SensorConfig is the live sources.
type SensorConfig struct {
	Socket sensor.SocketConfig `yaml:"socket"`
	Link   sensor.LinkConfig   `yaml:"link"`
	// Tunnel is the watch of the tunnels that the kernel carries.
	Tunnel hostevidence.KernelConfig `yaml:"tunnel"`
}

// DefaultConfig delivers to a file on the host.
func DefaultConfig() Config {
	return Config{
		StateDir: "/var/lib/sallyport",
		LogLevel: "info",
		Metrics:  "127.0.0.1:9477",
		Sensor: SensorConfig{
			Socket: sensor.DefaultSocketConfig(),
			Link:   sensor.DefaultLinkConfig(),
			Tunnel: hostevidence.DefaultKernelConfig(),
		},
		Flow:    flow.DefaultConfig(),
		Naming:  naming.DefaultConfig(),
		Enrich:  enrich.DefaultConfig(),
		Rules:   DefaultRulesConfig(),
		History: history.DefaultConfig(),
		Ledger:  ledger.DefaultConfig(),
		Deliver: deliver.DefaultConfig(),
		FlowLog: flowlog.DefaultConfig(),
	}
}

// LoadConfig reads a file over the defaults. An empty path gives the defaults.
// Errors show the line.
func LoadConfig(path string) (Config, error) {
	c := DefaultConfig()
	c.Deliver.Dir, c.Deliver.Collector.IdentityDir, c.Deliver.File.Path = "", "", ""
	c.Ledger.Path, c.History.Path = "", ""
	if path != "" {
		if err := c.read(path); err != nil {
			return Config{}, err
		}
	}
	if err := c.complete(); err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", orDefaults(path), err)
	}
	return c, nil
}

func orDefaults(path string) string {
	if path == "" {
		return "default configuration"
	}
	return path
}

func (c *Config) read(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if st.Size() > maxConfig {
		return fmt.Errorf("read configuration: %s has %d bytes; %d are the most", path, st.Size(), maxConfig)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(data, c, yaml.Strict()); err != nil {
		return fmt.Errorf("%s: %s\n(deploy/agent.yaml shows every setting)", path, yaml.FormatError(err, false, true))
	}
	return nil
}

// complete fills what depends on the host and the state folder.
func (c *Config) complete() error {
	if name := os.Getenv(hostEnv); name != "" {
		c.Host = name
	}
	if c.Host == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("read the host's name: %w", err)
		}
		c.Host = name
	}
	for path, name := range map[*string]string{
		&c.Deliver.Dir:                   "spool",
		&c.Deliver.Collector.IdentityDir: "identity",
		&c.Deliver.File.Path:             "findings.jsonl",
		&c.Ledger.Path:                   "ledger.db",
		&c.History.Path:                  "history.db",
	} {
		if *path == "" {
			*path = filepath.Join(c.StateDir, name)
		}
	}
	return nil
}

// Validate says what is wrong and what to write instead.
func (c *Config) Validate() error {
	if !filepath.IsAbs(c.StateDir) {
		return fmt.Errorf("state_dir is %q: name an absolute path", c.StateDir)
	}
	if err := loopbackOnly(c.Metrics); err != nil {
		return err
	}
	for _, part := range []interface{ Validate() error }{
		c.Sensor.Socket, c.Sensor.Link, c.Sensor.Tunnel, c.Flow, c.Naming, c.Enrich, c.Rules, c.History, c.Ledger, c.Deliver, c.FlowLog,
	} {
		if err := part.Validate(); err != nil {
			return err
		}
	}
	return nil
}

func loopbackOnly(address string) error {
	if address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("metrics is %q: write it as 127.0.0.1:9477", address)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return errors.New("metrics must be a loopback address: nothing else may listen without authentication")
	}
	return nil
}

// Effective is the configuration in force as YAML. It holds paths of secrets,
// never a secret.
func (c *Config) Effective() (string, error) {
	out, err := yaml.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("print configuration: %w", err)
	}
	return string(out), nil
}

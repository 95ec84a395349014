package export

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"sallyport/collector/store"
	"sallyport/rules"
)

// Config is one exporter. Several may have the same type.
type Config struct {
	// Name of the exporter; its position in the stream is kept under it.
	Name string `yaml:"name"`
	// Type is one of the exporters there are, as docs/exporters.md lists them.
	Type string `yaml:"type"`
	// Format of what is sent.
	Format string `yaml:"format"`
	// Filter selects what is sent. Empty sends everything.
	Filter Filter `yaml:"filter"`
	// Batch is how many findings are sent at once at most.
	Batch int `yaml:"batch"`
	// Timeout bounds one attempt to send a batch.
	Timeout time.Duration `yaml:"timeout"`
	// Settings are the type's own.
	Settings Settings `yaml:"settings"`
}

// Filter selects findings; every field that is set must agree.
type Filter struct {
	// Severity is the least that is sent.
	Severity rules.Severity `yaml:"severity"`
	// Entities, by id: one of them must be matched.
	Entities []string `yaml:"entities"`
	// Rules, by id.
	Rules []string `yaml:"rules"`
	// Test sends the findings of self-tests too.
	Test bool `yaml:"test"`
	// Suppressed sends findings that an allow-list silenced too.
	Suppressed bool `yaml:"suppressed"`
	// WithoutEvidence leaves the packets out.
	WithoutEvidence bool `yaml:"without_evidence"`
}

// Settings are a part of the configuration that the exporter's type reads itself.
type Settings struct{ node ast.Node }

// UnmarshalYAML keeps the node, whose errors then still name the line.
func (s *Settings) UnmarshalYAML(node ast.Node) error {
	s.node = node
	return nil
}

// read decodes the settings strictly into v, which holds the defaults.
func (s Settings) read(v any) error {
	if s.node == nil {
		return nil
	}
	if err := yaml.NodeToValue(s.node, v, yaml.Strict()); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	return nil
}

// DefaultConfig is what an exporter that says nothing else gets.
func DefaultConfig() Config {
	return Config{Format: "json", Batch: 200, Timeout: time.Minute}
}

// UnmarshalYAML puts the defaults under what is written.
func (c *Config) UnmarshalYAML(node ast.Node) error {
	type plain Config
	p := plain(DefaultConfig())
	if err := yaml.NodeToValue(node, &p, yaml.Strict()); err != nil {
		return err
	}
	*c = Config(p)
	return nil
}

var exporterName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// Validate checks one exporter's settings, those of its type among them.
func (c Config) Validate() error {
	switch {
	case !exporterName.MatchString(c.Name):
		return fmt.Errorf("exporter name %q must be lower-case letters, digits, _ and -", c.Name)
	case c.Batch < 1 || c.Batch > 10000:
		return fmt.Errorf("exporter %s: batch is %d; give 1 to 10000", c.Name, c.Batch)
	case c.Timeout < time.Second:
		return fmt.Errorf("exporter %s: timeout must be at least 1s", c.Name)
	case c.Filter.Severity != "" && store.Rank(c.Filter.Severity) == 0:
		return fmt.Errorf("exporter %s: severity %q is unknown; give info, low, medium, high or critical", c.Name, c.Filter.Severity)
	}
	k, err := kindOf(c.Type)
	if err != nil {
		return fmt.Errorf("exporter %s: %w", c.Name, err)
	}
	format, err := formatOf(c.Format)
	if err != nil {
		return fmt.Errorf("exporter %s: %w", c.Name, err)
	}
	if k.objects && format.ContentType() != "application/json" {
		return fmt.Errorf("exporter %s: type %s takes a JSON format only, not %s", c.Name, c.Type, c.Format)
	}
	if err := k.check(c.Settings); err != nil {
		return fmt.Errorf("exporter %s: %w", c.Name, err)
	}
	return nil
}

// ValidateAll checks that names differ, too.
func ValidateAll(list []Config) error {
	seen := map[string]bool{}
	for _, c := range list {
		if err := c.Validate(); err != nil {
			return err
		}
		if seen[c.Name] {
			return errors.New("two exporters are named " + c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

// takes says whether the filter lets a finding through.
func (f Filter) takes(x *rules.Finding) bool {
	if x.Rule.ID == rules.RuleCheckpoint {
		return true // who does not trust the collector needs it
	}
	if x.Test && !f.Test || x.Suppressed != nil && !f.Suppressed {
		return false
	}
	if f.Severity != "" && store.Rank(x.Severity) < store.Rank(f.Severity) {
		return false
	}
	return (len(f.Rules) == 0 || slices.Contains(f.Rules, x.Rule.ID)) && (len(f.Entities) == 0 || anyEntity(f.Entities, x.Matches))
}

func anyEntity(list []string, matches []rules.Match) bool {
	for _, m := range matches {
		if slices.Contains(list, m.Entity.ID) {
			return true
		}
	}
	return false
}

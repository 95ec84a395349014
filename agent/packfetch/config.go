// Package packfetch gets signed packs from the collector: it asks at intervals
// what there is, verifies what is new against the pinned root before anything
// else happens to it, and keeps it in the agent's state folder.
package packfetch

import (
	"fmt"
	"time"
)

// Config says whether and how often the collector is asked.
type Config struct {
	Enabled bool          `yaml:"enabled"`
	Every   time.Duration `yaml:"every"` // give or take a tenth
}

// DefaultConfig asks nobody: rules.trust must be named first.
func DefaultConfig() Config { return Config{Every: 15 * time.Minute} }

// Validate says what is wrong and what to write instead.
func (c Config) Validate() error {
	if c.Every < 10*time.Second {
		return fmt.Errorf("rules.fetch.every is %s: use 10s or more", c.Every)
	}
	return nil
}

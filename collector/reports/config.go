package reports

import (
	"errors"
	"time"
)

// Config bounds reports that are made for people and programs.
type Config struct {
	// Concurrent is how many are made at once, Waiting how many may wait their turn.
	Concurrent int `yaml:"concurrent"`
	Waiting    int `yaml:"waiting"`
	// Keep is how long a report lies here to be fetched. It can be made again.
	Keep time.Duration `yaml:"keep"`
	// Timeout ends one that takes longer.
	Timeout time.Duration `yaml:"timeout"`
}

// DefaultConfig makes one at a time and keeps it for a day.
func DefaultConfig() Config {
	return Config{Concurrent: 1, Waiting: 20, Keep: 24 * time.Hour, Timeout: time.Hour}
}

// Validate checks the settings.
func (c Config) Validate() error {
	switch {
	case c.Concurrent < 1 || c.Waiting < 1:
		return errors.New("reports.concurrent and reports.waiting must be at least 1")
	case c.Keep < time.Minute || c.Timeout < time.Second:
		return errors.New("reports.keep must be at least 1m and reports.timeout at least 1s")
	}
	return nil
}

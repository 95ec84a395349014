// Package record is the tamper-evident log: every finding that was accepted, what
// each agent covered, and what reviewers decided, chained in a Merkle tree whose
// signed checkpoints leave through the exporters. What is in it cannot be changed
// or taken away without a trace that anybody with an old checkpoint can find.
package record

import (
	"errors"
	"time"
)

// Config of the record.
type Config struct {
	// CheckpointEvery is how often the grown record is signed.
	CheckpointEvery time.Duration `yaml:"checkpoint_every"`
	// Stretch is how long one entry about an agent's coverage may be.
	Stretch time.Duration `yaml:"stretch"`
	// Batch is how many entries are appended at once.
	Batch int `yaml:"batch"`
}

// DefaultConfig signs once an hour.
func DefaultConfig() Config {
	return Config{CheckpointEvery: time.Hour, Stretch: time.Hour, Batch: 500}
}

// Validate checks the settings.
func (c Config) Validate() error {
	switch {
	case c.CheckpointEvery < time.Second:
		return errors.New("record.checkpoint_every must be at least 1s")
	case c.Stretch < time.Minute || c.Stretch > 24*time.Hour:
		return errors.New("record.stretch must lie between 1m and 24h")
	case c.Batch < 1 || c.Batch > 10000:
		return errors.New("record.batch must lie between 1 and 10000")
	}
	return nil
}

package store

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Config says where findings are kept, and for how long.
type Config struct {
	// Postgres is a connection string ("postgres://user@host/database" or
	// "host=... dbname=..."). Empty: SQLite in the state folder.
	Postgres string `yaml:"postgres"`
	// PostgresPasswordFile holds the password, so that it need not stand here.
	PostgresPasswordFile string `yaml:"postgres_password_file"`
	// Keep is how long a finding is kept after its last revision came. 0: for
	// ever. What is under legal hold stays.
	Keep time.Duration `yaml:"keep"`
	// KeepEvidence is the same for packets. 0: as long as the finding.
	KeepEvidence time.Duration `yaml:"keep_evidence"`
	// Readers is how many connections serve searches.
	Readers int `yaml:"readers"`
	// Batch is how many findings one transaction takes at most.
	Batch int `yaml:"batch"`
}

// DefaultConfig keeps findings for ten years (31 CFR 501.601 asks for ten years
// of records) and packets for one.
func DefaultConfig() Config {
	const year = 365 * 24 * time.Hour
	return Config{Keep: 10 * year, KeepEvidence: year, Readers: 4, Batch: 500}
}

// Validate checks the limits.
func (c Config) Validate() error {
	switch {
	case c.Keep < 0 || c.KeepEvidence < 0:
		return errors.New("store: keep and keep_evidence must not be negative; 0 keeps for ever")
	case c.Readers < 1 || c.Readers > 256:
		return fmt.Errorf("store.readers is %d; give 1 to 256", c.Readers)
	case c.Batch < 1 || c.Batch > 10000:
		return fmt.Errorf("store.batch is %d; give 1 to 10000", c.Batch)
	case c.Postgres != "" && strings.Contains(c.Postgres, "password="):
		return errors.New("store.postgres holds a password; put it in a file and name that in store.postgres_password_file")
	}
	return nil
}

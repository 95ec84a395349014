package ingest

import (
	"errors"
	"time"
)

// Config bounds what agents may send.
type Config struct {
	// MaxBody bounds a request as it comes, in bytes.
	MaxBody int64 `yaml:"max_body"`
	// MaxBatch bounds a request once unpacked, in bytes.
	MaxBatch int64 `yaml:"max_batch"`
	// MaxLine bounds one finding, in bytes.
	MaxLine int `yaml:"max_line"`
	// MaxLines bounds the findings of a request.
	MaxLines int `yaml:"max_lines"`
	// MaxHeartbeat bounds a heartbeat, in bytes: it holds the agent's configuration.
	MaxHeartbeat int64 `yaml:"max_heartbeat"`
	// Concurrent bounds requests worked on at once; more are asked to wait.
	Concurrent int `yaml:"concurrent"`
	// RetryAfter is what those who must wait are told.
	RetryAfter time.Duration `yaml:"retry_after"`
}

// DefaultConfig takes findings up to 6 MiB each: rules allows 4 MiB of packets,
// which are a third longer in base64.
func DefaultConfig() Config {
	return Config{MaxBody: 16 << 20, MaxBatch: 32 << 20, MaxLine: 6 << 20, MaxLines: 5000, MaxHeartbeat: 512 << 10, Concurrent: 32, RetryAfter: 5 * time.Second}
}

// Validate checks the limits.
func (c Config) Validate() error {
	switch {
	case c.MaxLine < 4096 || c.MaxLine > 8<<20:
		return errors.New("ingest.max_line must lie between 4096 and 8388608")
	case c.MaxBody < int64(c.MaxLine):
		return errors.New("ingest.max_body must be at least ingest.max_line")
	case c.MaxBatch < c.MaxBody:
		return errors.New("ingest.max_batch must be at least ingest.max_body")
	case c.MaxLines < 1:
		return errors.New("ingest.max_lines must be at least 1")
	case c.MaxHeartbeat < 4096 || c.MaxHeartbeat > 8<<20:
		return errors.New("ingest.max_heartbeat must lie between 4096 and 8388608")
	case c.Concurrent < 1:
		return errors.New("ingest.concurrent must be at least 1")
	case c.RetryAfter < time.Second:
		return errors.New("ingest.retry_after must be at least 1s")
	}
	return nil
}

package api

import (
	"errors"
	"time"
)

// Config bounds what programs may ask.
type Config struct {
	// RequestsPerSecond of one token; short bursts may be ten times that.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	// RefusedPerMinute bounds what one address may ask without a valid token.
	RefusedPerMinute int `yaml:"refused_per_minute"`
	// Streams bounds how many streams of findings are open at once, and
	// StreamsPerToken how many of them are one token's.
	Streams         int `yaml:"streams"`
	StreamsPerToken int `yaml:"streams_per_token"`
	// StreamLife ends a stream, so that a token that was revoked does not read on;
	// clients connect again with the id of the last event.
	StreamLife time.Duration `yaml:"stream_life"`
	// List bounds lists without pages.
	List int `yaml:"list"`
}

// DefaultConfig lets a token ask 20 times a second.
func DefaultConfig() Config {
	return Config{RequestsPerSecond: 20, RefusedPerMinute: 60, Streams: 50, StreamsPerToken: 10, StreamLife: 10 * time.Minute, List: 1000}
}

// Validate checks the settings.
func (c Config) Validate() error {
	switch {
	case c.RequestsPerSecond <= 0:
		return errors.New("api.requests_per_second must be more than 0")
	case c.RefusedPerMinute < 1:
		return errors.New("api.refused_per_minute must be at least 1")
	case c.Streams < 0 || c.StreamsPerToken < 0:
		return errors.New("api.streams and api.streams_per_token must not be negative")
	case c.StreamLife < time.Minute || c.StreamLife > time.Hour:
		return errors.New("api.stream_life must lie between 1m and 1h")
	case c.List < 1 || c.List > 100_000:
		return errors.New("api.list must lie between 1 and 100000")
	}
	return nil
}

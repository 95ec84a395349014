// Package account knows people and programs that read findings: passwords,
// sessions, API tokens, and what each may do.
package account

import (
	"errors"
	"time"
)

// Config bounds sessions and sign-in.
type Config struct {
	// SessionLife is how long a session lasts at most.
	SessionLife time.Duration `yaml:"session_life"`
	// SessionIdle is how long it lasts without use.
	SessionIdle time.Duration `yaml:"session_idle"`
	// SignInsPerMinute bounds attempts a user name and an address.
	SignInsPerMinute int `yaml:"sign_ins_per_minute"`
	// RequestsPerSecond of one person at the console; short bursts may be ten times
	// that.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	// OIDC has people sign in with a provider.
	OIDC OIDCConfig `yaml:"oidc"`
}

// DefaultConfig is a working day, and half an hour of idleness.
func DefaultConfig() Config {
	return Config{SessionLife: 10 * time.Hour, SessionIdle: 30 * time.Minute, SignInsPerMinute: 5, RequestsPerSecond: 10, OIDC: DefaultOIDCConfig()}
}

// Validate checks the settings.
func (c Config) Validate() error {
	switch {
	case c.SessionIdle < time.Minute || c.SessionLife < c.SessionIdle:
		return errors.New("account: session_idle must be at least 1m, and session_life at least session_idle")
	case c.SignInsPerMinute < 1:
		return errors.New("account.sign_ins_per_minute must be at least 1")
	case c.RequestsPerSecond <= 0:
		return errors.New("account.requests_per_second must be more than 0")
	}
	return c.OIDC.Validate()
}

// Package fleet knows the agents: what they say of themselves, who is silent,
// and what of their sequence never came.
package fleet

import (
	"context"
	"errors"
	"time"

	"sallyport/collector/store"
	"sallyport/rules"
)

// Config says when an agent is reported.
type Config struct {
	// SilentAfter is how long without a heartbeat makes an agent silent.
	SilentAfter time.Duration `yaml:"silent_after"`
	// SkewAfter is how far its clock may be off.
	SkewAfter time.Duration `yaml:"skew_after"`
	// CheckEvery is how often agents are looked at.
	CheckEvery time.Duration `yaml:"check_every"`
	// BurstAgents is how many agents must report one indicator by one rule within
	// BurstWindow for exporters to send one finding about it instead of theirs. 0:
	// exporters send all.
	BurstAgents int           `yaml:"burst_agents"`
	BurstWindow time.Duration `yaml:"burst_window"`
}

// DefaultConfig bears three lost heartbeats.
func DefaultConfig() Config {
	return Config{SilentAfter: 4 * time.Minute, SkewAfter: 10 * time.Second, CheckEvery: 15 * time.Second, BurstAgents: 20, BurstWindow: time.Hour}
}

// Validate checks the settings.
func (c Config) Validate() error {
	if c.SilentAfter < 10*time.Second || c.SkewAfter < time.Second {
		return errors.New("fleet.silent_after must be at least 10s and fleet.skew_after at least 1s")
	}
	switch {
	case c.CheckEvery < time.Second || c.CheckEvery > c.SilentAfter:
		return errors.New("fleet.check_every must lie between 1s and fleet.silent_after")
	case c.BurstAgents < 0 || c.BurstAgents == 1:
		return errors.New("fleet.burst_agents must be 0 or at least 2")
	case c.BurstWindow < time.Minute:
		return errors.New("fleet.burst_window must be at least 1m")
	}
	return nil
}

// Store keeps what agents say.
type Store interface {
	SaveHeartbeat(ctx context.Context, agent, address string, at time.Time, h rules.Heartbeat) error
	Agents(context.Context) ([]store.Agent, error)
	Sequences(ctx context.Context, agent string) ([]store.Sequence, error)
	Certificates(ctx context.Context, agent string) ([]store.Certificate, error)
	Labels(context.Context) (map[string]map[string]string, error)
	SetLabel(ctx context.Context, agent, name, value string) error
}

// Coverage keeps what agents could see, for the record.
type Coverage interface {
	Heartbeat(ctx context.Context, agent string, at time.Time, h rules.Heartbeat) error
}

// Fleet is the agents as the collector sees them.
type Fleet struct {
	cfg      Config
	store    Store
	coverage Coverage
}

// New makes a fleet.
func New(cfg Config, s Store, c Coverage) *Fleet { return &Fleet{cfg, s, c} }

// Heartbeat takes what an agent says of itself.
func (f *Fleet) Heartbeat(ctx context.Context, agent, address string, at time.Time, h rules.Heartbeat) error {
	if err := f.store.SaveHeartbeat(ctx, agent, address, at, h); err != nil {
		return err
	}
	return f.coverage.Heartbeat(ctx, agent, at, h)
}

// States of an agent.
const (
	StateReporting = "reporting"
	StateSilent    = "silent"  // its heartbeat is overdue
	StateNew       = "new"     // enrolled, never heard
	StateRevoked   = "revoked" // no certificate of it is valid
)

// Agent is an agent and what is wrong with it.
type Agent struct {
	store.Agent
	State     string           `json:"state"`
	Skew      time.Duration    `json:"skew_ns"` // its clock against ours when its last heartbeat came, transit included
	SkewLarge bool             `json:"skew_large"`
	Missing   uint64           `json:"missing"`  // numbers of its sequences that never came
	Rejected  uint64           `json:"rejected"` // lines refused for good
	Lost      uint64           `json:"lost"`
	Dropped   uint64           `json:"dropped"`
	Expires   time.Time        `json:"certificate_expires,omitzero"`
	Sequences []store.Sequence `json:"sequences,omitempty"`
	// Labels are the operator's.
	Labels map[string]string `json:"labels,omitempty"`
}

// Agents lists every agent with its state.
func (f *Fleet) Agents(ctx context.Context, now time.Time) ([]Agent, error) {
	agents, err := f.store.Agents(ctx)
	if err != nil {
		return nil, err
	}
	sequences, err := f.store.Sequences(ctx, "")
	if err != nil {
		return nil, err
	}
	certificates, err := f.store.Certificates(ctx, "")
	if err != nil {
		return nil, err
	}
	labels, err := f.store.Labels(ctx)
	if err != nil {
		return nil, err
	}
	byAgent := map[string][]store.Sequence{}
	for _, s := range sequences {
		byAgent[s.Agent] = append(byAgent[s.Agent], s)
	}
	valid, issued := map[string]time.Time{}, map[string]bool{}
	for _, c := range certificates {
		issued[c.Agent] = true
		if c.Revoked.IsZero() && c.Expires.After(valid[c.Agent]) {
			valid[c.Agent] = c.Expires
		}
	}
	list := make([]Agent, 0, len(agents))
	for _, a := range agents {
		x := f.agent(a, byAgent[a.Name], now)
		x.Expires, x.Labels = valid[a.Name], labels[a.Name]
		if issued[a.Name] && x.Expires.IsZero() {
			x.State = StateRevoked
		}
		list = append(list, x)
	}
	return list, nil
}

// Agent finds one agent.
func (f *Fleet) Agent(ctx context.Context, name string, now time.Time) (Agent, error) {
	agents, err := f.Agents(ctx, now)
	if err != nil {
		return Agent{}, err
	}
	for _, a := range agents {
		if a.Name == name {
			return a, nil
		}
	}
	return Agent{}, store.ErrNotFound
}

func (f *Fleet) agent(a store.Agent, sequences []store.Sequence, now time.Time) Agent {
	x := Agent{Agent: a, State: StateReporting, Sequences: sequences}
	switch {
	case a.Heard.IsZero() && a.LastFinding.IsZero():
		x.State = StateNew
	case now.Sub(latest(a.Heard, a.LastFinding)) > f.cfg.SilentAfter:
		x.State = StateSilent
	}
	for _, s := range sequences {
		for _, m := range s.Missing {
			x.Missing += m[1] - m[0] + 1
		}
		x.Rejected += s.Rejected
	}
	if h := a.Heartbeat; h != nil {
		x.Skew = h.At.Sub(a.Heard)
		x.SkewLarge = x.Skew.Abs() > f.cfg.SkewAfter
		x.Lost, x.Dropped = sum(h.Lost), sum(h.Dropped)
	}
	return x
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func sum(m map[string]uint64) uint64 {
	var n uint64
	for _, v := range m {
		n += v
	}
	return n
}

package flow

import (
	"fmt"
	"net/netip"
	"time"
)

// Config bounds the table.
type Config struct {
	MaxFlows   int            `yaml:"max_flows"`   // above it the least recently used of a sample is closed
	MaxBytes   int            `yaml:"max_bytes"`   // of first bytes and evidence kept, all flows together
	TCPIdle    time.Duration  `yaml:"tcp_idle"`    // without a packet, when open
	TCPClosed  time.Duration  `yaml:"tcp_closed"`  // after FIN from both sides, or RST
	TCPOpening time.Duration  `yaml:"tcp_opening"` // after a SYN that nobody answered
	UDPIdle    time.Duration  `yaml:"udp_idle"`    // UDP and other protocols
	Update     time.Duration  `yaml:"update"`      // between two Updated events of a flow
	Local      []netip.Prefix `yaml:"local"`       // of captures: which side is the host's own; empty: the client's
	Evidence   EvidenceConfig `yaml:"evidence"`
}

// EvidenceConfig bounds the first packets kept of a flow.
type EvidenceConfig struct {
	Packets int  `yaml:"packets"` // of a flow, 0 keeps none
	Bytes   int  `yaml:"bytes"`   // of a flow
	Content bool `yaml:"content"` // keep content too: else headers and handshake only
}

// DefaultConfig is for a live host.
func DefaultConfig() Config {
	return Config{
		MaxFlows:   32768,
		MaxBytes:   16 << 20,
		TCPIdle:    time.Hour,
		TCPClosed:  10 * time.Second,
		TCPOpening: 2 * time.Minute,
		UDPIdle:    3 * time.Minute,
		Update:     5 * time.Minute,
		Evidence:   EvidenceConfig{Packets: 12, Bytes: 8 << 10},
	}
}

// ReplayConfig is for capture files: time is the capture's own, and memory may
// be spent on a file's flows.
func ReplayConfig() Config {
	c := DefaultConfig()
	c.MaxFlows = 1 << 20
	c.MaxBytes = 512 << 20
	return c
}

// Validate names the first setting that cannot work, and what would.
func (c Config) Validate() error {
	switch {
	case c.MaxFlows < 1:
		return fmt.Errorf("flow.max_flows is %d: set it to at least 1", c.MaxFlows)
	case c.MaxBytes < 1<<20:
		return fmt.Errorf("flow.max_bytes is %d: set it to at least %d", c.MaxBytes, 1<<20)
	case c.Evidence.Packets < 0 || c.Evidence.Bytes < 0:
		return fmt.Errorf("flow.evidence is negative: set packets and bytes to 0 to keep none")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"tcp_idle", c.TCPIdle}, {"tcp_closed", c.TCPClosed}, {"tcp_opening", c.TCPOpening},
		{"udp_idle", c.UDPIdle}, {"update", c.Update},
	} {
		if d.value < time.Second {
			return fmt.Errorf("flow.%s is %s: set it to at least 1s", d.name, d.value)
		}
	}
	return nil
}

package sensor

import (
	"errors"
	"fmt"
)

// LinkConfig is what the link sensor takes.
type LinkConfig struct {
	// Enabled switches the sensor on.
	Enabled bool `yaml:"enabled"`
	// Interfaces to listen on; empty: all of the agent's network namespace, with
	// those that come later.
	Interfaces []string `yaml:"interfaces"`
	// Tap takes every IP packet, for gateways and mirror ports. Without it, only
	// Protocols and the handshakes of kernel WireGuard are taken: TCP and UDP are
	// the socket sensor's.
	Tap bool `yaml:"tap"`
	// Promiscuous takes packets for other stations too: a mirror port's. It needs
	// named interfaces.
	Promiscuous bool `yaml:"promiscuous"`
	// Outgoing takes what leaves too. It costs every packet that leaves about 0.1
	// microseconds; without it a tunnel is seen from one side and stays suspected.
	Outgoing bool `yaml:"outgoing"`
	// Protocols are the IP protocols taken without Tap.
	Protocols []uint8 `yaml:"protocols"`
	// Snap is how many bytes of a packet are copied.
	Snap uint32 `yaml:"snap"`
	// RingBytes is the size of the ring shared with the kernel, of each interface
	// named, or of the one for all.
	RingBytes uint32 `yaml:"ring_bytes"`
}

// IP protocols of tunnels (IANA), and ICMP, whose errors tell a refused flow.
var tunnelProtocols = []uint8{1, 4, 41, 47, 50, 51, 97, 115}

// blockBytes is a block of the ring: the kernel hands over whole blocks.
const blockBytes = 256 << 10

// DefaultLinkConfig is for a host whose socket sensor works.
func DefaultLinkConfig() LinkConfig {
	return LinkConfig{
		Enabled: true, Outgoing: true, Protocols: tunnelProtocols,
		Snap: 16 << 10, RingBytes: 4 << 20,
	}
}

// Validate says what is wrong, and what to write instead.
func (c LinkConfig) Validate() error {
	var errs []error
	if c.Snap < 128 || c.Snap > 65535 {
		errs = append(errs, fmt.Errorf("sensor.link.snap is %d: set it between 128 and 65535", c.Snap))
	}
	if c.RingBytes < 2*blockBytes || c.RingBytes%blockBytes != 0 {
		errs = append(errs, fmt.Errorf("sensor.link.ring_bytes is %d: set it to a multiple of %d, at least twice that", c.RingBytes, blockBytes))
	}
	if !c.Tap && len(c.Protocols) > maxProtocols {
		errs = append(errs, fmt.Errorf("sensor.link.protocols has %d entries: keep to %d, or set tap", len(c.Protocols), maxProtocols))
	}
	if c.Promiscuous && len(c.Interfaces) == 0 {
		errs = append(errs, errors.New("sensor.link.promiscuous needs sensor.link.interfaces: name the mirror port"))
	}
	return errors.Join(errs...)
}

package sensor

import (
	"errors"
	"fmt"
	"time"
)

// SocketConfig bounds the socket sensor.
type SocketConfig struct {
	// CgroupRoot is where cgroup v2 is mounted; empty: found by itself.
	CgroupRoot string `yaml:"cgroup_root"`
	// RingBytes is the size of the kernel's ring buffer, a power of two. It counts
	// as resident memory once it has been filled.
	RingBytes uint32 `yaml:"ring_bytes"`
	// UDPFlows bounds the remotes of unconnected UDP sockets, in sets of eight. In a
	// full set the one that is silent longest gives way, which is counted as lost
	// where it was heard of within the update interval.
	UDPFlows uint32 `yaml:"udp_flows"`
	// UDPIdle ends the flow of a UDP socket that never connected after so long
	// without a packet; a socket that stays open would keep all its remotes.
	UDPIdle time.Duration `yaml:"udp_idle"`
	// Prefixes bounds the attributed prefixes in the kernel, of each family. A
	// million is about 130 MB of kernel memory when used.
	Prefixes uint32 `yaml:"prefixes"`
	// UpdateInterval is the time between records of a long flow.
	UpdateInterval time.Duration `yaml:"update_interval"`
	// Copy is how many bytes of each direction of a flow are copied.
	Copy CopyConfig `yaml:"copy"`
	// ListenerPace bounds copied packets of listening sockets, per second and CPU.
	ListenerPace uint32 `yaml:"listener_pace"`
	// Processes bounds the process cache.
	Processes int `yaml:"processes"`
	// KeepExited is how long a process that has gone is remembered.
	KeepExited time.Duration `yaml:"keep_exited"`
}

// CopyConfig is the number of payload bytes copied of each direction of a flow,
// by what its first bytes look like.
type CopyConfig struct {
	Plain      uint32 `yaml:"plain"`
	Candidate  uint32 `yaml:"candidate"`
	Handshake  uint32 `yaml:"handshake"`
	Attributed uint32 `yaml:"attributed"`
}

// DefaultSocketConfig is what a host needs.
func DefaultSocketConfig() SocketConfig {
	return SocketConfig{
		RingBytes:      8 << 20,
		UDPFlows:       16384,
		UDPIdle:        3 * time.Minute,
		Prefixes:       200_000,
		UpdateInterval: time.Minute,
		Copy:           CopyConfig{Plain: 512, Candidate: 4 << 10, Handshake: 16 << 10, Attributed: 64 << 10},
		ListenerPace:   10_000,
		Processes:      16384,
		KeepExited:     10 * time.Minute,
	}
}

// Validate says what is wrong, and what to write instead.
func (c SocketConfig) Validate() error {
	var errs []error
	if c.RingBytes < 1<<18 || c.RingBytes&(c.RingBytes-1) != 0 {
		errs = append(errs, fmt.Errorf("ring_bytes is %d: use a power of two of at least 262144", c.RingBytes))
	}
	if c.UDPFlows < 64 {
		errs = append(errs, fmt.Errorf("udp_flows is %d: use at least 64", c.UDPFlows))
	}
	if c.UDPIdle < time.Second {
		errs = append(errs, fmt.Errorf("udp_idle is %s: use at least 1s", c.UDPIdle))
	}
	if c.Prefixes < 1 {
		errs = append(errs, errors.New("prefixes is 0: use at least 1"))
	}
	if c.UpdateInterval < time.Second {
		errs = append(errs, fmt.Errorf("update_interval is %s: use at least 1s", c.UpdateInterval))
	}
	if c.ListenerPace < 1 {
		errs = append(errs, errors.New("listener_pace is 0: use at least 1"))
	}
	if c.Processes < 64 {
		errs = append(errs, fmt.Errorf("processes is %d: use at least 64", c.Processes))
	}
	return errors.Join(errs...)
}

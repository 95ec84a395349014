package hostevidence

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sallyport/agent/sensor"
)

// consequences is what is not seen where a part of the kernel does not answer.
var consequences = map[string]string{
	hookLinks:      "GRE, IP in IP, VXLAN and other tunnel devices are seen by their packets alone, and nobody is named for them",
	hookWireGuard:  "WireGuard of the kernel is seen by its handshakes alone, and nobody is named for it (needs CAP_NET_ADMIN)",
	hookXfrm:       "IPsec is seen by its packets alone, and nobody is named for it (needs CAP_NET_ADMIN)",
	hookL2TP:       "L2TP of the kernel is seen by its packets alone, and nobody is named for it (needs CAP_NET_ADMIN)",
	hookNamespaces: "the kernel's tunnels in network namespaces other than the agent's are not seen (needs CAP_SYS_ADMIN)",
}

// expect lists the hooks before they have been tried.
func (k *Kernel) expect() {
	for name, consequence := range consequences {
		k.states[name] = &sensor.HookState{Name: name, Consequence: consequence, Error: "not read yet"}
	}
}

// state notes how a hook does; saw, with the lock held, that it gave something.
func (k *Kernel) state(hook string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.states[hook]
	s.Attached, s.Error = err == nil, ""
	if err != nil {
		s.Error = err.Error()
	}
}

func (k *Kernel) saw(hook string) { k.states[hook].Canary = true }

// changes wakes the sensor when a device of its own namespace comes or goes: a
// tunnel may not live for a second. Without it the pace is all there is.
func (k *Kernel) changes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	updates := make(chan netlink.LinkUpdate, 64)
	options := netlink.LinkSubscribeOptions{ErrorCallback: func(err error) {
		if ctx.Err() == nil {
			k.log.Debug("changes of devices are not told; they are found by looking", "error", err)
		}
	}}
	if err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), options); err != nil {
		options.ErrorCallback(err)
		return changed
	}
	go func() {
		for u := range updates {
			if u.Header.Type != unix.RTM_NEWLINK && u.Header.Type != unix.RTM_DELLINK {
				continue
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed
}

// spent is the processor time of the calling thread.
func spent() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// SetPrefixes implements sensor.Sensor: every tunnel is reported anyway.
func (*Kernel) SetPrefixes([]netip.Prefix) (sensor.PrefixReport, error) {
	return sensor.PrefixReport{}, nil
}

// Done implements sensor.Sensor.
func (*Kernel) Done(sensor.FlowKey) {}

// Hooks implements sensor.Sensor. A part of the kernel that is not loaded has
// nothing to show, and is no fault.
func (k *Kernel) Hooks() []sensor.HookState {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var hooks []sensor.HookState
	for _, name := range slices.Sorted(maps.Keys(k.states)) {
		hooks = append(hooks, *k.states[name])
	}
	return hooks
}

// Counters implements sensor.Sensor.
func (k *Kernel) Counters() sensor.Counters {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return sensor.Counters{Lost: map[string]uint64{}, Dropped: maps.Clone(k.counters.Dropped), Seen: maps.Clone(k.counters.Seen)}
}

// Process implements sensor.Sensor: this one knows no processes.
func (*Kernel) Process(sensor.ProcessRef) (sensor.Process, bool) { return sensor.Process{}, false }

// Tunnel implements sensor.Sensor.
func (*Kernel) Tunnel(sensor.ProcessRef) (sensor.TunnelFacts, bool) {
	return sensor.TunnelFacts{}, false
}

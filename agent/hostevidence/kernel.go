package hostevidence

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"

	"sallyport/agent/sensor"
)

var _ sensor.Sensor = (*Kernel)(nil)

// KernelConfig is the watch of the kernel's own tunnels.
type KernelConfig struct {
	Enabled bool `yaml:"enabled"`
	// Namespaces reads every network namespace, not only the agent's; that takes
	// CAP_SYS_ADMIN, and where that is missing the agent's own is read alone.
	Namespaces bool `yaml:"namespaces"`
	// Every is the time between two readings. It grows, to ten seconds, where a
	// reading takes long.
	Every time.Duration `yaml:"every"`
}

// DefaultKernelConfig reads every namespace each second.
func DefaultKernelConfig() KernelConfig {
	return KernelConfig{Enabled: true, Namespaces: true, Every: time.Second}
}

// Validate says what is wrong, and what to write instead.
func (c KernelConfig) Validate() error {
	if c.Enabled && c.Every < 100*time.Millisecond {
		return fmt.Errorf("sensor.tunnel.every is %s: set it to at least 100ms", c.Every)
	}
	return nil
}

// Bounds and pace of the watch.
const (
	maxKernelTunnels = 16384
	share            = 200              // a reading costs at most one part in share,
	slowest          = 10 * time.Second // as long as this is not passed
	changeShare      = 20               // the same, while devices come and go
	tellEvery        = 30 * time.Second // an open tunnel's counts
	seekMaker        = 30 * time.Second // after a tunnel appeared
	seekHolder       = 5 * time.Second  // the same, by descriptors, which is dear
	settle           = 50 * time.Millisecond
	findEvery        = 5 * time.Second // other namespaces
)

// dropTunnels is the reason of tunnels beyond the bound.
const dropTunnels = "kernel_tunnels_full"

// Kernel is the tunnel sensor: it reads what tunnels the kernel itself carries and
// reports each as a flow, since no process sends its packets and the link sensor
// sees the agent's namespace only. It also says what the kernel's tables show of a
// flow that another sensor saw.
type Kernel struct {
	cfg       KernelConfig
	log       hclog.Logger
	processes Processes // nil: makers are not looked for
	own       namespace
	others    []namespace
	found     time.Time // when others were
	before    time.Time // when the look before this one began

	mu       sync.RWMutex
	tunnels  map[endpoint]*followed
	states   map[string]*sensor.HookState
	counters sensor.Counters
}

// NewKernel prepares a tunnel sensor; Run does the work.
func NewKernel(cfg KernelConfig, processes Processes, log hclog.Logger) *Kernel {
	k := &Kernel{
		cfg: cfg, log: log.Named("tunnel"), processes: processes,
		tunnels: map[endpoint]*followed{}, states: map[string]*sensor.HookState{},
		counters: sensor.Counters{Lost: map[string]uint64{}, Dropped: map[string]uint64{}, Seen: map[string]uint64{}},
	}
	k.expect()
	return k
}

// Name implements sensor.Sensor.
func (*Kernel) Name() string { return "tunnel" }

// Run implements sensor.Sensor.
func (k *Kernel) Run(ctx context.Context, h sensor.Handler, ready func()) error {
	own, err := ownNamespace()
	if err != nil {
		return err
	}
	k.own = own
	k.cfg.Namespaces = k.cfg.Namespaces && mayEnter()
	runtime.LockOSThread() // whose processor time is the cost
	defer runtime.UnlockOSThread()
	changed := k.changes(ctx)
	cost := k.look(h, true)
	ready()
	timer := time.NewTimer(k.wait(cost))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			time.Sleep(max(settle, min(changeShare*cost, time.Second))) // a device comes in several changes
			k.found = time.Time{}
		case <-timer.C:
		}
		cost = k.look(h, false)
		timer.Reset(k.wait(cost))
	}
}

func (k *Kernel) wait(cost time.Duration) time.Duration {
	return max(k.cfg.Every, min(share*cost, slowest))
}

// look reads every namespace and reports what changed; it gives its own cost, in
// processor time.
func (k *Kernel) look(h sensor.Handler, first bool) time.Duration {
	begin := spent()
	started := time.Now()
	defer func() { k.before = started }()
	k.mu.Lock()
	for _, f := range k.tunnels {
		f.gone = true
	}
	k.mu.Unlock()
	k.read(k.own, h, first)
	k.state(hookNamespaces, nil)
	if k.cfg.Namespaces {
		k.readOthers(h, first)
	}
	k.end(h)
	return spent() - begin
}

// readOthers reads the namespaces of others. That the agent may not is how it is
// installed, and no fault: the doctor tells it as a thing not seen.
func (k *Kernel) readOthers(h sensor.Handler, first bool) {
	if time.Since(k.found) >= findEvery {
		k.others, k.found = otherNamespaces(k.own), time.Now()
	}
	for _, n := range k.others {
		if err := k.read(n, h, first); err == nil {
			k.mu.Lock()
			k.saw(hookNamespaces)
			k.mu.Unlock()
		}
	}
}

// read looks at one namespace.
func (k *Kernel) read(n namespace, h sensor.Handler, first bool) error {
	r, err := n.read(k.resolve)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) && k.log.IsDebug() {
			k.log.Debug("network namespace is not read", "path", n.path, "error", err)
		}
		if n == k.own {
			k.state(hookLinks, err)
		}
		if !errors.Is(err, os.ErrNotExist) {
			k.keep(n, "")
		}
		return err
	}
	for hook, err := range r.errors {
		if err != nil {
			k.keep(n, hook)
		}
		if n == k.own {
			k.state(hook, err)
		}
	}
	now := time.Now()
	for i := range r.tunnels {
		k.follow(&r.tunnels[i], n, h, now, first)
	}
	return nil
}

// keep has the tunnels of what could not be read now be as they were.
func (k *Kernel) keep(n namespace, hook string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.tunnels {
		if f.Netns == n.inode && (hook == "" || hook == hookOf(f.Kind)) {
			f.gone = false
		}
	}
}

// resolve fills in the address a tunnel sends from, once.
func (k *Kernel) resolve(h *netlink.Handle, t *KernelTunnel) {
	if !unspecified(t.Local) {
		return
	}
	k.mu.RLock()
	f := k.tunnels[t.endpoint()]
	k.mu.RUnlock()
	if f != nil && !unspecified(f.Local) {
		t.Local = netip.AddrPortFrom(f.Local.Addr(), t.Local.Port())
		return
	}
	route(h, t)
}

// follow takes a tunnel as it was read and reports it where it is new, has
// changed, or was last told of long ago.
func (k *Kernel) follow(t *KernelTunnel, n namespace, h sensor.Handler, now time.Time, first bool) {
	k.mu.Lock()
	f := k.tunnels[t.endpoint()]
	if f != nil && (f.Kind != t.Kind || f.Device != t.Device) {
		if !f.gone { // two to one remote, told apart by a key: on the wire they are one flow
			k.mu.Unlock()
			return
		}
		delete(k.tunnels, t.endpoint()) // another in its place
		k.mu.Unlock()
		f.close(h, now)
		k.mu.Lock()
		f = nil
	}
	if f == nil {
		if len(k.tunnels) >= maxKernelTunnels {
			k.counters.Dropped[dropTunnels]++
			k.mu.Unlock()
			return
		}
		f = &followed{first: now, before: k.before, maker: Maker{Older: first}}
		k.tunnels[t.endpoint()] = f
		k.counters.Seen["tunnels"]++
	}
	f.gone = false
	f.update(t)
	seek := f.maker.Process.PID == 0 && k.processes != nil && now.Sub(f.first) < seekMaker
	k.saw(hookOf(t.Kind))
	k.mu.Unlock()
	if seek {
		k.seek(f, n)
	}
	if unspecified(f.Local) || f.Bytes.Total() == 0 {
		return // no route, or nothing has gone yet: no flow
	}
	said := f.state() + f.maker.words()
	if f.said == said && now.Sub(f.told) < tellEvery {
		return
	}
	opened := f.told.IsZero()
	f.told, f.said = now, said
	if opened {
		r := f.record(sensor.RecordOpen, now)
		h.Record(&r)
	}
	r := f.record(sensor.RecordUpdate, now)
	h.Record(&r)
}

// hookOf is the hook that shows tunnels of a kind.
func hookOf(kind string) string {
	switch kind {
	case "wireguard":
		return hookWireGuard
	case "esp", "ah":
		return hookXfrm
	case "l2tp":
		return hookL2TP
	}
	return hookLinks
}

// seek looks for who made a tunnel.
func (k *Kernel) seek(f *followed, n namespace) {
	m, ok := Maker{}, false
	if !f.maker.Older {
		m, ok = makerByCommand(k.processes, &f.KernelTunnel, f.before, f.first)
	}
	if !ok && hookOf(f.Kind) == hookXfrm && time.Since(f.first) < seekHolder {
		m, ok = makerBySocket(k.processes, n)
	}
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	f.maker = m
}

// end reports the tunnels that have gone.
func (k *Kernel) end(h sensor.Handler) {
	k.mu.Lock()
	var ended []*followed
	for at, f := range k.tunnels {
		if f.gone {
			delete(k.tunnels, at)
			ended = append(ended, f)
		}
	}
	k.mu.Unlock()
	for _, f := range ended {
		f.close(h, time.Now())
	}
}

// Of gives what the kernel's tables show of a flow.
func (k *Kernel) Of(netns uint64, transport uint8, local, remote netip.AddrPort) (Evidence, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, at := range [2]netip.AddrPort{remote, netip.AddrPortFrom(remote.Addr(), 0)} {
		f := k.tunnels[endpoint{netns, transport, at}]
		if f != nil && (f.Local.Port() == 0 || f.Local.Port() == local.Port()) {
			return Evidence{f.KernelTunnel, f.maker}, true
		}
	}
	return Evidence{}, false
}

package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"
)

// Config bounds the kernel side.
type Config struct {
	CgroupRoot    string // where cgroup v2 is mounted
	RingBytes     uint32 // a power of two
	UDPFlows      uint32 // remotes of unconnected sockets
	Prefixes      uint32 // of each family
	UpdateSeconds uint32 // between records of a long flow
	Budgets       Budgets
	PacePerSecond uint32 // listener payloads per CPU
}

// Budgets are the bytes that are copied of each direction of a flow.
type Budgets struct {
	Plain, Candidate, Handshake, Attributed uint32
}

// Kernel is the loaded kernel side. Close it.
type Kernel struct {
	cfg      Config
	mu       sync.Mutex // guards hooks, closed, and prefixes
	hooks    []*attached
	closed   bool
	maps     map[string]*ebpf.Map
	ring     *ring
	control  controlState
	prefixes map[prefixKey]struct{}
}

// Load makes the maps and loads every program that this kernel takes. A program
// that it does not take is reported by Hooks; without the programs that see
// packets Load fails.
func Load(cfg Config) (_ *Kernel, err error) {
	if err := rlimit.RemoveMemlock(); err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("lift memory lock limit: %w", err)
	}
	cfg.UDPFlows = max(cfg.UDPFlows&^(setSlots-1), setSlots)
	k := &Kernel{cfg: cfg, prefixes: map[prefixKey]struct{}{}}
	defer func() {
		if err != nil {
			k.Close()
		}
	}()
	if err := k.makeMaps(); err != nil {
		return nil, err
	}
	cache := btf.NewCache()
	for _, h := range hookList() {
		a := &attached{hook: h}
		a.program, a.err = k.loadProgram(h, cache)
		k.hooks = append(k.hooks, a)
		if a.err != nil && h.needed {
			return nil, a.err
		}
	}
	records := k.maps[packetMapRecords]
	k.ring, err = openRing(records.FD(), int(records.MaxEntries()))
	if err != nil {
		return nil, fmt.Errorf("open ring buffer: %w", err)
	}
	return k, k.Tick()
}

func (k *Kernel) makeMaps() error {
	spec, err := loadPacket()
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	spec.Programs = nil
	delete(spec.Maps, ".rodata")
	spec.Variables = nil
	k.size(spec)
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return fmt.Errorf("make maps: %w", err)
	}
	k.maps = coll.Maps
	return nil
}

func (k *Kernel) size(spec *ebpf.CollectionSpec) {
	for name, n := range map[string]uint32{
		packetMapRecords: k.cfg.RingBytes, packetMapUdpFlows: k.cfg.UDPFlows, packetMapUdpIndex: k.cfg.UDPFlows / setSlots,
		packetMapPrefixes4: k.cfg.Prefixes, packetMapPrefixes6: k.cfg.Prefixes,
	} {
		if m := spec.Maps[name]; m != nil {
			m.MaxEntries = n
		}
	}
}

// loadProgram loads one program by itself, so that the failure of one leaves the
// others. Kernels differ in which program types may follow typed pointers; what
// is refused is loaded as one that reads by calls.
func (k *Kernel) loadProgram(h hook, cache *btf.Cache) (*ebpf.Program, error) {
	program, err := k.loadAs(h, cache, true)
	if err == nil {
		return program, nil
	}
	if program, plainErr := k.loadAs(h, cache, false); plainErr == nil {
		return program, nil
	}
	return nil, err
}

func (k *Kernel) loadAs(h hook, cache *btf.Cache, typed bool) (*ebpf.Program, error) {
	spec, err := h.object.load()
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", h.object.name, err)
	}
	for name := range spec.Programs {
		if name != h.program {
			delete(spec.Programs, name)
		}
	}
	k.size(spec)
	if err := k.setConstants(spec, typed); err != nil {
		return nil, err
	}
	shared := map[string]*ebpf.Map{}
	for name, m := range k.maps {
		if spec.Maps[name] != nil {
			shared[name] = m
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared, Cache: cache})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", h.name, err)
	}
	defer coll.Close()
	return coll.DetachProgram(h.program), nil
}

func (k *Kernel) setConstants(spec *ebpf.CollectionSpec, typed bool) error {
	b := k.cfg.Budgets
	destroyed := uint32(1)
	for _, a := range k.hooks {
		if a.program != nil && a.hook.program == tcpProgDestroy {
			destroyed = 0
		}
	}
	var follow uint32
	if typed {
		follow = 1
	}
	for name, value := range map[string]any{
		packetVarHalfRing:  k.cfg.RingBytes / 2,
		packetVarUdpSets:   k.cfg.UDPFlows / setSlots,
		packetVarPaceLimit: k.cfg.PacePerSecond,
		packetVarBudgets:   [5]uint32{b.Plain, b.Candidate, b.Handshake, b.Attributed, ^uint32(0)},
		packetVarTyped:     follow,
		askVarReleaseTcp:   destroyed,
	} {
		if v := spec.Variables[name]; v != nil {
			if err := v.Set(value); err != nil {
				return fmt.Errorf("set %s: %w", name, err)
			}
		}
	}
	return nil
}

// Attach attaches what was loaded. It fails when a hook that is needed does.
func (k *Kernel) Attach() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.hooks {
		if a.err = a.attach(k.cfg.CgroupRoot); a.err != nil && a.needed {
			return a.err
		}
	}
	return nil
}

// Poll intervals: a deadline of 1 ms was a busy loop, 10 ms cost 1 % and 100 ms
// 0.2 % of a core when idle.
const (
	pollMin = 10 * time.Millisecond
	pollMax = 100 * time.Millisecond
)

// Read passes records to handle until ctx ends. The slice is valid during the
// call only. idle is called whenever the ring was found empty.
func (k *Kernel) Read(ctx context.Context, handle func([]byte), idle func()) error {
	interval := pollMax
	for ctx.Err() == nil {
		if err := k.ring.wait(interval); err != nil {
			return err
		}
		if k.ring.drain(handle) {
			interval = pollMin
		} else {
			interval = min(interval*2, pollMax)
		}
		idle()
	}
	return nil
}

// Close detaches and frees everything.
func (k *Kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.closed = true
	var errs []error
	for _, a := range k.hooks {
		if a.link != nil {
			errs = append(errs, a.link.Close())
		}
		if a.program != nil {
			errs = append(errs, a.program.Close())
		}
	}
	if k.ring != nil {
		errs = append(errs, k.ring.Close())
	}
	for _, m := range k.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

package sensor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/hashicorp/go-hclog"

	"sallyport/bpf"
)

var _ Sensor = (*Socket)(nil)

// ErrUnsupported is returned by Run where this kernel, or its mounts, cannot
// carry the socket sensor: others must do without it.
var ErrUnsupported = errors.New("the socket sensor cannot run on this host")

// checkInterval is the time between readings of the hooks' state.
const checkInterval = time.Minute

// Socket is the socket sensor: cgroup BPF on the root cgroup.
type Socket struct {
	cfg       SocketConfig
	log       hclog.Logger
	processes *processCache
	tunnels   *tunnelFinder
	malformed atomic.Uint64
	untracked atomic.Uint64

	mu       sync.Mutex
	kernel   *bpf.Kernel
	failure  error // why Run ended before it began
	whole    bool  // the host's whole cgroup tree is seen
	prefixes []netip.Prefix
}

// NewSocket prepares a socket sensor; Run does the work.
func NewSocket(cfg SocketConfig, log hclog.Logger) *Socket {
	log = log.Named("socket")
	processes := newProcessCache(cfg.Processes, cfg.KeepExited)
	return &Socket{cfg: cfg, log: log, processes: processes, tunnels: newTunnelFinder(processes)}
}

// Name implements Sensor.
func (*Socket) Name() string { return "socket" }

// Run implements Sensor. It fails with ErrUnsupported where no cgroup v2 is
// mounted or the kernel lacks what the programs need, and where the kernel
// refuses the programs that see packets.
func (s *Socket) Run(ctx context.Context, h Handler, ready func()) error {
	kernel, err := s.start()
	if err != nil {
		return s.failed(err)
	}
	defer s.stop(kernel)
	c := newConverter(s, kernel, h)
	s.processes.scan()
	s.tunnels.seedPPP()
	if err := kernel.Seed(c.handle); err != nil {
		s.log.Warn("sockets older than the agent have no owner until they send", "error", err)
	}
	c.seeded = true
	c.canaries = prove(s.log)
	ready()
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { s.tick(ctx, kernel) })
	defer background.Wait()
	defer cancel()
	return kernel.Read(ctx, c.handle, c.idle)
}

// start loads and attaches, and hands over the prefixes set before.
func (s *Socket) start() (*bpf.Kernel, error) {
	root, whole := s.cfg.CgroupRoot, true
	if root == "" {
		var err error
		if root, whole, err = bpf.FindCgroupRoot(); err != nil {
			return nil, fmt.Errorf("find cgroup root: %w", err)
		}
	}
	kernel, err := bpf.Load(bpf.Config{
		CgroupRoot: root, RingBytes: s.cfg.RingBytes, UDPFlows: s.cfg.UDPFlows, Prefixes: s.cfg.Prefixes,
		UpdateSeconds: uint32(s.cfg.UpdateInterval / time.Second), PacePerSecond: s.cfg.ListenerPace,
		Budgets: bpf.Budgets(s.cfg.Copy),
	})
	if err != nil {
		return nil, fmt.Errorf("load socket sensor: %w", err)
	}
	if err := kernel.Attach(); err != nil {
		return nil, errors.Join(fmt.Errorf("attach socket sensor: %w", err), kernel.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kernel, s.whole = kernel, whole
	if len(s.prefixes) > 0 {
		if _, err := kernel.SetPrefixes(s.prefixes); err != nil {
			s.kernel = nil
			return nil, errors.Join(err, kernel.Close())
		}
	}
	return kernel, nil
}

// failed remembers why the sensor does not run.
func (s *Socket) failed(err error) error {
	if errors.Is(err, bpf.ErrNoCgroup) || errors.Is(err, ebpf.ErrNotSupported) {
		err = fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
	return err
}

func (s *Socket) stop(kernel *bpf.Kernel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kernel = nil
	if err := kernel.Close(); err != nil {
		s.log.Warn("close of the kernel side failed", "error", err)
	}
}

// tick drives the kernel side's clock and looks after the hooks.
func (s *Socket) tick(ctx context.Context, kernel *bpf.Kernel) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			if err := kernel.Tick(); err != nil {
				s.log.Warn("kernel clock failed", "error", err)
			}
			s.processes.expire(time.Now())
		case <-check.C:
			for _, hook := range s.Hooks() {
				if !hook.Attached {
					s.log.Warn("hook is not attached", "hook", hook.Name, "error", hook.Error, "consequence", hook.Consequence)
				}
			}
		}
	}
}

func (s *Socket) running() *bpf.Kernel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kernel
}

// SetPrefixes implements Sensor. Before Run the prefixes are kept for it.
func (s *Socket) SetPrefixes(prefixes []netip.Prefix) (PrefixReport, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prefixes = prefixes
	report := PrefixReport{Given: len(prefixes)}
	if s.kernel == nil {
		return report, nil
	}
	var err error
	report.Loaded, err = s.kernel.SetPrefixes(prefixes)
	return report, err
}

// Done implements Sensor.
func (s *Socket) Done(key FlowKey) {
	kernel := s.running()
	if kernel == nil {
		return
	}
	if err := kernel.Done(key.Cookie, key.Remote); err != nil && s.log.IsDebug() {
		s.log.Debug("flow could not be marked done", "error", err)
	}
}

// Counters implements Sensor.
func (s *Socket) Counters() Counters {
	c := Counters{Lost: map[string]uint64{}, Dropped: map[string]uint64{}, Seen: map[string]uint64{}}
	if kernel := s.running(); kernel != nil {
		k, err := kernel.Counters()
		if err != nil {
			s.log.Warn("counters could not be read", "error", err)
		} else {
			maps.Copy(c.Lost, k.Lost)
			maps.Copy(c.Dropped, k.Dropped)
			maps.Copy(c.Seen, k.Seen)
		}
	}
	c.Lost["malformed_record"] = s.malformed.Load()
	c.Dropped["udp_flow_tracking"] = s.untracked.Load()
	c.Dropped["process_cache"] = s.processes.evicted()
	return c
}

// Process implements Sensor.
func (s *Socket) Process(ref ProcessRef) (Process, bool) { return s.processes.get(ref) }

// Started gives the processes that began since then, those that have gone and are
// still remembered among them.
func (s *Socket) Started(since time.Time) []Process { return s.processes.started(since) }

// Tunnel implements Sensor.
func (s *Socket) Tunnel(ref ProcessRef) (TunnelFacts, bool) { return s.tunnels.facts(ref) }

package sensor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var _ Sensor = (*Link)(nil)

// allInterfaces names the one socket that listens on all.
const allInterfaces = "all"

// Link is the link sensor: AF_PACKET in the agent's own network namespace, for
// what no socket of a process sends or receives. It names no owner.
type Link struct {
	cfg LinkConfig
	log hclog.Logger

	mu       sync.Mutex
	rings    map[string]*linkRing
	failures map[string]string // why an interface has no ring
	seen     map[string]uint64 // packets of an interface
	counters Counters

	netns uint64
	local map[netip.Addr]bool // of Run's goroutine
}

// NewLink prepares a link sensor; Run does the work.
func NewLink(cfg LinkConfig, log hclog.Logger) *Link {
	return &Link{
		cfg: cfg, log: log.Named("link"),
		rings: map[string]*linkRing{}, failures: map[string]string{}, seen: map[string]uint64{},
		counters: Counters{Lost: map[string]uint64{}, Dropped: map[string]uint64{}, Seen: map[string]uint64{}},
	}
}

// Name implements Sensor.
func (*Link) Name() string { return "link" }

// StandAlone has the sensor take every IP packet, since no socket sensor does.
// It is to be called before Run.
func (l *Link) StandAlone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg.Tap, l.cfg.Outgoing = true, true
}

const (
	linkPoll   = 100 * time.Millisecond
	linkCheck  = time.Second      // statistics, interfaces that came back
	linkReread = 10 * time.Second // the host's addresses
)

// Run implements Sensor. It fails when no interface at all can be listened on.
func (l *Link) Run(ctx context.Context, h Handler, ready func()) error {
	runtime.LockOSThread() // the namespace is the thread's
	defer runtime.UnlockOSThread()
	program, err := linkFilter(l.cfg)
	if err != nil {
		return err
	}
	if err := l.prepare(program); err != nil {
		return err
	}
	defer l.closeAll()
	ready()
	checked, reread := time.Now(), time.Now()
	for ctx.Err() == nil {
		if err := l.wait(); err != nil {
			return err
		}
		l.readAll(h)
		if time.Since(checked) >= linkCheck {
			checked = time.Now()
			l.check(program)
		}
		if time.Since(reread) >= linkReread {
			reread = time.Now()
			l.readAddresses()
		}
	}
	l.readAll(h)
	l.count()
	return nil
}

// prepare opens the rings.
func (l *Link) prepare(program []bpf.Instruction) error {
	var st syscall.Stat_t
	if err := syscall.Stat(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), &st); err != nil {
		return fmt.Errorf("identify network namespace: %w", &os.PathError{Op: "stat", Path: "ns/net", Err: err})
	}
	l.netns = st.Ino
	l.readAddresses()
	l.openMissing(program)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rings) > 0 {
		return nil
	}
	var errs []error
	for name, why := range l.failures {
		errs = append(errs, fmt.Errorf("listen on %s: %s", name, why))
	}
	return errors.Join(errs...)
}

func (l *Link) names() []string {
	if len(l.cfg.Interfaces) == 0 {
		return []string{allInterfaces}
	}
	return l.cfg.Interfaces
}

// openMissing opens what is not open: at the start, and when an interface has
// come back.
func (l *Link) openMissing(program []bpf.Instruction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range l.names() {
		if l.rings[name] != nil {
			continue
		}
		ring, err := openLinkRing(name, l.cfg, program)
		if err != nil {
			if l.failures[name] == "" {
				l.log.Warn("interface cannot be listened on", "interface", name, "error", err)
			}
			l.failures[name] = err.Error()
			continue
		}
		delete(l.failures, name)
		l.rings[name] = ring
		l.log.Info("listening", "interface", name, "tap", l.cfg.Tap, "outgoing", l.cfg.Outgoing)
	}
}

func (l *Link) readAddresses() {
	local, err := localAddresses()
	if err != nil {
		l.log.Warn("the host's addresses cannot be read", "error", err)
		return
	}
	l.local = local
}

// wait blocks until a ring has a block, or the poll time is over.
func (l *Link) wait() error {
	var fds []unix.PollFd
	for _, name := range l.names() {
		if r := l.rings[name]; r != nil {
			fds = append(fds, unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN})
		}
	}
	if len(fds) == 0 { // all interfaces have gone
		time.Sleep(linkPoll)
		return nil
	}
	n, err := unix.Poll(fds, int(linkPoll.Milliseconds()))
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("poll packet sockets: %w", err)
	}
	if n > 0 {
		l.dropDead(fds)
	}
	return nil
}

// dropDead closes the rings of interfaces that have gone or are down.
func (l *Link) dropDead(fds []unix.PollFd) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, fd := range fds {
		if fd.Revents&(unix.POLLERR|unix.POLLNVAL) == 0 {
			continue
		}
		for name, r := range l.rings {
			if r.fd != int(fd.Fd) {
				continue
			}
			code, err := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil && code == 0 {
				continue
			}
			if name == allInterfaces { // one of many went: the socket goes on
				continue
			}
			r.close()
			delete(l.rings, name)
			l.failures[name] = "the interface is down or gone"
			l.log.Warn("interface went down", "interface", name)
		}
	}
}

// readAll hands on what the rings hold.
func (l *Link) readAll(h Handler) {
	var p Packet
	for name, ring := range l.rings {
		forwarded, undecoded := uint64(0), uint64(0)
		packets, malformed := ring.read(func(f *linkFrame) {
			switch l.convert(f, &p) {
			case takePacket:
				h.Packet(&p)
			case secondCopy:
				forwarded++
			case noIP:
				undecoded++
			}
		})
		if packets+malformed == 0 {
			continue
		}
		l.mu.Lock()
		l.seen[name] += uint64(packets)
		l.counters.Seen["packets"] += uint64(packets)
		add(l.counters.Dropped, "second_copy_of_forwarded", forwarded)
		add(l.counters.Dropped, "no_ip_header", undecoded)
		add(l.counters.Lost, "malformed_ring_header", uint64(malformed))
		l.mu.Unlock()
	}
}

func add(counts map[string]uint64, reason string, n uint64) {
	if n > 0 {
		counts[reason] += n
	}
}

// fate is what becomes of a frame.
type fate uint8

const (
	takePacket fate = iota
	noIP
	secondCopy
)

// convert fills p from a frame. A forwarded packet is seen as it comes and as it
// leaves: where all interfaces are listened on, the second copy is dropped.
func (l *Link) convert(f *linkFrame, p *Packet) fate {
	if !f.toIP() {
		return noIP
	}
	src, dst := f.ends()
	out := f.kind == unix.PACKET_OUTGOING
	forwarded := !ours(l.local, src) && !ours(l.local, dst)
	if forwarded && out && len(l.cfg.Interfaces) == 0 {
		return secondCopy
	}
	*p = Packet{
		Time: f.at, Flow: FlowKey{Netns: l.netns}, Out: out, Forwarded: forwarded,
		VLAN: f.vlan, Data: f.data, Length: f.length,
	}
	return takePacket
}

// check reads the kernel's loss counters and looks after interfaces.
func (l *Link) check(program []bpf.Instruction) {
	l.count()
	l.openMissing(program)
}

func (l *Link) count() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rings {
		seen, lost := r.lost()
		add(l.counters.Seen, "kernel_packets", seen)
		add(l.counters.Lost, "ring_full", lost)
	}
}

func (l *Link) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, r := range l.rings {
		r.close()
		delete(l.rings, name)
		l.failures[name] = "the sensor has stopped"
	}
}

// SetPrefixes implements Sensor. The kernel side has no trie: a tap gives every
// packet anyway, and without it attributed remotes are the socket sensor's.
func (l *Link) SetPrefixes(prefixes []netip.Prefix) (PrefixReport, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	report := PrefixReport{Given: len(prefixes)}
	if l.cfg.Tap {
		report.Loaded = report.Given
	}
	return report, nil
}

// Done implements Sensor. The filter knows no flows, so there is nothing to stop.
func (*Link) Done(FlowKey) {}

// Hooks implements Sensor.
func (l *Link) Hooks() []HookState {
	l.mu.Lock()
	defer l.mu.Unlock()
	var hooks []HookState
	for _, name := range l.names() {
		hooks = append(hooks, HookState{
			Name: "packet socket on " + name, Attached: l.rings[name] != nil, Canary: l.seen[name] > 0,
			Error:       l.failures[name],
			Consequence: "ESP, AH, GRE, other kernel tunnels and forwarded traffic are not seen there",
		})
	}
	return hooks
}

// Counters implements Sensor.
func (l *Link) Counters() Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counters{
		Lost: maps.Clone(l.counters.Lost), Dropped: maps.Clone(l.counters.Dropped), Seen: maps.Clone(l.counters.Seen),
	}
}

// Process implements Sensor. This sensor knows no processes.
func (*Link) Process(ProcessRef) (Process, bool) { return Process{}, false }

// Tunnel implements Sensor.
func (*Link) Tunnel(ProcessRef) (TunnelFacts, bool) { return TunnelFacts{}, false }

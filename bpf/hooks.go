package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// object is one compiled file.
type object struct {
	name string
	load func() (*ebpf.CollectionSpec, error)
}

var (
	packetObject  = object{"packet", loadPacket}
	askObject     = object{"ask", loadAsk}
	tcpObject     = object{"tcp", loadTcp}
	processObject = object{"process", loadProcess}
	deviceObject  = object{"device", loadDevice}
	seedObject    = object{"seed", loadSeed}
)

// hook is a program, where it goes, and what is not seen without it.
type hook struct {
	name        string
	object      object
	program     string
	cgroup      ebpf.AttachType // of a cgroup program; 0, which is ingress, of BTF tracepoints and iterators
	counter     counter
	needed      bool // without it the sensor is of no use
	consequence string
}

// hookList is all of them, in the order in which they attach: what feeds others
// comes first.
func hookList() []hook {
	return []hook{
		{"exec", processObject, processProgExec, 0, hookExec, false, "a process that ends at once may be unknown, and a process that changes its program keeps the old name until it is read again"},
		{"fork", processObject, processProgFork, 0, hookFork, false, "a child that ends at once may be unknown"},
		{"exit", processObject, processProgLeave, 0, hookExit, false, "the end of processes is found late"},
		{"device", deviceObject, deviceProgDevice, ebpf.AttachCGroupDevice, hookDevice, false, "a process that opens a TUN or ppp device is found by scanning /proc only"},
		{"set_state", tcpObject, tcpProgSetState, 0, hookState, false, "listeners have no owner until they send, and a blocked connect is told when its socket closes"},
		{"error_report", tcpObject, tcpProgErrorReport, 0, hookError, false, "a flow refused by ICMP may read as attempted (needs Linux 5.14)"},
		{"destroy", tcpObject, tcpProgDestroy, 0, hookDestroy, false, "TCP flows end when their process closes them, without the bytes that follow"},
		{"connect4", askObject, askProgConnect4, ebpf.AttachCGroupInet4Connect, hookConnect4, false, "IPv4 connects that are blocked, and remotes as asked for before a redirect, are not seen"},
		{"connect6", askObject, askProgConnect6, ebpf.AttachCGroupInet6Connect, hookConnect6, false, "IPv6 connects that are blocked, and remotes as asked for before a redirect, are not seen"},
		{"sendmsg4", askObject, askProgSendmsg4, ebpf.AttachCGroupUDP4Sendmsg, hookSendmsg4, false, "unconnected IPv4 UDP behind NAT is split in two flows, and blocked datagrams are not seen"},
		{"sendmsg6", askObject, askProgSendmsg6, ebpf.AttachCGroupUDP6Sendmsg, hookSendmsg6, false, "unconnected IPv6 UDP behind NAT is split in two flows, and blocked datagrams are not seen"},
		{"release", askObject, askProgRelease, ebpf.AttachCgroupInetSockRelease, hookRelease, false, "UDP flows end by time-out only"},
		{"ingress", packetObject, packetProgIngress, ebpf.AttachCGroupInetIngress, hookIngress, true, "nothing that comes in is seen"},
		{"egress", packetObject, packetProgEgress, ebpf.AttachCGroupInetEgress, hookEgress, true, "nothing that goes out is seen"},
		{"files", seedObject, seedProgFiles, 0, hookFiles, false, "sockets older than the agent have no owner until they send (needs Linux 5.11)"},
	}
}

// Hook is the state of a hook.
type Hook struct {
	Name        string
	Attached    bool
	Ran         bool // it was seen to run
	Err         error
	Consequence string
}

// attached is a loaded hook.
type attached struct {
	hook
	program *ebpf.Program
	link    link.Link
	err     error
}

func (a *attached) attach(cgroupRoot string) error {
	switch {
	case a.program == nil:
		return a.err
	case a.program.Type() == ebpf.Tracing && a.object.name == seedObject.name:
		return nil // run by Seed
	case a.program.Type() == ebpf.Tracing:
		l, err := link.AttachTracing(link.TracingOptions{Program: a.program})
		if err != nil {
			return fmt.Errorf("attach %s: %w", a.name, err)
		}
		a.link = l
	default:
		l, err := link.AttachCgroup(link.CgroupOptions{Path: cgroupRoot, Attach: a.cgroup, Program: a.program})
		if err != nil {
			return fmt.Errorf("attach %s to %s: %w", a.name, cgroupRoot, err)
		}
		a.link = l
	}
	return nil
}

// Hooks reads every hook back: that its link is still there, and that it ran.
func (k *Kernel) Hooks() []Hook {
	k.mu.Lock()
	defer k.mu.Unlock()
	hooks := make([]Hook, 0, len(k.hooks))
	for _, a := range k.hooks {
		h := Hook{Name: a.name, Err: a.err, Consequence: a.consequence}
		if a.err == nil && a.link != nil && !k.closed {
			if _, err := a.link.Info(); err != nil {
				h.Err = fmt.Errorf("read %s back: %w", a.name, err)
			}
		}
		h.Attached = h.Err == nil && (a.link != nil || a.object.name == seedObject.name) && !k.closed
		n, err := k.counter(a.counter)
		h.Ran = err == nil && n > 0
		hooks = append(hooks, h)
	}
	return hooks
}

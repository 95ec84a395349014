// Package sensor holds the live sources of packets and events. Its interface is
// the seam of docs/architecture.md: what stands above it touches no BPF object
// and no /proc.
package sensor

import (
	"context"
	"net/netip"
	"time"

	"sallyport/rules"
)

// FlowKey identifies a flow of the socket sensor. A connected socket is one
// flow (Remote is zero); an unconnected UDP socket has one flow a remote.
type FlowKey struct {
	Cookie uint64         // of the socket; 0 from the link sensor
	Netns  uint64         // inode of the network namespace
	Remote netip.AddrPort // of an unconnected UDP socket's peer, else zero
}

// ProcessRef identifies a process safely against reuse of its number.
type ProcessRef struct {
	PID   uint32 // thread group id in the host's PID namespace
	Start uint64 // task->start_boottime, nanoseconds since boot
}

// OwnerRef is the owner as the kernel knows it.
type OwnerRef struct {
	Process     ProcessRef
	UID         uint32
	CgroupID    uint64
	Comm        string
	Attribution rules.Attribution
}

// Packet is one copied packet. It is valid only during the call it is passed to.
type Packet struct {
	Time     time.Time
	Flow     FlowKey
	Out      bool // left the host
	Listener bool // arrived on a listening socket: join it to the child by its tuple
	// Forwarded: neither end is this host's (a gateway's or a mirror port's
	// packet), so that Out says nothing.
	Forwarded bool
	VLAN      uint16 // identifier of the outermost tag, 0 for none
	Owner     OwnerRef
	Data      []byte // from the IP header on, possibly cut
	Length    int    // bytes on the wire, from the IP header on
}

// RecordKind is what a flow record reports.
type RecordKind uint8

// Kinds of flow records.
const (
	RecordOpen RecordKind = iota + 1
	RecordUpdate
	RecordClose
)

// FlowRecord is the kernel's own account of a flow: when it opens, at intervals
// while it is long, and when it closes. Counts are since the flow began.
type FlowRecord struct {
	Kind       RecordKind
	Time       time.Time
	Flow       FlowKey
	Transport  uint8          // IP protocol number
	Local      netip.AddrPort // the socket's own tuple
	Remote     netip.AddrPort
	WireLocal  netip.AddrPort // as the packets left or came; zero where equal or unseen
	WireRemote netip.AddrPort
	Asked      netip.AddrPort // what connect or sendmsg asked for; zero where equal or unseen
	Direction  rules.Direction
	Outcome    rules.Outcome
	Owner      OwnerRef
	First      time.Time
	BytesOut   uint64 // IP bytes
	BytesIn    uint64
	PacketsOut uint64
	PacketsIn  uint64
}

// ProcessKind is what a process event reports.
type ProcessKind uint8

// Kinds of process events.
const (
	ProcessExec ProcessKind = iota + 1
	ProcessFork
	ProcessExit
	ProcessTunnel // opened a TUN/TAP or ppp device
)

// ProcessEvent reports a change in a process's life.
type ProcessEvent struct {
	Kind    ProcessKind
	Time    time.Time
	Process ProcessRef
	Device  string // of ProcessTunnel: "tun", "ppp"
}

// Process is what the host knows of a process, kept for a while after it has
// gone.
type Process struct {
	Ref        ProcessRef
	Parent     ProcessRef
	Start      time.Time
	Executable string // absolute, as the kernel resolved it; a memfd or deleted file says so
	Name       string // comm
	Args       []string
	UID        uint32
	CgroupPath string // below the cgroup root
	CgroupID   uint64
	Exited     time.Time // zero while it runs
}

// TunnelFacts are host evidence: what ties a process to a tunnel.
type TunnelFacts struct {
	Devices []string // TUN/TAP and ppp interfaces it holds open ("tun0"), with a "?" name where unknown
	Through string   // who holds Devices for it, in words, where it does not itself: pppd
	Since   time.Time
	// DeviceBytes is the traffic of Devices, in the network namespace of the
	// process; zero where it is not known.
	DeviceBytes Bytes
	Libraries   []string // mapped files that belong to known VPN products
	Product     string   // a known product its executable carries ("softether", "openvpn"), by content, never by file name alone
	Reason      string   // how Product is known
}

// Handler takes what a sensor sees. Calls come from one goroutine and must not
// block; pointers are valid only during the call.
type Handler interface {
	Packet(*Packet)
	Record(*FlowRecord)
	Process(*ProcessEvent)
}

// HookState says whether a hook gives data, and what follows when it does not.
type HookState struct {
	Name        string
	Attached    bool
	Canary      bool   // data was seen through it since it was attached
	Error       string // why it is not attached
	Consequence string // what is not seen without it, for a person
}

// Counters counts by reason.
type Counters struct {
	Lost    map[string]uint64 // the kernel could not give it
	Dropped map[string]uint64 // we chose not to keep it
	Seen    map[string]uint64 // packets, records, copies
}

// PrefixReport says how many prefixes the kernel took.
type PrefixReport struct {
	Given, Loaded int
}

// Sensor is a live source.
type Sensor interface {
	// Name is "socket" or "link".
	Name() string
	// Run attaches, reports to h until ctx ends, and detaches. ready is called
	// once when every hook that will attach has attached.
	Run(ctx context.Context, h Handler, ready func()) error
	// SetPrefixes replaces the attributed prefixes. Every packet budget of a flow
	// with such a remote is copied.
	SetPrefixes([]netip.Prefix) (PrefixReport, error)
	// Done tells the sensor that no more packets of the flow are wanted.
	Done(FlowKey)
	Hooks() []HookState
	Counters() Counters
	// Process gives what is known of a process, gone or not.
	Process(ProcessRef) (Process, bool)
	// Tunnel gives host evidence about a process; false where there is none.
	Tunnel(ProcessRef) (TunnelFacts, bool)
}

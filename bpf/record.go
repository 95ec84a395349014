package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
)

// Kind of a record (enum record_kind in headers/record.h).
type Kind uint8

// Kinds of records.
const (
	KindPacket Kind = iota + 1
	KindOpen
	KindUpdate
	KindClose
	KindExec
	KindFork
	KindExit
	KindDevice
	KindSocket // a socket that was open before the sensor began
	KindTunnel // a TUN file that is held open
	KindGone   // an unconnected UDP socket closed: all its flows are over
)

// Flags of packets and flows (enum record_flag).
const (
	FlagOut = 1 << iota
	FlagListener
	FlagUnconnected
	FlagAttributed
)

// Attributions (enum attribution).
const (
	OwnerUnknown = iota
	OwnerSeeded
	OwnerInherited
	OwnerExact
)

// Directions (enum direction).
const (
	DirectionUnknown = iota
	DirectionOutbound
	DirectionInbound
)

// Outcomes (enum outcome).
const (
	OutcomeBlocked = iota + 1
	OutcomeAttempted
	OutcomeRefused
	OutcomeEstablished
	OutcomeData
)

// TCPListen is the state of a listening socket (include/net/tcp_states.h).
const TCPListen = 10

// Sizes of the records without their variable part.
const (
	ownerSize   = 48
	packetSize  = 104
	flowSize    = 224
	processSize = 80
	execSize    = 3424
)

// Places of the exec record's fields.
const (
	execLengths  = processSize
	execFilename = 96
	execArgs     = execFilename + 256
	execPath     = execArgs + 1024
	execCgroup   = execPath + 1024 + 256
)

// ErrRecord means that a record is shorter than its kind, or of no known kind.
var ErrRecord = errors.New("malformed kernel record")

// Owner is a process as the kernel saw it run.
type Owner struct {
	Start       uint64 // group leader's start_boottime, ns since boot
	Cgroup      uint64
	TGID        uint32 // 0: unknown
	UID         uint32
	Comm        string
	Attribution uint8
}

// Packet is one copied packet; Data points into the ring's sample.
type Packet struct {
	Flags    uint8
	Protocol uint8
	Class    uint8
	Length   uint32 // on the wire, from the IP header on
	Netns    uint32
	Time     uint64 // CLOCK_MONOTONIC, ns
	Cookie   uint64
	Owner    Owner
	Remote   netip.AddrPort // of an unconnected socket
	Data     []byte         // from the IP header on
}

// Flow is the kernel's account of a flow. Of KindSocket, State is the TCP state.
type Flow struct {
	Kind        Kind
	Flags       uint8
	Protocol    uint8
	Direction   uint8
	Outcome     uint8 // TCP state in KindSocket
	Netns       uint32
	Time, First uint64 // CLOCK_MONOTONIC, ns
	Cookie      uint64
	Owner       Owner
	Local       netip.AddrPort
	Remote      netip.AddrPort
	WireLocal   netip.AddrPort // invalid where equal
	WireRemote  netip.AddrPort
	Asked       netip.AddrPort // invalid where unseen
	BytesOut    uint64
	BytesIn     uint64
	PacketsOut  uint64
	PacketsIn   uint64
}

// Process is an event in a process's life.
type Process struct {
	Kind        Kind
	Device      uint32 // major << 20 | minor; of KindTunnel the file descriptor
	Time        uint64
	Owner       Owner
	Parent      uint32
	ParentStart uint64
	Exec        *Exec // of KindExec
}

// Exec is what the kernel knows at exec.
type Exec struct {
	Filename  string // as given to execve
	Path      string // resolved, from the root of its mount namespace
	PathWhole bool   // Path reaches the root
	Deleted   bool
	Args      []string
	ArgsCut   bool
	Cgroup    string // path below the hierarchy's root
}

// KindOf reads a record's kind; 0 where there is none.
func KindOf(raw []byte) Kind {
	if len(raw) == 0 {
		return 0
	}
	return Kind(raw[0])
}

// Decode fills p from a packet record, or from a flow record that carries a
// packet.
func (p *Packet) Decode(raw []byte) error {
	if len(raw) < packetSize {
		return ErrRecord
	}
	size := packetSize
	if Kind(raw[0]) != KindPacket {
		size = flowSize
		if !Carries(raw) {
			return ErrRecord
		}
	}
	captured := binary.LittleEndian.Uint32(raw[8:])
	if uint64(captured) > uint64(len(raw)-size) {
		return ErrRecord
	}
	p.Flags, p.Protocol, p.Class = raw[1], raw[2], raw[3]
	p.Length = binary.LittleEndian.Uint32(raw[4:])
	p.Netns = binary.LittleEndian.Uint32(raw[12:])
	p.Time = binary.LittleEndian.Uint64(raw[16:])
	p.Cookie = binary.LittleEndian.Uint64(raw[24:])
	p.Owner.decode(raw[32:])
	p.Remote = netip.AddrPort{}
	if p.Flags&FlagUnconnected != 0 {
		p.Remote = endpoint(raw[80:])
	}
	p.Data = raw[size : size+int(captured)]
	return nil
}

// Carries says whether a flow record has the packet with it that it was made for.
func Carries(raw []byte) bool {
	return len(raw) > flowSize && isFlow(Kind(raw[0])) && binary.LittleEndian.Uint32(raw[8:]) > 0
}

func isFlow(k Kind) bool {
	switch k {
	case KindOpen, KindUpdate, KindClose, KindSocket, KindGone:
		return true
	}
	return false
}

// Decode fills f from a flow record.
func (f *Flow) Decode(raw []byte) error {
	if len(raw) < flowSize || !isFlow(Kind(raw[0])) {
		return ErrRecord
	}
	f.Kind, f.Flags, f.Protocol = Kind(raw[0]), raw[1], raw[2]
	f.Netns = binary.LittleEndian.Uint32(raw[12:])
	f.Time = binary.LittleEndian.Uint64(raw[16:])
	f.Cookie = binary.LittleEndian.Uint64(raw[24:])
	f.Owner.decode(raw[32:])
	f.Remote = endpoint(raw[80:])
	f.Direction, f.Outcome = raw[100], raw[101]
	f.Local = endpoint(raw[104:])
	f.WireRemote, f.WireLocal = optional(raw[124:]), optional(raw[144:])
	f.Asked = optional(raw[164:])
	f.First = binary.LittleEndian.Uint64(raw[184:])
	f.BytesOut = binary.LittleEndian.Uint64(raw[192:])
	f.BytesIn = binary.LittleEndian.Uint64(raw[200:])
	f.PacketsOut = binary.LittleEndian.Uint64(raw[208:])
	f.PacketsIn = binary.LittleEndian.Uint64(raw[216:])
	return nil
}

// Decode fills p from a process record.
func (p *Process) Decode(raw []byte) error {
	if len(raw) < processSize {
		return ErrRecord
	}
	p.Kind, p.Exec = Kind(raw[0]), nil
	switch p.Kind {
	case KindExec:
		exec, err := decodeExec(raw)
		if err != nil {
			return err
		}
		p.Exec = exec
	case KindFork, KindExit, KindDevice, KindTunnel:
	default:
		return ErrRecord
	}
	p.Device = binary.LittleEndian.Uint32(raw[4:])
	p.Time = binary.LittleEndian.Uint64(raw[8:])
	p.Owner.decode(raw[16:])
	p.ParentStart = binary.LittleEndian.Uint64(raw[64:])
	p.Parent = binary.LittleEndian.Uint32(raw[72:])
	return nil
}

func decodeExec(raw []byte) (*Exec, error) {
	if len(raw) < execSize {
		return nil, ErrRecord
	}
	length := func(i int) int { return int(binary.LittleEndian.Uint16(raw[execLengths+2*i:])) }
	field := func(at, n, limit int) []byte { return raw[at : at+min(n, limit)] }
	e := &Exec{
		Filename:  text(field(execFilename, length(0), 256)),
		Path:      upward(field(execPath, length(1), 1024+256)),
		Cgroup:    upward(field(execCgroup, length(3), 512+256)),
		Deleted:   raw[88] != 0,
		PathWhole: raw[89] != 0,
		ArgsCut:   raw[90] != 0,
	}
	if args := bytes.TrimSuffix(field(execArgs, length(2), 1024), []byte{0}); len(args) > 0 {
		e.Args = strings.Split(string(args), "\x00")
	}
	return e, nil
}

// upward joins names that come leaf first, each with its NUL, into a path.
func upward(b []byte) string {
	names := bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0})
	var path strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		path.WriteByte('/')
		path.Write(names[i])
	}
	return path.String()
}

func (o *Owner) decode(b []byte) {
	_ = b[ownerSize-1]
	o.Attribution = b[0]
	o.TGID = binary.LittleEndian.Uint32(b[4:])
	o.UID = binary.LittleEndian.Uint32(b[8:])
	o.Start = binary.LittleEndian.Uint64(b[16:])
	o.Cgroup = binary.LittleEndian.Uint64(b[24:])
	o.setComm(b[32:48])
}

// setComm keeps the string where it is the same already: a reader that decodes
// into one record again and again allocates only when the owner changes.
func (o *Owner) setComm(b []byte) {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	if o.Comm != string(b) {
		o.Comm = string(b)
	}
}

// endpoint reads struct endpoint: an address, IPv4 as v4-mapped, and a port in
// network order.
func endpoint(b []byte) netip.AddrPort {
	addr := netip.AddrFrom16([16]byte(b[:16])).Unmap()
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[16:]))
}

// optional is endpoint, invalid where nothing was written.
func optional(b []byte) netip.AddrPort {
	e := endpoint(b)
	if e.Port() == 0 && e.Addr() == netip.IPv6Unspecified() {
		return netip.AddrPort{}
	}
	return e
}

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

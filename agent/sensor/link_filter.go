package sensor

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// maxProtocols keeps the filter's jumps within their eight bits.
const maxProtocols = 64

// EtherTypes (IEEE 802 numbers, IANA) that hold IP.
const (
	typeIPv4  = 0x0800
	typeIPv6  = 0x86dd
	typeVLAN  = 0x8100
	typeQinQ  = 0x88a8
	typeMPLS  = 0x8847
	typePPPoE = 0x8864
)

// linkFilter is the kernel's choice, as classic BPF: it runs on every packet, so
// what is not wanted must fall out early. Offset 0 is the network header.
func linkFilter(c LinkConfig) ([]bpf.Instruction, error) {
	program := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtProto}}
	if c.Tap {
		for _, typ := range []uint32{typeIPv4, typeIPv6, typeVLAN, typeQinQ, typeMPLS, typePPPoE} {
			program = append(program, takeIf(typ, c.Snap)...)
		}
		return append(program, bpf.RetConstant{Val: 0}), nil
	}
	for _, family := range []struct {
		typ  uint32
		body []bpf.Instruction
	}{{typeIPv4, filterIPv4(c)}, {typeIPv6, filterIPv6(c)}} {
		if len(family.body) > 255 {
			return nil, fmt.Errorf("filter of %d instructions is too long", len(family.body))
		}
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: family.typ, SkipTrue: uint8(len(family.body))})
		program = append(program, family.body...)
	}
	return append(program, bpf.RetConstant{Val: 0}), nil
}

// takeIf ends the program with the packet when A is val.
func takeIf(val, snap uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: val, SkipTrue: 1},
		bpf.RetConstant{Val: snap},
	}
}

// dropUnless ends the program without the packet when A is not val.
func dropUnless(val uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: val, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
}

func filterIPv4(c LinkConfig) []bpf.Instruction {
	p := []bpf.Instruction{bpf.LoadAbsolute{Off: 9, Size: 1}}
	for _, proto := range c.Protocols {
		p = append(p, takeIf(uint32(proto), c.Snap)...)
	}
	p = append(p, dropUnless(unix.IPPROTO_UDP)...)
	p = append(p,
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x1fff, SkipTrue: 1}, // the first fragment, or whole
		bpf.RetConstant{Val: 0},
		bpf.LoadMemShift{Off: 0}, // X: length of the IP header
	)
	return append(p, filterWireGuard(c.Snap, 0, true)...)
}

func filterIPv6(c LinkConfig) []bpf.Instruction {
	p := []bpf.Instruction{bpf.LoadAbsolute{Off: 6, Size: 1}}
	for _, proto := range c.Protocols {
		p = append(p, takeIf(uint32(proto), c.Snap)...)
	}
	p = append(p, dropUnless(unix.IPPROTO_UDP)...)
	return append(p, filterWireGuard(c.Snap, 40, false)...)
}

// filterWireGuard takes handshake initiations, responses and cookie replies: the
// type with three zero bytes, and the one length a message of it has
// (WireGuard: Next Generation Kernel Network Tunnel, section 5.4). The kernel's
// own WireGuard has no socket that a process owns.
func filterWireGuard(snap, at uint32, indirect bool) []bpf.Instruction {
	load := func(off uint32, size int) bpf.Instruction {
		if indirect {
			return bpf.LoadIndirect{Off: at + off, Size: size}
		}
		return bpf.LoadAbsolute{Off: at + off, Size: size}
	}
	var p []bpf.Instruction
	for _, m := range []struct{ typ, length uint32 }{{1, 148}, {2, 92}, {3, 64}} {
		p = append(p,
			load(4, 2), // UDP length
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 8 + m.length, SkipTrue: 3},
			load(8, 4),
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: m.typ << 24, SkipTrue: 1},
			bpf.RetConstant{Val: snap},
		)
	}
	return append(p, bpf.RetConstant{Val: 0})
}

// attachFilter gives the program to the kernel.
func attachFilter(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assemble filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	return nil
}

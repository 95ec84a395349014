package hostevidence

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// generic is generic netlink in one namespace, with the families that are loaded
// there: to ask for one by its name would load its module.
type generic struct {
	socket   *nl.NetlinkSocket
	families map[string]uint16
}

func openGeneric(h *netlink.Handle, in netns.NsHandle) (*generic, error) {
	list, err := h.GenlFamilyList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list generic netlink families: %w", err)
	}
	g := &generic{families: map[string]uint16{}}
	for _, f := range list {
		g.families[f.Name] = f.ID
	}
	g.socket, err = nl.GetNetlinkSocketAt(in, netns.None(), unix.NETLINK_GENERIC)
	if err != nil {
		return nil, fmt.Errorf("open generic netlink: %w", err)
	}
	if err := g.socket.SetReceiveTimeout(&nl.SocketTimeoutTv); err != nil {
		g.socket.Close()
		return nil, fmt.Errorf("bound the wait for netlink: %w", err)
	}
	return g, nil
}

func (g *generic) close() { g.socket.Close() }

// dump asks for everything a command gives, and returns the attributes of each
// message. A family that is not loaded has nothing.
func (g *generic) dump(family string, version, command uint8, with ...nl.NetlinkRequestData) ([][]byte, error) {
	id, loaded := g.families[family]
	if !loaded {
		return nil, nil
	}
	req := nl.NewNetlinkRequest(int(id), unix.NLM_F_DUMP)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_GENERIC: {Socket: g.socket}}
	req.AddData(&nl.Genlmsg{Command: command, Version: version})
	for _, data := range with {
		req.AddData(data)
	}
	messages, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, err
	}
	var out [][]byte
	for _, m := range messages {
		if len(m) >= nl.SizeofGenlmsg {
			out = append(out, m[nl.SizeofGenlmsg:])
		}
	}
	return out, nil
}

// attributes walks netlink attributes, without their flags
// (include/uapi/linux/netlink.h); a broken length ends the walk.
func attributes(b []byte, f func(typ uint16, value []byte)) {
	const header, flags = 4, 0xc000
	for len(b) >= header {
		length := int(binary.NativeEndian.Uint16(b))
		if length < header || length > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^flags, b[header:length])
		b = b[min((length+3)&^3, len(b)):]
	}
}

// native reads a number of the host's byte order, 0 for a length that is none.
func native(b []byte) uint64 {
	switch len(b) {
	case 2:
		return uint64(binary.NativeEndian.Uint16(b))
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	case 8:
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}

func native16(b []byte) uint16 { return uint16(native(b)) }

package hostevidence

import (
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sallyport/agent/sensor"
)

// linkTunnels reads the devices whose driver carries packets in packets of its
// own, and the names of WireGuard devices, whose peers are read elsewhere. A
// device without one remote (the default for each namespace, multipoint GRE,
// VXLAN that learns its peers) is left out.
func linkTunnels(h *netlink.Handle, netns uint64) (tunnels []KernelTunnel, wireguards []string, err error) {
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, nil, err
	}
	for _, l := range links {
		if l.Type() == "wireguard" {
			wireguards = append(wireguards, l.Attrs().Name)
			continue
		}
		t, ok := tunnelOf(l)
		if !ok || !t.Remote.Addr().IsValid() || t.Remote.Addr().IsUnspecified() || t.Remote.Addr().IsMulticast() {
			continue
		}
		t.Kind, t.Device, t.Netns = l.Type(), l.Attrs().Name, netns
		if s := l.Attrs().Statistics; s != nil {
			t.Bytes = sensor.Bytes{Out: s.TxBytes, In: s.RxBytes}
			t.Packets = sensor.Bytes{Out: s.TxPackets, In: s.RxPackets}
		}
		// The device counts what came from this remote alone.
		t.Answered = t.Bytes.In > 0 && t.Bytes.Out > 0
		tunnels = append(tunnels, t)
	}
	return tunnels, wireguards, nil
}

// tunnelOf gives the ends of a tunnel device.
func tunnelOf(l netlink.Link) (KernelTunnel, bool) {
	switch l := l.(type) {
	case *netlink.Gretun:
		return encapsulated(unix.IPPROTO_GRE, l.Local, l.Remote, l.EncapType, l.EncapDport), true
	case *netlink.Gretap:
		return encapsulated(unix.IPPROTO_GRE, l.Local, l.Remote, l.EncapType, l.EncapDport), true
	case *netlink.Iptun:
		return encapsulated(unix.IPPROTO_IPIP, l.Local, l.Remote, l.EncapType, l.EncapDport), true
	case *netlink.Sittun:
		return encapsulated(unix.IPPROTO_IPV6, l.Local, l.Remote, l.EncapType, l.EncapDport), true
	case *netlink.Ip6tnl:
		proto := uint8(unix.IPPROTO_IPV6)
		if l.Proto == unix.IPPROTO_IPIP {
			proto = unix.IPPROTO_IPIP
		}
		return encapsulated(proto, l.Local, l.Remote, l.EncapType, l.EncapDport), true
	case *netlink.Vxlan:
		return overUDP(l.SrcAddr, l.Group, uint16(l.Port)), true
	case *netlink.Geneve:
		return overUDP(nil, l.Remote, l.Dport), true
	}
	return KernelTunnel{}, false
}

// encapsulated is a tunnel of an IP protocol, or that in UDP (foo over UDP).
func encapsulated(proto uint8, local, remote net.IP, encap, port uint16) KernelTunnel {
	if encap != uint16(netlink.None) {
		t := overUDP(local, remote, port)
		t.Detail = "in UDP"
		return t
	}
	return KernelTunnel{Transport: proto, Local: netip.AddrPortFrom(addrOf(local), 0), Remote: netip.AddrPortFrom(addrOf(remote), 0)}
}

// overUDP is a tunnel in UDP: the port it sends from varies.
func overUDP(local, remote net.IP, port uint16) KernelTunnel {
	return KernelTunnel{Transport: unix.IPPROTO_UDP, Local: netip.AddrPortFrom(addrOf(local), 0), Remote: netip.AddrPortFrom(addrOf(remote), port)}
}

// addrOf is invalid for an address that is not set.
func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	if a = a.Unmap(); a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// localAddresses are those of a namespace.
func localAddresses(h *netlink.Handle) (map[netip.Addr]bool, error) {
	list, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, err
	}
	local := make(map[netip.Addr]bool, len(list))
	for _, a := range list {
		if a.IPNet != nil {
			local[addrOf(a.IP)] = true
		}
	}
	return local, nil
}

// sourceFor is the address that the kernel sends from to a remote, invalid where
// there is no route.
func sourceFor(h *netlink.Handle, remote netip.Addr, mark uint32) netip.Addr {
	routes, err := h.RouteGetWithOptions(remote.AsSlice(), &netlink.RouteGetOptions{Mark: mark})
	if err != nil || len(routes) == 0 {
		return netip.Addr{}
	}
	return addrOf(routes[0].Src)
}

// mentions says whether a command's arguments name a device or an address.
func mentions(args []string, device string, addrs ...netip.Addr) bool {
	for _, arg := range args {
		if device != "" && (arg == device || strings.HasSuffix(arg, "/"+device+".conf")) {
			return true
		}
		for _, a := range addrs {
			if a.IsValid() && arg == a.String() {
				return true
			}
		}
	}
	return false
}

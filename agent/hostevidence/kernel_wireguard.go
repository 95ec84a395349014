package hostevidence

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Commands and attributes of WireGuard's generic netlink family
// (include/uapi/linux/wireguard.h).
const (
	wgFamily       = "wireguard"
	wgVersion      = 1
	wgGetDevice    = 0
	wgDeviceName   = 2
	wgDevicePriv   = 3
	wgDevicePort   = 6
	wgDeviceMark   = 7
	wgDevicePeers  = 8
	wgPeerKey      = 1
	wgPeerShared   = 2
	wgPeerEndpoint = 4
	wgPeerLast     = 6
	wgPeerRX       = 7
	wgPeerTX       = 8
	wgKeyBytes     = 32
)

// wireguardTunnels reads the peers of a device: each with an endpoint is a tunnel.
func wireguardTunnels(g *generic, device string, netns uint64) ([]KernelTunnel, error) {
	messages, err := g.dump(wgFamily, wgVersion, wgGetDevice, nl.NewRtAttr(wgDeviceName, nl.ZeroTerminated(device)))
	if err != nil {
		return nil, fmt.Errorf("read WireGuard device %s: %w", device, err)
	}
	var tunnels []KernelTunnel
	for _, m := range messages {
		tunnels = append(tunnels, parseWireGuard(m)...)
	}
	for i := range tunnels {
		tunnels[i].Device, tunnels[i].Netns = device, netns
	}
	return tunnels, nil
}

// parseWireGuard reads one message of a device. The kernel gives keys along that
// must not stay in memory: they are overwritten.
func parseWireGuard(message []byte) (tunnels []KernelTunnel) {
	var port uint16
	var mark uint32
	attributes(message, func(typ uint16, value []byte) {
		switch typ {
		case wgDevicePriv:
			clear(value)
		case wgDevicePort:
			port = native16(value)
		case wgDeviceMark:
			mark = uint32(native(value))
		case wgDevicePeers:
			attributes(value, func(_ uint16, peer []byte) {
				if t, ok := parsePeer(peer); ok {
					tunnels = append(tunnels, t)
				}
			})
		}
	})
	for i := range tunnels {
		tunnels[i].Local, tunnels[i].Mark = netip.AddrPortFrom(netip.Addr{}, port), mark
	}
	return tunnels
}

func parsePeer(peer []byte) (KernelTunnel, bool) {
	t := KernelTunnel{Kind: "wireguard", Transport: unix.IPPROTO_UDP}
	var key []byte
	var shook time.Time
	attributes(peer, func(typ uint16, value []byte) {
		switch typ {
		case wgPeerShared:
			clear(value)
		case wgPeerKey:
			key = value
		case wgPeerEndpoint:
			t.Remote = socketAddress(value)
		case wgPeerLast: // struct __kernel_timespec
			if len(value) == 16 {
				if s := native(value[:8]); s > 0 && s < 1<<40 {
					shook = time.Unix(int64(s), 0).UTC()
				}
			}
		case wgPeerRX:
			t.Bytes.In = native(value)
		case wgPeerTX:
			t.Bytes.Out = native(value)
		}
	})
	if len(key) == wgKeyBytes {
		t.Detail = "public key " + base64.StdEncoding.EncodeToString(key)
	}
	// A handshake is complete when the far side has shown that it holds its key.
	if t.Answered = !shook.IsZero(); t.Answered {
		t.Detail += ", last handshake " + shook.Format(time.RFC3339)
	}
	return t, t.Remote.IsValid()
}

// socketAddress reads a struct sockaddr_in or sockaddr_in6.
func socketAddress(b []byte) netip.AddrPort {
	if len(b) < 4 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch family := native16(b[:2]); {
	case family == unix.AF_INET && len(b) >= 8:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case family == unix.AF_INET6 && len(b) >= 24:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

package hostevidence

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Commands and attributes of L2TP's generic netlink family
// (include/uapi/linux/l2tp.h).
const (
	l2tpFamily    = "l2tp"
	l2tpVersion   = 1
	l2tpGetTunnel = 4
	l2tpEncap     = 2
	l2tpConnID    = 9
	l2tpPeerID    = 10
	l2tpLocal     = 24
	l2tpRemote    = 25
	l2tpSPort     = 26
	l2tpDPort     = 27
	l2tpStats     = 30
	l2tpLocal6    = 31
	l2tpRemote6   = 32
	l2tpEncapIP   = 1
	l2tpTXPackets = 1
	l2tpTXBytes   = 2
	l2tpRXPackets = 4
	l2tpRXBytes   = 5
)

// l2tpTunnels reads the tunnels of kernel L2TP: over UDP, whose socket may be a
// process's, and over IP, which has none.
func l2tpTunnels(g *generic, netns uint64) ([]KernelTunnel, error) {
	messages, err := g.dump(l2tpFamily, l2tpVersion, l2tpGetTunnel)
	if err != nil {
		return nil, fmt.Errorf("read L2TP tunnels: %w", err)
	}
	var tunnels []KernelTunnel
	for _, m := range messages {
		if t, ok := parseL2TP(m); ok {
			t.Netns = netns
			tunnels = append(tunnels, t)
		}
	}
	return tunnels, nil
}

func parseL2TP(message []byte) (KernelTunnel, bool) {
	t := KernelTunnel{Kind: "l2tp", Transport: unix.IPPROTO_UDP}
	var local, remote netip.Addr
	var sport, dport uint16
	var id, peer uint64
	attributes(message, func(typ uint16, value []byte) {
		switch typ {
		case l2tpEncap:
			if native16(value) == l2tpEncapIP {
				t.Transport = unix.IPPROTO_L2TP
			}
		case l2tpConnID:
			id = native(value)
		case l2tpPeerID:
			peer = native(value)
		case l2tpLocal, l2tpLocal6:
			local = addrOf(value)
		case l2tpRemote, l2tpRemote6:
			remote = addrOf(value)
		case l2tpSPort:
			sport = native16(value)
		case l2tpDPort:
			dport = native16(value)
		case l2tpStats:
			attributes(value, func(typ uint16, value []byte) {
				switch typ {
				case l2tpTXPackets:
					t.Packets.Out = native(value)
				case l2tpTXBytes:
					t.Bytes.Out = native(value)
				case l2tpRXPackets:
					t.Packets.In = native(value)
				case l2tpRXBytes:
					t.Bytes.In = native(value)
				}
			})
		}
	})
	if t.Transport == unix.IPPROTO_L2TP {
		sport, dport = 0, 0
	}
	t.Local, t.Remote = netip.AddrPortFrom(local, sport), netip.AddrPortFrom(remote, dport)
	t.Device = fmt.Sprintf("tunnel %d", id)
	t.Detail = fmt.Sprintf("the peer's tunnel %d", peer)
	t.Answered = t.Bytes.In > 0 && t.Bytes.Out > 0
	return t, remote.IsValid()
}

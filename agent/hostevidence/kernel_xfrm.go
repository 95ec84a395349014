package hostevidence

import (
	"errors"
	"fmt"
	"net/netip"
	"sort"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sallyport/agent/sensor"
)

// xfrmTunnels reads IPsec states: what goes to a remote and what comes from it
// are states of their own, and one tunnel.
func xfrmTunnels(h *netlink.Handle, local map[netip.Addr]bool, netns uint64) ([]KernelTunnel, error) {
	states, err := h.XfrmStateList(netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("read IPsec states: %w", err)
	}
	return joinStates(states, local, netns), nil
}

// joinStates joins states by their remote.
func joinStates(states []netlink.XfrmState, local map[netip.Addr]bool, netns uint64) []KernelTunnel {
	tunnels, spis := map[endpoint]*KernelTunnel{}, map[endpoint][]string{}
	for i := range states {
		s := &states[i]
		kind := map[netlink.Proto]string{netlink.XFRM_PROTO_ESP: "esp", netlink.XFRM_PROTO_AH: "ah"}[s.Proto]
		src, dst := addrOf(s.Src), addrOf(s.Dst)
		if kind == "" || s.Spi == 0 || local[src] == local[dst] {
			continue // not a tunnel's, not agreed on yet, or another host's
		}
		t := KernelTunnel{Kind: kind, Netns: netns, Transport: uint8(s.Proto)}
		var sport, dport uint16
		if s.Encap != nil {
			t.Transport, sport, dport = unix.IPPROTO_UDP, uint16(s.Encap.SrcPort), uint16(s.Encap.DstPort)
		}
		from, to := netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
		t.Local, t.Remote = from, to
		if local[dst] {
			t.Local, t.Remote = to, from
		}
		at := t.endpoint()
		if tunnels[at] == nil {
			tunnels[at] = &t
		}
		tunnels[at].add(s, local[src])
		spis[at] = append(spis[at], fmt.Sprintf("0x%08x", uint32(s.Spi)))
	}
	var out []KernelTunnel
	for at, t := range tunnels {
		sort.Strings(spis[at])
		t.Detail = fmt.Sprintf("SPIs %s", strings.Join(spis[at], " "))
		t.Answered = t.Bytes.In > 0 && t.Bytes.Out > 0 // what comes in has passed its integrity check
		out = append(out, *t)
	}
	return out
}

func (t *KernelTunnel) add(s *netlink.XfrmState, out bool) {
	bytes, packets := sensor.Bytes{In: s.Statistics.Bytes}, sensor.Bytes{In: s.Statistics.Packets}
	if out {
		bytes, packets = sensor.Bytes{Out: s.Statistics.Bytes}, sensor.Bytes{Out: s.Statistics.Packets}
	}
	t.Bytes.Out += bytes.Out
	t.Bytes.In += bytes.In
	t.Packets.Out += packets.Out
	t.Packets.In += packets.In
}

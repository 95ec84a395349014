package hostevidence

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// KernelTunnel is a tunnel that the kernel itself carries, to one remote. No
// process sends its outer packets.
type KernelTunnel struct {
	Kind      string // "wireguard", "esp", "ah", "l2tp", or what the device is: "gre", "ipip", "vxlan"
	Device    string // "" for IPsec states
	Netns     uint64
	Transport uint8          // IP protocol of the outer packets
	Local     netip.AddrPort // port 0 where it varies or there are none
	Remote    netip.AddrPort
	Bytes     sensor.Bytes
	Packets   sensor.Bytes // packets, not bytes
	Answered  bool         // what came in could not have come without the far side's part in it
	Detail    string       // in words
	Mark      uint32       // firewall mark of the outer packets, for the route they take
}

// endpoint is what a tunnel is found by. Local addresses are left out: they are
// the route's, and change with it.
type endpoint struct {
	netns     uint64
	transport uint8
	remote    netip.AddrPort
}

func (t *KernelTunnel) endpoint() endpoint { return endpoint{t.Netns, t.Transport, t.Remote} }

// kernelCategories are the kinds that have a category of their own.
var kernelCategories = map[string]string{
	"wireguard": "wireguard", "esp": "esp", "ah": "ah", "l2tp": "l2tp", "gre": "gre", "gretap": "gre", "ip6gre": "gre", "ip6gretap": "gre",
}

// kernelNames are the kinds in words.
var kernelNames = map[string]string{"wireguard": "WireGuard", "esp": "ESP", "ah": "AH", "l2tp": "L2TP", "gre": "GRE"}

// category names what the outer packets are.
func (t *KernelTunnel) category() string {
	if c := kernelCategories[t.Kind]; c != "" {
		return c
	}
	return vpnTunnel
}

// state is "confirmed" once the far side has taken part.
func (t *KernelTunnel) state() string {
	if t.Answered {
		return confirmed
	}
	return suspected
}

func (t *KernelTunnel) outcome() rules.Outcome {
	switch {
	case t.Answered && t.Bytes.In > 0 && t.Bytes.Out > 0:
		return rules.OutcomeData
	case t.Answered:
		return rules.OutcomeEstablished
	}
	return rules.OutcomeAttempted
}

// words are the evidence, without who made the tunnel.
func (t *KernelTunnel) words() string {
	name := kernelNames[t.Kind]
	if name == "" {
		name = t.Kind
	}
	what := "the kernel's IPsec states " + name
	if t.Device != "" {
		what = fmt.Sprintf("kernel %s device %s", name, t.Device)
	}
	remote := t.Remote.Addr().String()
	if t.Remote.Port() != 0 {
		remote = t.Remote.String()
	}
	said := []string{fmt.Sprintf("%s, peer %s", what, remote)}
	if t.Detail != "" {
		said = append(said, t.Detail)
	}
	return strings.Join(append(said, fmt.Sprintf("out %s, in %s", size(t.Bytes.Out), size(t.Bytes.In))), ", ")
}

// Evidence is what the kernel's own tables show of a flow.
type Evidence struct {
	tunnel KernelTunnel
	maker  Maker
}

// Identification joins what the packets of the flow showed with what the kernel's
// tables do. The packets' word stands, where they show a category; seen says so.
func (e *Evidence) Identification(packets rules.Identification, seen bool) rules.Identification {
	said := e.tunnel.words()
	if by := e.maker.words(); by != "" {
		said += ", " + by
	}
	if !seen {
		return rules.Identification{Protocol: e.tunnel.category(), State: e.tunnel.state(), Source: source, Evidence: said}
	}
	id := packets
	if id.Protocol == e.tunnel.category() && id.State != confirmed && e.tunnel.Answered {
		id.State, id.Source = confirmed, source
	}
	id.Evidence = strings.TrimPrefix(id.Evidence+"; "+said, "; ")
	return id
}

// followed is a tunnel under watch.
type followed struct {
	KernelTunnel
	maker  Maker
	raw    counts    // as last read: states are replaced, and their counts begin anew
	first  time.Time // when it was seen
	before time.Time // when it was not there yet
	told   time.Time // of the last record, zero for none
	said   string    // state and maker of the last record
	gone   bool
}

type counts struct{ bytes, packets sensor.Bytes }

// update takes what was read now.
func (f *followed) update(now *KernelTunnel) {
	sum := f.KernelTunnel
	sum.Bytes.Out += rise(f.raw.bytes.Out, now.Bytes.Out)
	sum.Bytes.In += rise(f.raw.bytes.In, now.Bytes.In)
	sum.Packets.Out += rise(f.raw.packets.Out, now.Packets.Out)
	sum.Packets.In += rise(f.raw.packets.In, now.Packets.In)
	f.raw = counts{now.Bytes, now.Packets}
	local := f.Local
	f.KernelTunnel = *now
	f.Bytes, f.Packets = sum.Bytes, sum.Packets
	f.Answered = now.Answered || sum.Answered
	if !f.Local.Addr().IsValid() {
		f.Local = netip.AddrPortFrom(local.Addr(), now.Local.Port())
	}
}

// record is the flow of a tunnel, as the flow table takes it.
func (f *followed) record(kind sensor.RecordKind, now time.Time) sensor.FlowRecord {
	r := sensor.FlowRecord{
		Kind: kind, Time: now, First: f.first, Flow: sensor.FlowKey{Netns: f.Netns}, Transport: f.Transport,
		Local: f.Local, Remote: f.Remote, Direction: rules.DirectionUnknown, Outcome: f.outcome(),
		BytesOut: f.Bytes.Out, BytesIn: f.Bytes.In, PacketsOut: f.Packets.Out, PacketsIn: f.Packets.In,
		Owner: sensor.OwnerRef{Attribution: rules.AttributionUnknown},
	}
	if f.maker.Process.PID != 0 {
		r.Owner = sensor.OwnerRef{
			Process: f.maker.Process, UID: f.maker.UID, Comm: f.maker.Name, CgroupID: f.maker.CgroupID, Attribution: rules.AttributionTunnel,
		}
	}
	return r
}

// close reports the end of a tunnel that was told of.
func (f *followed) close(h sensor.Handler, now time.Time) {
	if !f.told.IsZero() {
		r := f.record(sensor.RecordClose, now)
		h.Record(&r)
	}
}

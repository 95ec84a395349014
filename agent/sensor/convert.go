package sensor

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/bpf"
	"sallyport/rules"
)

// converter turns kernel records into the seam's types and calls the handler. It
// runs on one goroutine and uses one record of each kind again and again.
type converter struct {
	sensor   *Socket
	kernel   *bpf.Kernel
	handler  Handler
	clock    clock
	seeded   bool // the sockets of before are known: what listens, listens
	canaries map[uint64]struct{}
	listened map[port]struct{}
	udp      udpFlows

	rawPacket  bpf.Packet
	rawFlow    bpf.Flow
	rawProcess bpf.Process
	packet     Packet
	record     FlowRecord
	event      ProcessEvent
}

// port is a TCP port something listens on.
type port struct {
	netns  uint32
	number uint16
}

func newConverter(s *Socket, kernel *bpf.Kernel, h Handler) *converter {
	c := &converter{sensor: s, kernel: kernel, handler: h, listened: map[port]struct{}{}, udp: newUDPFlows(int(s.cfg.UDPFlows))}
	c.clock.set()
	return c
}

// idle is called when the ring is empty.
func (c *converter) idle() {
	c.clock.set()
	c.endIdleUDP()
}

// idleBatch bounds the idle flows looked at in one go.
const idleBatch = 256

// endIdleUDP closes the flows of unconnected sockets that have been silent for
// long; the kernel reports a flow at its first packet and at intervals only, so
// its counts are read before it is called silent.
func (c *converter) endIdleUDP() {
	limit := uint64(c.sensor.cfg.UDPIdle)
	if c.clock.mono < limit {
		return
	}
	for range idleBatch {
		kept := c.udp.oldest(c.clock.mono - limit)
		if kept == nil {
			return
		}
		now := *kept
		known, err := c.kernel.UnconnectedFlow(kept.Cookie, kept.Remote, &now)
		if err != nil {
			c.sensor.log.Debug("flow could not be read", "error", err)
		}
		if known && now.PacketsOut+now.PacketsIn > kept.PacketsOut+kept.PacketsIn {
			now.Time = c.clock.mono
			c.udp.put(&now)
			continue
		}
		c.udp.drop(kept)
		now.Kind = bpf.KindClose
		if _, err := c.kernel.Take(kept.Cookie, kept.Remote, &now); err != nil {
			c.sensor.log.Debug("flow could not be removed", "error", err)
		}
		c.emit(&now)
	}
}

func (c *converter) handle(raw []byte) {
	var err error
	switch bpf.KindOf(raw) {
	case bpf.KindPacket:
		err = c.handlePacket(raw)
	case bpf.KindOpen, bpf.KindUpdate, bpf.KindClose, bpf.KindSocket, bpf.KindGone:
		if err = c.handleFlow(raw); err == nil && bpf.Carries(raw) {
			err = c.handlePacket(raw)
		}
	default:
		err = c.handleProcess(raw)
	}
	if err != nil {
		c.sensor.malformed.Add(1)
	}
}

func (c *converter) handlePacket(raw []byte) error {
	p := &c.rawPacket
	if err := p.Decode(raw); err != nil {
		return err
	}
	if _, own := c.canaries[p.Cookie]; own {
		return nil
	}
	c.packet = Packet{
		Time:     c.clock.at(p.Time),
		Flow:     FlowKey{Cookie: p.Cookie, Netns: uint64(p.Netns), Remote: p.Remote},
		Out:      p.Flags&bpf.FlagOut != 0,
		Listener: p.Flags&bpf.FlagListener != 0,
		Owner:    ownerOf(&p.Owner),
		Data:     p.Data,
		Length:   int(p.Length),
	}
	if c.packet.Listener && c.packet.Owner.Attribution != rules.AttributionUnknown {
		c.packet.Owner.Attribution = rules.AttributionInherited
	}
	c.handler.Packet(&c.packet)
	return nil
}

func (c *converter) handleFlow(raw []byte) error {
	f := &c.rawFlow
	if err := f.Decode(raw); err != nil {
		return err
	}
	if _, own := c.canaries[f.Cookie]; own {
		return nil
	}
	switch f.Kind {
	case bpf.KindSocket:
		c.handleSeeded(f)
	case bpf.KindGone:
		c.handleGone(f)
	default:
		c.emit(f)
	}
	return nil
}

// handleSeeded learns what listens, and reports what was connected before.
func (c *converter) handleSeeded(f *bpf.Flow) {
	const tcp = 6
	if f.Outcome == bpf.TCPListen && f.Protocol == tcp {
		c.listened[port{f.Netns, f.Local.Port()}] = struct{}{}
		return
	}
	if f.Remote.Port() == 0 {
		return
	}
	f.Kind, f.Outcome = bpf.KindOpen, bpf.OutcomeAttempted
	if f.Protocol == tcp {
		f.Outcome = bpf.OutcomeEstablished
	}
	c.emit(f)
}

// handleGone closes each flow of an unconnected socket.
func (c *converter) handleGone(gone *bpf.Flow) {
	for _, open := range c.udp.take(gone.Cookie) {
		open.Kind, open.Time, open.Owner = bpf.KindClose, gone.Time, gone.Owner
		if _, err := c.kernel.Take(open.Cookie, open.Remote, open); err != nil {
			c.sensor.log.Debug("flow could not be read", "error", err)
		}
		c.emit(open)
	}
}

func (c *converter) emit(f *bpf.Flow) {
	switch {
	case f.Protocol != unix.IPPROTO_UDP:
	case f.Flags&bpf.FlagUnconnected == 0:
		if f.Kind == bpf.KindOpen {
			c.settle(c.udp.moved(f))
		}
	case f.Kind != bpf.KindClose && c.udp.put(f):
		c.sensor.untracked.Add(1)
	}
	c.report(f)
}

// settle reports the last counts of a flow that goes on in another socket. It
// does not close: the flow table joins the two.
func (c *converter) settle(f *bpf.Flow) {
	if f == nil {
		return
	}
	f.Kind, f.Time = bpf.KindUpdate, c.clock.mono
	if _, err := c.kernel.Take(f.Cookie, f.Remote, f); err != nil {
		c.sensor.log.Debug("flow could not be read", "error", err)
	}
	c.report(f)
}

func (c *converter) report(f *bpf.Flow) {
	c.fill(f)
	c.handler.Record(&c.record)
}

func (c *converter) fill(f *bpf.Flow) {
	r := &c.record
	*r = FlowRecord{
		Kind:      recordKinds[f.Kind],
		Time:      c.clock.at(f.Time),
		Flow:      FlowKey{Cookie: f.Cookie, Netns: uint64(f.Netns)},
		Transport: f.Protocol,
		Local:     f.Local,
		Remote:    f.Remote,
		Direction: c.direction(f),
		Outcome:   outcomeOf(f.Outcome),
		Owner:     ownerOf(&f.Owner),
		First:     c.clock.at(f.First),
		BytesOut:  f.BytesOut, BytesIn: f.BytesIn,
		PacketsOut: f.PacketsOut, PacketsIn: f.PacketsIn,
	}
	if f.Flags&bpf.FlagUnconnected != 0 {
		r.Flow.Remote = f.Remote
	}
	if f.WireRemote.IsValid() {
		r.WireLocal, r.WireRemote = differing(f.WireLocal, f.Local), differing(f.WireRemote, f.Remote)
	}
	if f.Asked.IsValid() {
		r.Asked = differing(f.Asked, f.Remote)
	}
}

func differing(a, b netip.AddrPort) netip.AddrPort {
	if a == b {
		return netip.AddrPort{}
	}
	return a
}

// direction of a TCP flow older than the sensor: inbound where its port was
// listened on.
func (c *converter) direction(f *bpf.Flow) rules.Direction {
	switch f.Direction {
	case bpf.DirectionOutbound:
		return rules.Outbound
	case bpf.DirectionInbound:
		return rules.Inbound
	}
	if f.Protocol != unix.IPPROTO_TCP {
		return rules.DirectionUnknown
	}
	if _, listened := c.listened[port{f.Netns, f.Local.Port()}]; listened {
		return rules.Inbound
	}
	if c.seeded {
		return rules.Outbound
	}
	return rules.DirectionUnknown
}

var recordKinds = map[bpf.Kind]RecordKind{bpf.KindOpen: RecordOpen, bpf.KindUpdate: RecordUpdate, bpf.KindClose: RecordClose}

func outcomeOf(o uint8) rules.Outcome {
	switch o {
	case bpf.OutcomeBlocked:
		return rules.OutcomeBlocked
	case bpf.OutcomeRefused:
		return rules.OutcomeRefused
	case bpf.OutcomeEstablished:
		return rules.OutcomeEstablished
	case bpf.OutcomeData:
		return rules.OutcomeData
	default:
		return rules.OutcomeAttempted
	}
}

func ownerOf(o *bpf.Owner) OwnerRef {
	ref := OwnerRef{
		Process: ProcessRef{PID: o.TGID, Start: o.Start}, UID: o.UID, CgroupID: o.Cgroup, Comm: o.Comm,
		Attribution: rules.AttributionUnknown,
	}
	if o.TGID == 0 {
		return ref
	}
	switch o.Attribution {
	case bpf.OwnerExact:
		ref.Attribution = rules.AttributionExact
	case bpf.OwnerInherited:
		ref.Attribution = rules.AttributionInherited
	case bpf.OwnerSeeded:
		ref.Attribution = rules.AttributionSeeded
	}
	return ref
}

// clock turns the kernel's monotonic time into wall time. It is set again often:
// the wall clock may be stepped.
type clock struct {
	offset int64  // ns
	mono   uint64 // CLOCK_MONOTONIC when it was last set, ns
}

func (c *clock) set() {
	var mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) == nil {
		c.offset = time.Now().UnixNano() - mono.Nano()
		c.mono = uint64(mono.Nano())
	}
}

func (c *clock) at(ns uint64) time.Time { return time.Unix(0, int64(ns)+c.offset).UTC() }

func (c *clock) now() time.Time { return time.Now().UTC() }

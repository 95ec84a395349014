package sensor

import "sallyport/bpf"

const pppMajor = 108 // Documentation/admin-guide/devices.txt

var processKinds = map[bpf.Kind]ProcessKind{
	bpf.KindExec: ProcessExec, bpf.KindFork: ProcessFork, bpf.KindExit: ProcessExit, bpf.KindDevice: ProcessTunnel, bpf.KindTunnel: ProcessTunnel,
}

// handleProcess keeps the cache and tells the handler.
func (c *converter) handleProcess(raw []byte) error {
	p := &c.rawProcess
	if err := p.Decode(raw); err != nil {
		return err
	}
	at := c.clock.at(p.Time)
	ref := ProcessRef{PID: p.Owner.TGID, Start: p.Owner.Start}
	c.event = ProcessEvent{Kind: processKinds[p.Kind], Time: at, Process: ref}
	switch p.Kind {
	case bpf.KindExec:
		c.sensor.processes.exec(p)
	case bpf.KindFork:
		c.sensor.processes.fork(p)
	case bpf.KindExit:
		c.sensor.processes.exit(p, at)
		c.sensor.tunnels.forget(ref)
	case bpf.KindTunnel:
		c.event.Time, c.event.Device = c.clock.now(), "tun"
		c.sensor.tunnels.opened(ref, c.event.Time, false)
	case bpf.KindDevice:
		c.event.Device = "tun"
		if p.Device>>20 == pppMajor {
			c.event.Device = "ppp"
		}
		c.sensor.tunnels.opened(ref, at, c.event.Device == "ppp")
	}
	c.handler.Process(&c.event)
	c.kin(ref)
	return nil
}

// kin tells of the processes beside one that opened a ppp device: the connection
// is theirs. One that comes later, as pppd's own child, is told when it has become
// what it is.
func (c *converter) kin(ref ProcessRef) {
	switch {
	case c.event.Kind == ProcessTunnel && c.event.Device == "ppp":
		for _, other := range c.sensor.processes.kin(ref) {
			c.event.Process = other
			c.handler.Process(&c.event)
		}
	case c.event.Kind == ProcessExec && c.sensor.tunnels.anyPPP():
		if _, _, ok := c.sensor.tunnels.pppFor(ref); ok {
			c.event.Kind, c.event.Device = ProcessTunnel, "ppp"
			c.handler.Process(&c.event)
		}
	}
}

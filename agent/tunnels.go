package agent

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"sallyport/agent/flow"
	"sallyport/agent/hostevidence"
	"sallyport/agent/protocol"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

// lookEvery is the pace of host evidence: a finding comes within seconds of the
// tunnel's first traffic.
const lookEvery = time.Second

// holdersEvery is the pace at which those under watch are asked for whether they
// still run: one whose exit the kernel could not tell would be watched for ever.
const holdersEvery = 30 * time.Second

// Bounds of what is under watch.
const (
	maxHolders = 1024
	maxWatched = 8192
)

// dropWatch is the reason of what host evidence has no room for.
const dropWatch = "host_evidence_full"

// tunnels are the flows that host evidence looks at: all flows of processes that
// hold a tunnel device or pass a tunnel on, and attributed flows that nothing
// else has identified. It is behind the pipeline's lock.
type tunnels struct {
	holders map[sensor.ProcessRef]bool
	relays  map[sensor.ProcessRef]relayedFlow
	flows   map[*flow.Flow]*rules.Identification // what the host shows of them, nil for nothing yet
	kernel  *hostevidence.Kernel                 // nil where the kernel's tunnels are not read
	fresh   bool                                 // a holder has come whose older flows are not known
	full    uint64                               // flows and holders not watched
}

// relayedFlow is what a relay passes on.
type relayedFlow struct {
	hostevidence.Relay
	flow *flow.Flow
}

func newTunnels() *tunnels {
	return &tunnels{
		holders: map[sensor.ProcessRef]bool{}, relays: map[sensor.ProcessRef]relayedFlow{},
		flows: map[*flow.Flow]*rules.Identification{},
	}
}

// identification is what the host shows of a flow: the kernel's tunnels say what
// its packets are or add to what these showed, facts about its owner count where
// nothing was found in them, or where they confirm what was only suspected.
func (t *tunnels) identification(f *flow.Flow) (rules.Identification, bool) {
	if t == nil {
		return rules.Identification{}, false
	}
	seen := !protocol.Internal(f.Result.Label)
	if t.kernel != nil && !f.Inner {
		if e, found := t.kernel.Of(f.Key.Netns, f.Transport, f.Local(), f.Remote()); found {
			return e.Identification(f.Identification(), seen), true
		}
	}
	suspected := f.Result.State == protocol.Suspected
	if id := t.flows[f]; id != nil && (!seen || suspected && id.State == "confirmed" && id.Protocol == f.Result.Label) {
		return *id, true
	}
	return rules.Identification{}, false
}

// holds notes a process whose every flow is to be watched from now on.
func (t *tunnels) holds(ref sensor.ProcessRef) {
	if t.holders[ref] {
		return
	}
	if len(t.holders) >= maxHolders {
		t.full++
		return
	}
	t.holders[ref] = true
	t.fresh = true
}

// forget ends the watch of a process that has gone.
func (t *tunnels) forget(ref sensor.ProcessRef) {
	delete(t.holders, ref)
	delete(t.relays, ref)
}

// see takes a flow under watch that should be. It is on the path of every flow:
// look-ups only.
func (t *tunnels) see(f *flow.Flow) {
	if f.Key.Cookie == 0 || f.DNS() || !t.holders[f.Owner.Process] && !(f.Kept() && protocol.Internal(f.Result.Label)) {
		return
	}
	if _, watched := t.flows[f]; watched || f.Owner.Process.PID == 0 {
		return
	}
	if len(t.flows) >= maxWatched {
		t.full++
		return
	}
	t.flows[f] = nil
}

// follow keeps the watch up to date with an event of the flow table.
func (p *pipeline) follow(f *flow.Flow, e flow.Event) {
	t := p.tunnels
	switch {
	case t == nil:
	case e == flow.Closed:
		delete(t.flows, f)
		if r, passes := t.relays[f.Owner.Process]; passes && r.flow == f {
			t.forget(f.Owner.Process)
		}
	default:
		t.see(f)
		if e == flow.Identified && f.Remote().Addr().IsLoopback() && f.Result.State == protocol.Confirmed {
			p.passesOn(f, f.Identification())
		}
	}
}

// passesOn notes that the owner of a loopback flow of a protocol that gives
// control passes it on, unless it is a VPN's own program. An RDP inside stunnel
// is found so too.
func (p *pipeline) passesOn(f *flow.Flow, id rules.Identification) {
	t, owner := p.tunnels, f.Owner.Process
	if rules.ClassOf(id.Protocol) == rules.ClassContact || owner.PID == 0 || t.holders[owner] || len(t.relays) >= maxHolders {
		return
	}
	peer := "a process that is not known"
	if other := p.table.Opposite(f); other != nil && other.Owner.Process.PID != 0 {
		peer = fmt.Sprintf("%s (pid %d)", other.Owner.Comm, other.Owner.Process.PID)
	}
	t.relays[owner] = relayedFlow{hostevidence.Relay{Flow: f.Key, First: f.First, Protocol: id.Protocol, Product: id.Product, Peer: peer}, f}
	t.holds(owner)
}

// process takes what happens to processes.
func (p *pipeline) process(e *sensor.ProcessEvent) {
	if e.Kind != sensor.ProcessTunnel && e.Kind != sensor.ProcessExit {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.tunnels == nil:
	case e.Kind == sensor.ProcessExit:
		p.tunnels.forget(e.Process)
	case int(e.Process.PID) != os.Getpid(): // the sensor opens one to prove its hook
		delete(p.tunnels.relays, e.Process)
		p.tunnels.holds(e.Process)
	}
}

// dismiss ends the watch of those that run no more. They are asked for outside the
// lock: it is reading /proc.
func (p *pipeline) dismiss(process processes) {
	p.mu.Lock()
	watched := slices.Collect(maps.Keys(p.tunnels.holders))
	p.mu.Unlock()
	watched = slices.DeleteFunc(watched, func(ref sensor.ProcessRef) bool {
		known, ok := process(ref)
		return ok && known.Exited.IsZero()
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ref := range watched {
		p.tunnels.forget(ref)
	}
}

// underWatch gives the flows to look at, and who passes tunnels on.
func (p *pipeline) underWatch() ([]hostevidence.Flow, map[sensor.ProcessRef]hostevidence.Relay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tunnels
	if t.fresh {
		t.fresh = false
		p.table.Flows(t.see)
	}
	flows := make([]hostevidence.Flow, 0, len(t.flows))
	for f := range t.flows {
		label := f.Result.Label
		flows = append(flows, hostevidence.Flow{
			Key: f.Key, Owner: f.Owner.Process, Remote: f.Remote(), First: f.First, Holder: t.holders[f.Owner.Process],
			Data: f.Outcome() == rules.OutcomeData, Labeled: !protocol.Internal(label) && f.Result.State == protocol.Confirmed, Known: label == "dns" || label == "http",
		})
	}
	relays := make(map[sensor.ProcessRef]hostevidence.Relay, len(t.relays))
	for ref, r := range t.relays {
		relays[ref] = r.Relay
	}
	return flows, relays
}

// tell takes over what the host shows and reports the flows.
func (p *pipeline) tell(found map[sensor.FlowKey]rules.Identification, relays *relays) {
	for _, ref := range p.passing(found) { // outside the lock: it may read /proc
		relays.tunnel(ref)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for f := range p.tunnels.flows {
		id, told := found[f.Key]
		if !told {
			continue
		}
		p.tunnels.flows[f] = &id
		p.report(f)
		if id.State != "confirmed" || !f.Remote().Addr().IsLoopback() {
			continue
		}
		if other := p.table.Opposite(f); other != nil {
			p.passesOn(other, id)
		}
	}
}

// passing gives the owners of what was found that pass tunnels on.
func (p *pipeline) passing(found map[sensor.FlowKey]rules.Identification) []sensor.ProcessRef {
	p.mu.Lock()
	defer p.mu.Unlock()
	owners := map[sensor.ProcessRef]bool{}
	for f := range p.tunnels.flows {
		_, told := found[f.Key]
		if _, passes := p.tunnels.relays[f.Owner.Process]; told && passes {
			owners[f.Owner.Process] = true
		}
	}
	return slices.Collect(maps.Keys(owners))
}

// attributedOwners gives the owners of the attributed flows that are open.
func (p *pipeline) attributedOwners() []sensor.ProcessRef {
	p.mu.Lock()
	defer p.mu.Unlock()
	owners := map[sensor.ProcessRef]bool{}
	p.table.Flows(func(f *flow.Flow) {
		if f.Kept() && f.Owner.Process.PID != 0 {
			owners[f.Owner.Process] = true
		}
	})
	return slices.Collect(maps.Keys(owners))
}

// again reports the attributed flows of processes that have turned out to be
// relays after these were reported.
func (p *pipeline) again(owners []sensor.ProcessRef) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table.Flows(func(f *flow.Flow) {
		if f.Kept() && slices.Contains(owners, f.Owner.Process) {
			p.report(f)
		}
	})
}

// unwatched counts the flows and the holders that host evidence had no room for.
func (p *pipeline) unwatched() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tunnels.full
}

// watchTunnels looks at the flows under watch until ctx ends. What is read of
// /proc is read outside the pipeline's lock.
func (a *Agent) watchTunnels(ctx context.Context) error {
	watcher := hostevidence.New(a.socket)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	asked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if now.Sub(asked) >= holdersEvery {
				asked = now
				a.pipeline.dismiss(a.socket.Process)
			}
			flows, passOn := a.pipeline.underWatch()
			if again := a.relays.learnt(a.pipeline.attributedOwners); len(again) > 0 {
				a.pipeline.again(again)
			}
			if found := watcher.Look(now, flows, passOn); len(found) > 0 {
				a.pipeline.tell(found, a.relays)
			}
		}
	}
}

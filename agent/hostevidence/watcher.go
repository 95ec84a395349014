package hostevidence

import (
	"net/netip"
	"time"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// Pace of the looks at one process.
const (
	patience   = 30 * time.Second // after a change, a process is looked at each time
	slowPace   = 5 * time.Second  // later
	noFactsFor = time.Minute      // a process without facts is not asked about again
	suspectAge = 10 * time.Second // of a flow: a check for updates is over by then
)

// Watcher compares the flows of processes with the tunnels these hold. It
// belongs to one goroutine.
type Watcher struct {
	host   Host
	owners map[sensor.ProcessRef]*owner
}

// New makes a Watcher.
func New(host Host) *Watcher {
	return &Watcher{host: host, owners: map[sensor.ProcessRef]*owner{}}
}

// owner is what is remembered of one process.
type owner struct {
	changed time.Time // a flow came
	looked  time.Time
	barren  time.Time // when it was found to be without facts
	devices string
	tunnel  sensor.Bytes // carried so far, when last looked at
	ready   bool         // tunnel is of the same devices
	flows   map[sensor.FlowKey]*member
	groups  map[netip.Addr]*series
}

// member is a flow that has been seen before.
type member struct {
	bytes   sensor.Bytes
	told    rules.Identification // what has been said of it
	counted bool                 // bytes have been read
}

// Look looks at the processes of the flows and gives what is new: identifications
// by flow. relays are the processes that pass a tunnel on.
func (w *Watcher) Look(now time.Time, flows []Flow, relays map[sensor.ProcessRef]Relay) map[sensor.FlowKey]rules.Identification {
	found := map[sensor.FlowKey]rules.Identification{}
	byOwner := map[sensor.ProcessRef][]Flow{}
	for _, f := range flows {
		byOwner[f.Owner] = append(byOwner[f.Owner], f)
	}
	for ref := range w.owners {
		if byOwner[ref] == nil {
			delete(w.owners, ref)
		}
	}
	for ref, own := range byOwner {
		var relay *Relay
		if r, ok := relays[ref]; ok {
			relay = &r
		}
		w.look(now, ref, own, relay, found)
	}
	return found
}

// look looks at one process.
func (w *Watcher) look(now time.Time, ref sensor.ProcessRef, flows []Flow, relay *Relay, found map[sensor.FlowKey]rules.Identification) {
	o := w.owners[ref]
	if o == nil {
		o = &owner{flows: map[sensor.FlowKey]*member{}, groups: map[netip.Addr]*series{}}
		w.owners[ref] = o
	}
	o.keep(now, flows)
	if o.settled(flows) || !o.due(now, flows[0].Holder) {
		return
	}
	o.looked = now
	facts, ok := w.host.Tunnel(ref)
	if !ok && relay == nil {
		o.barren = now
		return
	}
	o.barren = time.Time{}
	keys := make([]sensor.FlowKey, 0, len(flows)+1)
	for _, f := range flows {
		keys = append(keys, f.Key)
	}
	if relay != nil {
		keys = append(keys, relay.Flow)
	}
	traffic := w.host.Traffic(ref, keys)
	c := carriedBy(&facts, relay, traffic)
	o.step(flows, c, traffic)
	for _, f := range flows {
		if id, ok := o.identify(now, &f, c); ok {
			o.flows[f.Key].told = id
			found[f.Key] = id
		}
	}
}

// keep remembers the flows that are there and forgets those that have gone.
func (o *owner) keep(now time.Time, flows []Flow) {
	there := make(map[sensor.FlowKey]bool, len(flows))
	for _, f := range flows {
		there[f.Key] = true
		if o.flows[f.Key] == nil {
			o.flows[f.Key] = &member{}
			o.changed = now
		}
	}
	for key := range o.flows {
		if !there[key] {
			delete(o.flows, key)
		}
	}
}

// settled says whether nothing is left to find out.
func (o *owner) settled(flows []Flow) bool {
	for _, f := range flows {
		if !f.Labeled && o.flows[f.Key].told.State != confirmed {
			return false
		}
	}
	return true
}

// due says whether it is time for another look.
func (o *owner) due(now time.Time, holder bool) bool {
	switch {
	case !o.barren.IsZero() && !holder:
		return now.Sub(o.barren) >= noFactsFor
	case now.Sub(o.changed) < patience:
		return true
	}
	return now.Sub(o.looked) >= slowPace
}

// step takes what went by since the last look.
func (o *owner) step(flows []Flow, c *carried, traffic map[sensor.FlowKey]sensor.Bytes) {
	went, count := map[netip.Addr]sensor.Bytes{}, map[netip.Addr]int{}
	for _, f := range flows {
		m, remote := o.flows[f.Key], f.Remote.Addr()
		bytes, known := traffic[f.Key]
		if !known {
			m.counted = false
			continue
		}
		sum := went[remote]
		if m.counted {
			sum.Out += rise(m.bytes.Out, bytes.Out)
			sum.In += rise(m.bytes.In, bytes.In)
		}
		went[remote] = sum
		count[remote]++
		m.bytes, m.counted = bytes, true
	}
	tunnel := sensor.Bytes{Out: rise(o.tunnel.Out, c.bytes.Out), In: rise(o.tunnel.In, c.bytes.In)}
	ready := o.ready && o.devices == c.name
	o.devices, o.tunnel, o.ready = c.name, c.bytes, c.name != ""
	if !ready {
		return
	}
	for remote := range o.groups {
		if _, there := went[remote]; !there {
			delete(o.groups, remote)
		}
	}
	for remote, sum := range went {
		if o.groups[remote] == nil {
			o.groups[remote] = &series{}
		}
		o.groups[remote].add(step{tunnel: tunnel, flows: sum})
		o.groups[remote].flows = count[remote]
	}
}

// rise is how much a count grew; one that fell was begun anew.
func rise(before, now uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}

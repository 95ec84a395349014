package agent

import (
	"maps"
	"slices"
	"sync"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// maxRelays bounds the processes remembered as relays.
const maxRelays = 1024

// maxRecent bounds the flows that are judged again where their owner turns out to
// be a relay.
const maxRecent = 64

// Intermediaries: what a process relays for others. The true client of its own
// flows is unknown.
const (
	relayProxy    = "proxy"
	relayResolver = "resolver"
	relayTunnel   = "tunnel relay" // passes on a VPN's flow that it has over loopback
)

// dnsPort is where resolvers answer (RFC 1035 section 4.2).
const dnsPort = 53

// relays remembers which programs accept requests for others (HTTP CONNECT and
// absolute targets, SOCKS, DNS) or name others in PROXY headers. Their own
// outbound flows are marked, since the client behind them cannot be joined. A
// program is a family of processes: one takes a request that another carries out.
type relays struct {
	process processes

	mu    sync.Mutex
	what  map[sensor.ProcessRef]string // by the head of the family
	fresh []sensor.ProcessRef          // learnt since they were last asked for
	full  uint64                       // relays not remembered

	recent []ended     // attributed flows of owners that are none, oldest first
	late   []*observed // those of them whose owner has turned out to be one
}

// ended is a flow that is over.
type ended struct {
	*observed
	family sensor.ProcessRef // its owner's
}

func newRelays(process processes) *relays {
	return &relays{process: process, what: map[sensor.ProcessRef]string{}}
}

// mark learns from an inbound flow and marks an outbound one.
func (r *relays) mark(o *rules.Observation, owner sensor.OwnerRef) {
	shown := relayed(o)
	if owner.Process == (sensor.ProcessRef{}) || shown == "" && r.none() {
		return
	}
	family := familyOf(owner.Process, r.process) // outside the lock: it may read /proc
	r.mu.Lock()
	defer r.mu.Unlock()
	if shown != "" {
		r.learn(family, shown)
	}
	kind, ok := r.what[family]
	if !ok {
		return
	}
	o.Owner.Intermediary = kind
	named := o.Hidden != nil && o.Hidden.By == proxyHeader              // the flow itself says for whom it is
	if o.Direction == rules.Outbound && kind != relayTunnel && !named { // whose tunnel it is, the evidence says
		o.Notes = append(o.Notes, "client unknown: the owner relays for others as a "+kind)
	}
}

// none says that no relay is known.
func (r *relays) none() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.what) == 0
}

// tunnel notes a process that passes on a tunnel.
func (r *relays) tunnel(p sensor.ProcessRef) {
	family := familyOf(p, r.process)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.what[family] == "" {
		r.learn(family, relayTunnel)
	}
}

// learn makes room by forgetting anyone: a relay that still works is learnt
// again from its next request.
func (r *relays) learn(p sensor.ProcessRef, kind string) {
	if r.what[p] == kind {
		return
	}
	if len(r.fresh) < maxRelays {
		r.fresh = append(r.fresh, p)
	}
	if _, known := r.what[p]; !known && len(r.what) >= maxRelays {
		for other := range r.what {
			delete(r.what, other)
			r.full++
			break
		}
	}
	r.what[p] = kind
	r.recent = slices.DeleteFunc(r.recent, func(item ended) bool {
		if item.family != p {
			return false
		}
		r.late = append(r.late, item.observed)
		return true
	})
}

// ended notes an attributed flow that is over: a proxy shows that it is one by its
// answer, and by then what it opened may have ended.
func (r *relays) ended(item *observed) {
	if item.o.Direction != rules.Outbound || item.owner.Process == (sensor.ProcessRef{}) {
		return
	}
	family := familyOf(item.owner.Process, r.process)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.what[family] != "" {
		return
	}
	kept := *item
	kept.last, kept.packets = false, nil
	r.recent = append(r.recent, ended{&kept, family})
	if over := len(r.recent) - maxRecent; over > 0 {
		r.recent = slices.Delete(r.recent, 0, over)
	}
}

// belated gives what is to be judged again.
func (r *relays) belated() []*observed {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.late
	r.late = nil
	return out
}

// learnt picks those of the given processes that have turned out to be relays, or
// of a relay's family, since the last call.
func (r *relays) learnt(owners func() []sensor.ProcessRef) []sensor.ProcessRef {
	r.mu.Lock()
	fresh := r.fresh
	r.fresh = nil
	r.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	return slices.DeleteFunc(owners(), func(p sensor.ProcessRef) bool {
		return !slices.Contains(fresh, familyOf(p, r.process))
	})
}

// proxyHeader is what names a hidden end in a PROXY protocol header: the client,
// which a relay tells the server behind it.
const proxyHeader = "proxy_header"

// relayed says what a flow shows its owner to relay: it is asked to, or it says
// for whom it does.
func relayed(o *rules.Observation) string {
	told := o.Hidden != nil && o.Hidden.By == proxyHeader
	switch {
	case o.Direction == rules.Outbound && told:
		return relayProxy
	case o.Direction != rules.Inbound:
		return ""
	case o.Hidden != nil && !told:
		return relayProxy
	case o.Local.Port == dnsPort && o.Outcome == rules.OutcomeData:
		return relayResolver
	}
	return ""
}

// seen lists the relays in words, for doctor.
func (r *relays) seen() []string {
	r.mu.Lock()
	what := maps.Clone(r.what)
	r.mu.Unlock()
	return inWords(what, "is a", r.process)
}

package agent

import (
	"fmt"
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

// relays remembers which processes accept requests for others (HTTP CONNECT and
// absolute targets, SOCKS, DNS) or name others in PROXY headers. Their own outbound flows are marked, since the client behind them
// cannot be joined.
type relays struct {
	mu    sync.Mutex
	what  map[sensor.ProcessRef]string
	fresh []sensor.ProcessRef // learnt since they were last asked for
	full  uint64              // relays not remembered

	recent []*observed // attributed flows that have ended, of owners that are none, oldest first
	late   []*observed // those of them whose owner has turned out to be one
}

func newRelays() *relays { return &relays{what: map[sensor.ProcessRef]string{}} }

// mark learns from an inbound flow and marks an outbound one.
func (r *relays) mark(o *rules.Observation, owner sensor.OwnerRef) {
	if owner.Process == (sensor.ProcessRef{}) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if kind := relayed(o); kind != "" {
		r.learn(owner.Process, kind)
	}
	kind, ok := r.what[owner.Process]
	if !ok {
		return
	}
	o.Owner.Intermediary = kind
	named := o.Hidden != nil && o.Hidden.By == proxyHeader              // the flow itself says for whom it is
	if o.Direction == rules.Outbound && kind != relayTunnel && !named { // whose tunnel it is, the evidence says
		o.Notes = append(o.Notes, "client unknown: the owner relays for others as a "+kind)
	}
}

// tunnel notes a process that passes on a tunnel.
func (r *relays) tunnel(p sensor.ProcessRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.what[p] == "" {
		r.learn(p, relayTunnel)
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
	r.recent = slices.DeleteFunc(r.recent, func(item *observed) bool {
		if item.owner.Process != p {
			return false
		}
		r.late = append(r.late, item)
		return true
	})
}

// ended notes an attributed flow that is over: a proxy shows that it is one by its
// answer, and by then what it opened may have ended.
func (r *relays) ended(item *observed) {
	if item.o.Direction != rules.Outbound || item.owner.Process == (sensor.ProcessRef{}) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.what[item.owner.Process] != "" {
		return
	}
	kept := *item
	kept.last, kept.packets = false, nil
	r.recent = append(r.recent, &kept)
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

// learnt gives the processes that have turned out to be relays since the last
// call.
func (r *relays) learnt() []sensor.ProcessRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.fresh
	r.fresh = nil
	return out
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
func (r *relays) seen(process func(sensor.ProcessRef) (sensor.Process, bool)) []string {
	r.mu.Lock()
	what := maps.Clone(r.what) // process may read /proc, and flows are marked under the lock
	r.mu.Unlock()
	var out []string
	for ref, kind := range what {
		p, ok := process(ref)
		if ok && p.Exited.IsZero() {
			out = append(out, fmt.Sprintf("%s (pid %d) is a %s", p.Executable, ref.PID, kind))
		}
	}
	slices.Sort(out)
	return out
}

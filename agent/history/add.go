package history

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"sallyport/rules"
)

// Bounds of what one row keeps.
const (
	maxNames   = 8
	maxIndexed = 64 // names and fingerprints indexed for a row and a flush
	maxOpen    = 65_536
)

// period is the time one bucket holds.
const period = time.Hour

// pendingKey is a row's identity in memory.
type pendingKey struct {
	hour      int64
	remote    netip.AddrPort
	transport rules.Transport
	direction rules.Direction
	owner     ownerKey
}

// ownerKey is what makes two owners the same: never a process number.
type ownerKey struct {
	executable, name, container, pod string
	uid                              uint32
	attribution                      rules.Attribution
}

func ownerOf(o *rules.Owner) ownerKey {
	k := ownerKey{attribution: o.Attribution}
	if o.Process != nil {
		k.executable, k.name, k.uid = o.Process.Executable, o.Process.Name, o.Process.UID
	}
	if o.Container != nil {
		k.container, k.pod = o.Container.ID, o.Container.PodUID
	}
	return k
}

// flowSeen is what a flow has added so far.
type flowSeen struct {
	bytesOut, bytesIn, packetsOut, packetsIn uint64
}

// row is what is kept of the flows that share a key.
type row struct {
	owner       rules.Owner
	host        string
	first, last time.Time
	count       uint64
	bytesOut    uint64
	bytesIn     uint64
	packetsOut  uint64
	packetsIn   uint64
	outcome     rules.Outcome
	protocol    string
	state       string
	product     string
	asked       netip.AddrPort
	hidden      *rules.Hidden
	names       []rules.Name
	geo         rules.Geo
	tls         []string // SHA-256 and SHA-1 of the leaf, JA3, JA4; "" where not seen
	hassh       string   // of the client
	hasshServer string

	index map[string]byte // of this flush: value to source
}

// Add remembers an observation. It may be called again for the same flow as it
// grows; bytes and packets are since the flow began, and the flow counts once.
// It never waits: rows are written by Run. A DNS query is remembered with the
// name asked for.
func (h *History) Add(o *rules.Observation) {
	if !o.Remote.Addr.IsValid() {
		return
	}
	k := pendingKey{
		hour: o.Last.Truncate(period).Unix(), transport: o.Transport, direction: o.Direction, owner: ownerOf(&o.Owner),
		remote: netip.AddrPortFrom(o.Remote.Addr.Unmap(), o.Remote.Port),
	}
	if o.Direction == rules.Inbound { // the far port is chance, the near one says what was reached
		k.remote = netip.AddrPortFrom(o.Remote.Addr.Unmap(), o.Local.Port)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.pending[k]
	if r == nil {
		if len(h.pending) >= h.cfg.MaxPending {
			h.stats.Dropped++
			h.ask()
			return
		}
		r = &row{first: o.First, owner: trim(o.Owner)}
		h.pending[k] = r
		if len(h.pending) >= h.cfg.MaxPending/2 {
			h.ask()
		}
	}
	h.grow(r, o)
	r.take(o)
}

// ask wakes Run before its time.
func (h *History) ask() {
	select {
	case h.full <- struct{}{}:
	default:
	}
}

// grow adds what the flow has grown by since it was last added.
func (h *History) grow(r *row, o *rules.Observation) {
	seen := h.open[o.FlowID]
	if seen == nil {
		r.count++
		seen = &flowSeen{}
		if !o.Closed && o.FlowID != "" {
			if len(h.open) >= maxOpen {
				clear(h.open) // a flood: counts may be high, memory is not
			}
			h.open[o.FlowID] = seen
		}
	}
	since := func(now uint64, before *uint64) uint64 {
		d := now - min(now, *before)
		*before = now
		return d
	}
	r.bytesOut += since(o.BytesOut, &seen.bytesOut)
	r.bytesIn += since(o.BytesIn, &seen.bytesIn)
	r.packetsOut += since(o.PacketsOut, &seen.packetsOut)
	r.packetsIn += since(o.PacketsIn, &seen.packetsIn)
	if o.Closed {
		delete(h.open, o.FlowID)
	}
}

// trim drops what would make equal owners differ, or a row large.
func trim(o rules.Owner) rules.Owner {
	o.Parents = nil
	if o.Process != nil {
		p := *o.Process
		p.Args = nil
		o.Process = &p
	}
	return o
}

// take merges what the observation knows.
func (r *row) take(o *rules.Observation) {
	r.host = cmp.Or(o.Host, r.host)
	if o.First.Before(r.first) {
		r.first = o.First
	}
	if o.Last.After(r.last) {
		r.last = o.Last
	}
	if outcomeRank(o.Outcome) > outcomeRank(r.outcome) {
		r.outcome = o.Outcome
	}
	if id := o.Identification; id.Protocol != "" && (r.protocol == "" || r.protocol == "none" || id.State == "confirmed") {
		r.protocol, r.state, r.product = id.Protocol, id.State, id.Product
	}
	if o.RemoteAsked != nil {
		r.asked = netip.AddrPortFrom(o.RemoteAsked.Addr.Unmap(), o.RemoteAsked.Port)
		r.note(addrValue(r.asked.Addr()), sourceAsked)
	}
	if o.Hidden != nil {
		hidden := *o.Hidden
		r.hidden = &hidden
		if hidden.Addr.IsValid() {
			r.note(addrValue(hidden.Addr.Unmap()), sourceHidden)
		}
		r.note(nameValue(hidden.Host), sourceConnect)
	}
	for _, n := range o.Names {
		r.name(n)
	}
	if o.Query != "" {
		r.name(rules.Name{Name: o.Query, Source: "dns_query", At: o.Last})
	}
	if o.Geo != nil {
		r.geo = *o.Geo
	}
	r.fingerprints(o)
}

func (r *row) fingerprints(o *rules.Observation) {
	if t := o.TLS; t != nil {
		if r.tls == nil {
			r.tls = make([]string, 4)
		}
		if t.SNI != "" {
			r.name(rules.Name{Name: t.SNI, Source: "sni", At: o.First})
		}
		for i, c := range t.Certificates {
			if i == 0 {
				r.tls[0], r.tls[1] = c.SHA256, c.SHA1
			}
			r.note(value(kindCertificate, c.SHA256), 0)
			r.note(value(kindCertificate, c.SHA1), 0)
		}
		r.tls[2], r.tls[3] = cmp.Or(t.JA3, r.tls[2]), cmp.Or(t.JA4, r.tls[3])
		r.note(value(kindJA3, t.JA3), 0)
		r.note(value(kindJA4, t.JA4), 0)
	}
	if s := o.SSH; s != nil {
		r.hassh, r.hasshServer = cmp.Or(s.HASSH, r.hassh), cmp.Or(s.HASSHServer, r.hasshServer)
		r.note(value(kindHASSH, s.HASSH), 0)
		r.note(value(kindHASSH, s.HASSHServer), 0)
	}
}

// name keeps a name, the latest few in the row and all of them in the index.
func (r *row) name(n rules.Name) {
	r.note(nameValue(n.Name), sourceOf(n.Source))
	r.names = slices.DeleteFunc(r.names, func(old rules.Name) bool { return old.Name == n.Name && old.Source == n.Source })
	r.names = append(r.names, n)
	if len(r.names) > maxNames {
		r.names = slices.Delete(r.names, 0, 1)
	}
}

// note has a value indexed with the next write.
func (r *row) note(v string, source byte) {
	if v == "" {
		return
	}
	if r.index == nil {
		r.index = map[string]byte{}
	}
	if _, known := r.index[v]; known || len(r.index) < maxIndexed {
		r.index[v] = source
	}
}

var outcomes = []rules.Outcome{"", rules.OutcomeBlocked, rules.OutcomeAttempted, rules.OutcomeRefused, rules.OutcomeEstablished, rules.OutcomeData}

func outcomeRank(o rules.Outcome) int { return slices.Index(outcomes, o) }

package agent

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/agent/capture"
	"sallyport/agent/flow"
	"sallyport/agent/naming"
	"sallyport/agent/protocol"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

// settleTime is how long a flow with an attributed remote may stay without an
// identification before it is reported as a mere contact.
const settleTime = 3 * time.Second

// Queue sizes, in observations. Attributed flows have a queue of their own: a
// burst of ordinary flows never pushes one out.
const (
	ordinaryQueue   = 4096
	attributedQueue = 4096
)

// Reasons of drops between the flow table and the judge.
const (
	dropOrdinary   = "observation_queue_full"
	dropAttributed = "attributed_queue_full"
)

// observed is what leaves the flow table: one flow as it stands.
type observed struct {
	o        rules.Observation
	owner    sensor.OwnerRef
	last     bool // the flow has ended
	packets  []flow.EvidencePacket
	withheld bool
}

// pipeline feeds the flow table and carries what comes out of it to the judge.
// Several sensors may feed it; the table, which is set once by its maker, is
// behind one lock.
type pipeline struct {
	host    string
	live    *rules.Live
	systems *sharedSystems
	names   *naming.Table

	mu      sync.Mutex
	table   *flow.Table
	waiting map[*flow.Flow]time.Time // attributed, not yet reported, and until when
	garbled uint64                   // packets that could not be decoded
	done    func(sensor.FlowKey)     // tells the socket sensor that no more of a flow is wanted; nil for captures
	tunnels *tunnels                 // nil: no host evidence

	hand func(observed, bool) // to the judge; true: the flow is attributed
}

// newPipeline makes a pipeline that hands its observations to hand.
func newPipeline(host string, live *rules.Live, systems *sharedSystems, names *naming.Table, hand func(observed, bool)) *pipeline {
	return &pipeline{
		host: host, live: live, systems: systems, names: names, hand: hand,
		waiting: map[*flow.Flow]time.Time{},
	}
}

// queues stand between the pipeline of a live host and the judge.
type queues struct {
	attributed, ordinary chan *observed   // pointers: an empty queue of the things themselves would take megabytes
	dropped              [2]atomic.Uint64 // of ordinary, of attributed
}

func newQueues() *queues {
	return &queues{attributed: make(chan *observed, attributedQueue), ordinary: make(chan *observed, ordinaryQueue)}
}

// put never waits: the sensors behind it must not.
func (q *queues) put(item observed, attributed bool) {
	to, dropped := q.ordinary, &q.dropped[0]
	if attributed {
		to, dropped = q.attributed, &q.dropped[1]
	}
	select {
	case to <- &item:
	default:
		dropped.Add(1)
	}
}

func (q *queues) close() {
	close(q.attributed)
	close(q.ordinary)
}

func (q *queues) drops() map[string]uint64 {
	return map[string]uint64{dropOrdinary: q.dropped[0].Load(), dropAttributed: q.dropped[1].Load()}
}

// tick expires idle flows and reports those that waited long enough.
func (p *pipeline) tick(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table.Expire(now)
	for f, until := range p.waiting {
		if now.After(until) {
			delete(p.waiting, f)
			p.push(f, false)
		}
	}
}

// finish closes every flow.
func (p *pipeline) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table.Close()
}

// Flow implements flow.Sink: a flow is reported when its identification is
// settled, at intervals when it is long, and when it ends.
func (p *pipeline) Flow(f *flow.Flow, e flow.Event) {
	defer p.follow(f, e)
	switch e {
	case flow.Opened:
		p.notice(f)
	case flow.Identified:
		p.notice(f)
		if f.Result.State == protocol.Confirmed && !protocol.Internal(f.Result.Label) {
			p.report(f)
		}
	case flow.Decided:
		p.report(f)
		if p.done != nil && f.Key.Cookie != 0 && !f.Wanted() {
			p.done(f.Key)
		}
	case flow.Updated:
		if _, early := p.waiting[f]; !early {
			p.report(f)
		}
	case flow.Closed:
		delete(p.waiting, f)
		p.push(f, true)
	}
}

// notice starts the wait of a flow that has turned out to be attributed.
func (p *pipeline) notice(f *flow.Flow) {
	if f.Kept() || !p.isAttributed(f) {
		return
	}
	f.Keep()
	p.waiting[f] = f.Last.Add(settleTime)
}

func (p *pipeline) report(f *flow.Flow) {
	delete(p.waiting, f)
	p.push(f, false)
}

// isAttributed says whether something of the flow meets an indicator, as far as
// it is known before enrichment.
func (p *pipeline) isAttributed(f *flow.Flow) bool {
	o := rules.Observation{Last: f.Last}
	o.Remote = rules.Endpoint{Addr: f.Remote().Addr(), Port: f.Remote().Port()}
	o.Names = p.names.Names(f.Key.Netns, f.Remote().Addr(), f.Last)
	f.Shown(&o)
	to := o.Remote.Addr
	if o.Hidden != nil && o.Hidden.Addr.IsValid() {
		to = o.Hidden.Addr
	}
	if of, ok := p.systems.Load().find(to); ok {
		o.Geo = &rules.Geo{ASN: of.asn}
	}
	return len(p.live.Set().Match(&o, f.Last)) > 0
}

// push hands the flow as it stands to the judge.
func (p *pipeline) push(f *flow.Flow, last bool) {
	item := observed{o: f.Observation(p.host), owner: f.Owner, last: last}
	item.o.Closed = last
	if id, known := p.tunnels.identification(f); known {
		item.o.Identification = id
	}
	item.o.Names = append(item.o.Names, p.names.Names(f.Key.Netns, f.Remote().Addr(), f.Last)...)
	if f.Kept() || !protocol.Internal(f.Result.Label) {
		item.packets, item.withheld = f.Evidence()
	}
	p.hand(item, f.Kept())
}

// DNS implements flow.Sink: answers bind names to addresses, and a query for an
// attributed name is an observation of its own.
func (p *pipeline) DNS(f *flow.Flow, fromClient bool, message []byte, at time.Time) {
	queries := p.names.DNS(f.Key.Netns, f.Owner.CgroupID, !fromClient, message, at)
	if !fromClient {
		return
	}
	for _, q := range queries {
		o := rules.Observation{Query: q.Name, Last: at}
		if len(p.live.Set().Match(&o, at)) == 0 {
			continue
		}
		f.Keep()
		item := observed{o: f.Observation(p.host), owner: f.Owner}
		item.o.Query = q.Name
		item.o.First, item.o.Last = at.UTC(), at.UTC()
		item.packets, item.withheld = f.Evidence()
		p.hand(item, true)
	}
}

// counters gives what the table did and dropped.
func (p *pipeline) counters() (c flow.Counters, garbled uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table.Counters(), p.garbled
}

// feed is one sensor's way into the pipeline.
type feed struct {
	*pipeline
	from    sensor.Sensor
	decoder *capture.Decoder
	process func(*sensor.ProcessEvent)
}

// Packet implements sensor.Handler.
func (f *feed) Packet(in *sensor.Packet) {
	p, err := f.decoder.DecodeIP(in.Data, in.Length, in.Time)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.garbled++
		return
	}
	meta := flow.MetaOf(in, f.from.Name())
	f.table.Packet(p, &meta)
}

// Record implements sensor.Handler.
func (f *feed) Record(r *sensor.FlowRecord) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.table.Record(r)
}

// Process implements sensor.Handler.
func (f *feed) Process(e *sensor.ProcessEvent) {
	if f.process != nil {
		f.process(e)
	}
}

var _ sensor.Handler = (*feed)(nil)

// prefixesOf lists what the kernel's trie should hold.
func prefixesOf(s *rules.Set) []netip.Prefix {
	var out []netip.Prefix
	for p := range s.Prefixes() {
		out = append(out, p)
	}
	return out
}

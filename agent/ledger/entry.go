package ledger

import (
	"container/list"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"sallyport/rules"
)

// stateClosed is short for the state that ends an entry.
const stateClosed = rules.StateClosed

// Bounds of the flows an entry remembers, so as to count each once: open ones, and
// the last that closed, of which more may be said afterwards.
const (
	maxFlows = 1024
	maxEnded = 16
)

var flowSeed = maphash.MakeSeed()

// entry is one finding while it is open.
type entry struct {
	place *list.Element // guarded by Ledger.mu

	mu           sync.Mutex
	f            rules.Finding // as it stands, without evidence
	evidence     *rules.Evidence
	evidenceSent bool
	revision     uint64         // the last promised
	unsent       *rules.Finding // promised, not yet in the spool
	flows        map[uint64]struct{}
	ended        []uint64  // flows, latest last
	seen         time.Time // last draft
	sent         time.Time // last revision
	dirty        bool      // changed since the last revision
	urgent       bool      // the next revision does not wait for the interval
	unsaved      bool      // changed since the database has it
	closing      bool
	gone         bool
}

// merge takes the draft in. The first of a finding, or a turn for the worse, is
// urgent.
func (e *entry) merge(d rules.Finding, now time.Time) {
	first := e.f.ID == ""
	reopened := e.closing // it comes back before its end has left the host
	e.closing = false
	worse := first || reopened || isWorse(d, e.f)
	n := e.countFlow(d)
	if d.Evidence != nil && !e.evidenceSent && e.evidence == nil {
		e.evidence = d.Evidence
	}
	old := e.f
	d.Evidence, d.Revision, d.State = nil, 0, old.State
	if worse && !reopened || !isWorse(old, d) { // the worst observation stands for all; the latest of equals
		e.f = d
	}
	if first {
		e.f.First, e.f.Last, e.f.Count = d.First, d.Last, n
	} else {
		e.f.First, e.f.Last, e.f.Count = earlier(old.First, d.First), later(old.Last, d.Last), old.Count+n
	}
	if d.Loss != nil {
		e.f.Loss = d.Loss
	} else if e.f.Loss == nil {
		e.f.Loss = old.Loss
	}
	e.seen, e.dirty, e.unsaved = now, true, true
	e.urgent = e.urgent || worse
}

// countFlow says how many flows the draft adds: a flow counts once, however
// often it is observed.
func (e *entry) countFlow(d rules.Finding) uint64 {
	n := max(1, d.Count)
	if d.Observation.FlowID == "" {
		return n
	}
	h := maphash.String(flowSeed, d.Observation.FlowID)
	if slices.Contains(e.ended, h) {
		return 0
	}
	_, known := e.flows[h]
	if d.Observation.Closed {
		delete(e.flows, h)
		e.ended = append(e.ended, h)
		if over := len(e.ended) - maxEnded; over > 0 {
			e.ended = slices.Delete(e.ended, 0, over)
		}
	}
	switch {
	case known:
		return 0
	case d.Observation.Closed:
		return n
	case len(e.flows) < maxFlows:
		if e.flows == nil {
			e.flows = map[uint64]struct{}{}
		}
		e.flows[h] = struct{}{}
		return n
	}
	return 0 // counted when it closes
}

// next is the finding's next revision.
func (e *entry) next(now time.Time) rules.Finding {
	f := e.f
	f.Version = rules.FindingVersion
	f.Revision = e.revision + 1
	f.Created = now.UTC()
	f.Evidence = e.evidence
	switch {
	case e.closing:
		f.State = rules.StateClosed
	case e.f.State == "" || e.f.State == rules.StateClosed:
		f.State = rules.StateOpened
	default:
		f.State = rules.StateUpdated
	}
	return f
}

// testInterval is the least time between revisions of a test finding: a
// self-test that is run twice must see its second finding too.
const testInterval = time.Second

// due says whether the next revision should go now.
func (e *entry) due(now time.Time, interval time.Duration) bool {
	if e.f.Test {
		interval = min(interval, testInterval)
	}
	return e.dirty && (e.urgent || now.Sub(e.sent) >= interval)
}

// promised notes that f is on disk.
func (e *entry) promised(f rules.Finding, now time.Time) {
	e.unsent = &f
	e.revision = f.Revision
	e.f.State = f.State
	e.evidenceSent = e.evidenceSent || f.Evidence != nil
	e.evidence = nil
	e.sent, e.dirty, e.urgent, e.unsaved = now, false, false, false
}

// isWorse says whether a is a turn for the worse against b.
func isWorse(a, b rules.Finding) bool {
	for _, pair := range [][2]int{
		{severityRank(a.Severity), severityRank(b.Severity)},
		{outcomeRank(a.Observation.Outcome), outcomeRank(b.Observation.Outcome)},
		{identificationRank(a.Observation.Identification), identificationRank(b.Observation.Identification)},
	} {
		if pair[0] != pair[1] {
			return pair[0] > pair[1]
		}
	}
	return false
}

func severityRank(s rules.Severity) int {
	return slices.Index([]rules.Severity{rules.SeverityInfo, rules.SeverityLow, rules.SeverityMedium, rules.SeverityHigh, rules.SeverityCritical}, s)
}

func outcomeRank(o rules.Outcome) int {
	return slices.Index([]rules.Outcome{rules.OutcomeBlocked, rules.OutcomeAttempted, rules.OutcomeRefused, rules.OutcomeEstablished, rules.OutcomeData}, o)
}

func identificationRank(i rules.Identification) int {
	switch {
	case i.Protocol == "" || i.Protocol == "none":
		return 0
	case i.State == "confirmed":
		return 2
	}
	return 1
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

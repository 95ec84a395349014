package agent

import (
	"context"
	"slices"
	"time"

	"sallyport/agent/history"
	"sallyport/rules"
	"sallyport/rules/sigma"
)

// maxPastFindings bounds what one new detection may say of the past: a rule that
// fires on ordinary flows must not turn months of them into findings.
// Indicators have no such bound.
const maxPastFindings = 1000

// past is what the history is judged by.
type past struct {
	set     *rules.Set
	judge   *rules.Judge
	systems *systems
	since   time.Time // flows that began later were judged as they happened; zero: none was
}

// news is what of it the history has not been matched with.
type news struct {
	before     *matched
	ties       []rules.Tie // as far as searching for each is of use
	count      int
	detections map[string]rules.Detection // by id

	found map[string]map[string]bool // of a new detection: ids of its findings
	over  map[string]uint64          // of a new detection: findings beyond the bound
}

func (p past) news(before *matched) *news {
	n := &news{before: before, detections: map[string]rules.Detection{}, found: map[string]map[string]bool{}, over: map[string]uint64{}}
	for t := range p.set.Ties() {
		if before.has(sumOfTie(t)) {
			continue
		}
		n.count++
		if len(n.ties) <= history.MaxSearches {
			n.ties = append(n.ties, t)
		}
	}
	for _, d := range p.judge.Detections {
		if !before.has(sumOfDetection(d)) {
			n.detections[d.Ref().ID] = d
			n.found[d.Ref().ID] = map[string]bool{}
		}
	}
	return n
}

func (n *news) none() bool { return n.count == 0 && len(n.detections) == 0 }

// judged gives a draft of each finding that what is new brings to light in the
// history. New indicators are searched for; new detections, and indicators in
// great number, are tried on all of it.
func (p past) judged(ctx context.Context, h *history.History, n *news, gentle bool, now time.Time, found func(rules.Finding)) error {
	seen := map[string]bool{}
	alone := *p.judge // for flows that met no indicator
	alone.Detections = nil
	for _, d := range p.judge.Detections {
		if n.detections[d.Ref().ID] != nil {
			alone.Detections = append(alone.Detections, d)
		}
	}
	flow := func(flow history.Past) bool {
		o := flow.Observation
		if seen[o.FlowID] || !p.since.IsZero() && !o.First.Before(p.since) {
			return true
		}
		p.systems.attribute(&o)
		matches := p.set.Match(&o, now)
		judge := p.judge
		if len(matches) == 0 {
			judge = &alone
		} else {
			seen[o.FlowID] = true
		}
		for _, f := range judge.Findings(&o, matches, now) {
			if n.brought(&f) {
				f.Retro, f.Count = true, flow.Count
				found(f)
			}
		}
		return ctx.Err() == nil
	}
	if len(n.detections) > 0 || n.count > history.MaxSearches {
		return h.Walk(ctx, gentle, flow)
	}
	return h.Retro(ctx, flow, p.systems.searches(n.ties)...)
}

// brought says whether a finding rests on what is new: on a new indicator, or on
// a new detection that past flows still have the fields for.
func (n *news) brought(f *rules.Finding) bool {
	for i := range f.Matches {
		m := &f.Matches[i]
		if !n.before.has(sumOfTie(rules.Tie{Type: rules.IndicatorType(m.Indicator.Type), Value: m.Indicator.Value, Entity: m.Entity.ID})) {
			return true
		}
	}
	d := n.detections[f.Rule.ID]
	if d == nil || !answerable(d, f.Observation.Direction) {
		return false
	}
	ids := n.found[f.Rule.ID]
	if !ids[f.ID] && len(ids) >= maxPastFindings {
		n.over[f.Rule.ID]++
		return false
	}
	ids[f.ID] = true
	return true
}

// answerable says that past flows have every field the detection asks for.
func answerable(d rules.Detection, direction rules.Direction) bool {
	return !slices.ContainsFunc(d.Uses(), func(u sigma.FieldUse) bool { return !history.Keeps(u.Name, direction) })
}

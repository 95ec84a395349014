package record

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport/collector/stream"
)

// AgentCoverage is what an agent could see of the period, and what it could not.
type AgentCoverage struct {
	Agent     string            `json:"agent"`
	Covered   time.Duration     `json:"covered_ns"`
	Unseen    []Gap             `json:"unseen"` // no heartbeat covers it
	Stretches []Coverage        `json:"stretches"`
	Partial   []string          `json:"partial,omitempty"` // hooks not attached and degradations, with their times
	Lost      map[string]uint64 `json:"lost,omitempty"`    // in the period, by reason
	Dropped   map[string]uint64 `json:"dropped,omitempty"`
	Missing   uint64            `json:"missing"`  // numbers of its sequence that never came, whatever the time
	Rejected  uint64            `json:"rejected"` // lines refused for good, whatever the time
	Packs     []string          `json:"packs,omitempty"`
	Open      bool              `json:"open,omitempty"` // its last stretch goes on and is not in the record yet
}

// Gap is a time that nothing is known of.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// coverage says for each agent what it covered.
func (b *builder) coverage(ctx context.Context) error {
	entries, err := b.store.RecordOfKind(ctx, KindCoverage, b.query.From, time.Time{})
	if err != nil {
		return err
	}
	agents := map[string]*AgentCoverage{}
	of := func(name string) *AgentCoverage {
		if agents[name] == nil {
			agents[name] = &AgentCoverage{Agent: name, Unseen: []Gap{}, Stretches: []Coverage{}}
		}
		return agents[name]
	}
	for _, e := range entries {
		if !e.Removed.IsZero() {
			continue
		}
		var d Document
		var c Coverage
		if err := json.Unmarshal([]byte(e.Document), &d); err != nil {
			return fmt.Errorf("read entry %d of the record: %w", e.N, err)
		}
		if err := json.Unmarshal(d.Body, &c); err != nil {
			return fmt.Errorf("read entry %d of the record: %w", e.N, err)
		}
		if c.To.Before(b.query.From) || !c.From.Before(b.query.To) {
			continue
		}
		of(e.Agent).Stretches = append(of(e.Agent).Stretches, c)
	}
	going, err := b.store.Coverage(ctx)
	if err != nil {
		return err
	}
	for name, text := range going {
		o, err := decodeOpen(text)
		if err != nil {
			return err
		}
		if !o.To.Before(b.query.From) && o.From.Before(b.query.To) {
			of(name).Stretches, of(name).Open = append(of(name).Stretches, o.Coverage), true
		}
	}
	enrolled, err := b.store.Agents(ctx)
	if err != nil {
		return err
	}
	b.report.NotSeen = []string{}
	for _, a := range enrolled {
		if agents[a.Name] == nil && a.Name != stream.Collector && a.Enrolled.Before(b.query.To) {
			b.report.NotSeen = append(b.report.NotSeen, a.Name)
			of(a.Name)
		}
	}
	if err := b.sequences(ctx, agents); err != nil {
		return err
	}
	b.report.Agents = []AgentCoverage{}
	for _, name := range slices.Sorted(maps.Keys(agents)) {
		agents[name].sum(b.query.From, b.query.To)
		b.report.Agents = append(b.report.Agents, *agents[name])
	}
	return nil
}

func (b *builder) sequences(ctx context.Context, agents map[string]*AgentCoverage) error {
	list, err := b.store.Sequences(ctx, "")
	for _, s := range list {
		if a := agents[s.Agent]; a != nil {
			for _, m := range s.Missing {
				a.Missing += m[1] - m[0] + 1
			}
			a.Rejected += s.Rejected
		}
	}
	return err
}

// sum works out what is not covered, and what was seen in part.
func (a *AgentCoverage) sum(from, to time.Time) {
	slices.SortFunc(a.Stretches, func(x, y Coverage) int { return x.From.Compare(y.From) })
	seen := from
	for _, c := range a.Stretches {
		begin, end := latest(c.From, from), earliest(c.To, to)
		if begin.After(seen) {
			a.Unseen = append(a.Unseen, Gap{seen, begin})
		}
		if end.After(seen) {
			a.Covered += end.Sub(latest(begin, seen))
			seen = end
		}
		a.Lost, a.Dropped = plus(a.Lost, c.Lost), plus(a.Dropped, c.Dropped)
		for _, p := range c.Packs {
			if !slices.Contains(a.Packs, p) {
				a.Packs = append(a.Packs, p)
			}
		}
		a.partial(c)
	}
	if to.After(seen) {
		a.Unseen = append(a.Unseen, Gap{seen, to})
	}
}

func (a *AgentCoverage) partial(c Coverage) {
	var parts []string
	for _, hook := range slices.Sorted(maps.Keys(c.Hooks)) {
		if state := c.Hooks[hook]; state != hookGood {
			parts = append(parts, "hook "+hook+": "+state)
		}
	}
	parts = append(parts, c.Degraded...)
	for _, r := range c.Relays {
		parts = append(parts, "clients behind "+r+" are not known")
	}
	if len(parts) > 0 {
		a.Partial = append(a.Partial, c.From.Format(time.RFC3339)+" to "+c.To.Format(time.RFC3339)+": "+strings.Join(parts, "; "))
	}
}

func plus(a, b map[string]uint64) map[string]uint64 {
	for k, n := range b {
		if a == nil {
			a = map[string]uint64{}
		}
		a[k] += n
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

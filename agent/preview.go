package agent

import (
	"context"
	"time"

	"sallyport/agent/history"
	"sallyport/rules"
	"sallyport/rules/pack"
)

// Preview says what a pack would find in a host's history when it took the place
// of another, by its new indicators and its new detections. A pack that is not the
// vendor's own is judged beside what ships. Nobody asks here who signed the packs.
func Preview(ctx context.Context, before, after *pack.Pack, h *history.History, host string, now time.Time) ([]rules.Finding, error) {
	old, err := aloneWith(before)
	if err != nil {
		return nil, err
	}
	next, err := aloneWith(after)
	if err != nil {
		return nil, err
	}
	next.judge.Agent.Name = host
	var out []rules.Finding
	p := past{set: next.set, judge: next.judge, systems: next.systems}
	err = p.judged(ctx, h, p.news(matchedWith(old.set, old.judge)), false, now, func(f rules.Finding) { out = append(out, f) })
	return out, err
}

// aloneWith compiles a pack as an agent that has no other would.
func aloneWith(p *pack.Pack) (*loaded, error) {
	ps := &packs{list: []*pack.Pack{p}, shipped: p.Manifest.Name != rules.ShippedPack().Name}
	return compile(RulesConfig{}, ps, "", rules.AgentInfo{})
}

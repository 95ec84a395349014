package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sallyport/agent/history"
	"sallyport/rules"
)

// packsFile remembers which packs the history was matched with.
const packsFile = "packs"

// lookBack matches new indicators against the history: those that came while
// the agent was away first, then those of every reload.
func (a *Agent) lookBack(ctx context.Context) error {
	if fresh := a.sinceLastRun(); len(fresh) > 0 {
		a.retro(ctx, fresh)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case fresh := <-a.fresh:
			a.retro(ctx, fresh)
		}
	}
}

// sinceLastRun is every indicator when the packs are other than at the last run,
// and none when they are the same or there is nothing to look back at.
func (a *Agent) sinceLastRun() []rules.Indicator {
	path := filepath.Join(a.cfg.StateDir, packsFile)
	before, err := os.ReadFile(path)
	if err == nil && string(before) == a.packs() || errors.Is(err, fs.ErrNotExist) {
		a.rememberPacks()
		return nil
	}
	if err != nil {
		a.log.Warn("cannot tell which packs were in force before; all are matched against the history", "error", err)
	}
	return a.live.Set().New(nil)
}

// packs names the packs in force, their dates and the number of indicators.
func (a *Agent) packs() string {
	set := a.live.Set()
	var b strings.Builder
	for _, p := range set.Packs() {
		fmt.Fprintf(&b, "%s %s\n", p, p.Date.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "%d indicators\n", set.Len())
	return b.String()
}

func (a *Agent) rememberPacks() {
	path := filepath.Join(a.cfg.StateDir, packsFile)
	if err := os.WriteFile(path, []byte(a.packs()), 0o600); err != nil {
		a.log.Warn("cannot note which packs are in force; they are matched against the history again at the next start", "error", err)
	}
}

// retro judges past flows that the indicators may concern. Findings are marked
// retro; a flow that several indicators meet is judged once.
func (a *Agent) retro(ctx context.Context, fresh []rules.Indicator) {
	found := 0
	p := past{a.history, a.live.Set(), a.court.judge.Load(), a.systems.Load()}
	err := p.judged(ctx, fresh, time.Now(), func(f rules.Finding) {
		found++
		if err := a.ledger.Observe(ctx, f); err != nil {
			a.log.Error("retro finding not yet on disk; it is tried again", "id", f.ID, "error", err)
		}
	})
	if err != nil {
		a.log.Error("new indicators are not matched against the history", "error", err)
		return
	}
	if ctx.Err() == nil {
		a.rememberPacks()
		a.log.Info("new indicators matched against the history", "indicators", len(fresh), "findings", found)
	}
}

// past is the history, and what it is judged by.
type past struct {
	history *history.History
	set     *rules.Set
	judge   *rules.Judge
	systems *systems
}

// judged gives a draft of each finding that the indicators bring to light.
func (p past) judged(ctx context.Context, fresh []rules.Indicator, now time.Time, found func(rules.Finding)) error {
	seen := map[string]bool{}
	return p.history.Retro(ctx, func(flow history.Past) bool {
		o := flow.Observation
		if seen[o.FlowID] {
			return true
		}
		p.systems.attribute(&o)
		matches := p.set.Match(&o, now)
		if len(matches) == 0 {
			return true
		}
		seen[o.FlowID] = true
		for _, f := range p.judge.Findings(&o, matches, now) {
			f.Retro, f.Count = true, flow.Count
			found(f)
		}
		return ctx.Err() == nil
	}, p.systems.searches(fresh)...)
}

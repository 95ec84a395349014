package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"sallyport/rules"
)

// pastBound is what the agent reports of itself where a new detection found more
// in the history than it may say.
const pastBound = "history_bound"

// offer hands what is in force to lookBack, in the place of what it has not
// begun with: what that would have found new is new in the later one too. Callers
// hold loading.
func (a *Agent) offer(p past) {
	select {
	case <-a.fresh:
	default:
	}
	a.fresh <- p
}

// lookBack matches what is new in the rules against the history: what came while
// the agent was away first, then that of every reload.
func (a *Agent) lookBack(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-a.fresh:
			a.retro(ctx, p)
		}
	}
}

// retro judges past flows by what is new. Findings are marked retro; a flow that
// several indicators meet is judged once. What is new is noted as matched only
// once all of it was, so that a restart in between begins it again.
func (a *Agent) retro(ctx context.Context, p past) {
	path := filepath.Join(a.cfg.StateDir, matchedFile)
	before, err := readMatched(path)
	if err != nil {
		a.log.Warn("cannot tell what the history was matched with before; all is matched", "error", err)
	}
	n := p.news(before)
	if !n.none() && !a.matchPast(ctx, p, n) {
		return
	}
	if err := matchedWith(p.set, p.judge).write(path); err != nil {
		a.log.Warn("cannot note what the history was matched with; it is matched again at the next start", "error", err)
	}
}

// matchPast says whether the history was matched to its end.
func (a *Agent) matchPast(ctx context.Context, p past, n *news) bool {
	if err := a.history.Flush(); err != nil {
		a.log.Warn("what is in memory is not matched with what is new", "error", err)
	}
	found := 0
	err := p.judged(ctx, a.history, n, true, time.Now(), func(f rules.Finding) {
		found++
		if err := a.ledger.Observe(ctx, f); err != nil {
			a.log.Error("retro finding not yet on disk; it is tried again", "id", f.ID, "error", err)
		}
	})
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		a.log.Error("what is new is not matched against the history", "error", err)
		return false
	}
	a.log.Info("what is new matched against the history", "indicators", n.count, "detections", len(n.detections), "findings", found)
	for _, id := range sortedKeys(n.over) {
		why := fmt.Sprintf("the new detection %s fired on more of the history than it may report: %d findings are left out beside the %d made", id, n.over[id], maxPastFindings)
		if err := a.ledger.Observe(ctx, a.selfFinding(pastBound, id, why, time.Now().UTC())); err != nil {
			a.log.Error("cannot report the bound yet; it is tried again", "detection", id, "error", err)
		}
	}
	return true
}

package agent

import (
	"context"
	"fmt"
	"time"
)

// forcedReload is what the agent reports of itself when a set that it would have
// refused was forced on it: by whom, so that it stands in the record.
const forcedReload = "forced_reload"

// Reload reads the rules of the configuration again and puts them in force
// without a pause: packs, entities, detections, allow-list and approved tools. It
// says what changed. Nothing changes when something cannot be read or verified,
// or when less than half of the indicators would be left; by names who takes it
// upon them that this is right, "" nobody.
func (a *Agent) Reload(ctx context.Context, by string) (string, error) {
	a.loading.Lock()
	defer a.loading.Unlock()
	next, err := loadRules(a.cfg, a.version)
	if err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil { // who asked has gone: nothing changes unseen
		return "", fmt.Errorf("reload rules: %w", err)
	}
	before := a.live.Set()
	if err := a.swap(ctx, next, by); err != nil {
		return "", err
	}
	a.court.judge.Store(next.judge)
	a.enforce(next)
	for _, s := range a.sensors {
		a.givePrefixes(s)
	}
	fresh := 0
	for range next.set.New(before) {
		fresh++
	}
	return fmt.Sprintf("%d indicators in force, %d before; %d values are new and are matched against the history", next.set.Len(), before.Len(), fresh), nil
}

// swap puts the set in force. A set that has shrunk needs somebody's word for it:
// the operator's, or that of who signed a pack that was not in force before.
func (a *Agent) swap(ctx context.Context, next *loaded, by string) error {
	refused := a.live.Swap(next.set, false)
	if refused == nil {
		return nil
	}
	if by == "" {
		by = next.standing.shrinkers(a.standing.Load())
	}
	if by == "" {
		return fmt.Errorf("%w: sallyport reload --force", refused)
	}
	before := a.live.Set().Len()
	if err := a.live.Swap(next.set, true); err != nil {
		return err
	}
	why := fmt.Sprintf("%d indicators took the place of %d, which would have been refused; forced by %s", next.set.Len(), before, by)
	a.log.Warn("a much smaller set was forced", "indicators", next.set.Len(), "before", before, "by", by)
	if err := a.ledger.Observe(ctx, a.selfFinding(forcedReload, "", why, time.Now().UTC())); err != nil {
		a.log.Error("cannot report a forced reload yet; it is tried again", "error", err)
	}
	return nil
}

// enforce keeps what belongs to the set in force beside it, and has what is new
// matched against the history.
func (a *Agent) enforce(l *loaded) {
	a.systems.Store(l.systems)
	a.standing.Store(l.standing)
	for _, p := range l.standing.problems {
		a.log.Warn("pack not in force", "reason", p)
	}
	for _, out := range l.set.LeftOut() {
		a.log.Warn("indicator left out", "entity", out.Entity, "type", string(out.Type), "value", out.Value, "reason", out.Reason)
	}
	if err := l.accept(a.cfg.StateDir); err != nil {
		a.log.Error("cannot note which packs are in force; an older one could take their place after a restart", "error", err)
	}
	a.offer(past{set: l.set, judge: l.judge, systems: l.systems, since: time.Now()})
	select {
	case a.packsChanged <- struct{}{}:
	default:
	}
}

package agent

import (
	"context"
	"fmt"
)

// Reload reads the rules of the configuration again and puts them in force
// without a pause: packs, entities, detections, allow-list and approved tools. It
// says what changed. Nothing changes when something cannot be read or verified.
func (a *Agent) Reload(ctx context.Context) (string, error) {
	a.loading.Lock()
	defer a.loading.Unlock()
	next, err := loadRules(a.cfg, a.version)
	if err != nil {
		return "", err
	}
	before := a.live.Set()
	if err := a.live.Swap(next.set, false); err != nil {
		return "", err
	}
	a.court.judge.Store(next.judge)
	a.enforce(next)
	for _, s := range a.sensors {
		a.givePrefixes(s)
	}
	fresh := next.set.New(before)
	if len(fresh) > 0 {
		select {
		case a.fresh <- fresh:
		case <-ctx.Done():
			return "", fmt.Errorf("match new indicators against the history: %w", ctx.Err())
		}
	}
	return fmt.Sprintf("%d indicators in force, %d before; %d values are new and are matched against the history", next.set.Len(), before.Len(), len(fresh)), nil
}

// enforce keeps what belongs to the set in force beside it.
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
	select {
	case a.packsChanged <- struct{}{}:
	default:
	}
}

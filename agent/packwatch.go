package agent

import (
	"context"
	"time"
)

// staleEvery is how often packs are asked whether their time is over, and
// stalePack is what the agent then reports of itself.
const (
	staleEvery = 24 * time.Hour
	stalePack  = "stale_pack"
)

// watchPacks reports stale packs when they come into force and every day, and
// looks autonomous systems up again when their database has changed, until ctx
// ends.
func (a *Agent) watchPacks(ctx context.Context) error {
	t := time.NewTicker(staleEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			a.reportStale(ctx, now)
		case <-a.packsChanged:
			a.reportStale(ctx, time.Now())
		case <-a.enrich.ASNChanged():
			if err := a.refreshSystems(); err != nil {
				a.log.Warn("autonomous systems are not looked up in the new database; the old prefixes stay", "error", err)
			}
		}
	}
}

// reportStale makes a finding of each pack whose time is over.
func (a *Agent) reportStale(ctx context.Context, now time.Time) {
	stale := a.standing.Load().stale(now)
	for _, name := range sortedKeys(stale) {
		if err := a.ledger.Observe(ctx, a.selfFinding(stalePack, name, stale[name], now.UTC())); err != nil {
			a.log.Error("cannot report a stale pack yet; it is tried again", "pack", name, "error", err)
		}
	}
}

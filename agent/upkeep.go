package agent

import (
	"context"
	"time"
)

// Pace of the agent's own upkeep.
const tickEvery = 200 * time.Millisecond

// upkeep expires flows, samples losses, flushes the flow log and tells the
// service manager that all of this still moves: the flow table's lock, which
// every sensor needs, is taken here.
func (a *Agent) upkeep(ctx context.Context) error {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	flushed, told := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			a.pipeline.tick(now)
			a.losses.sample(now)
			if a.manager.every > 0 && now.Sub(told) >= a.manager.every {
				told = now
				if err := a.manager.tell(notifyAlive); err != nil {
					a.log.Warn("no sign of life given", "error", err)
				}
			}
			if now.Sub(flushed) >= time.Second {
				flushed = now
				if err := a.flowLog.Flush(); err != nil {
					a.log.Warn("flow log not written", "error", err)
				}
			}
		}
	}
}

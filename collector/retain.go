package collector

import (
	"context"
	"time"
)

// retainInterval is how often what is too old is removed.
const retainInterval = time.Hour

// maxClockStep is by how much a clock may be set without anybody's doubt.
const maxClockStep = 10 * time.Minute

// clockMoved says that the wall clock went on by something else than the time that
// passed.
func clockMoved(wall, passed time.Duration) bool {
	d := wall - passed
	return d > maxClockStep || d < -maxClockStep
}

// retain removes what is too old. After the clock was moved it removes nothing for
// an interval: a clock that is years ahead would empty the store, and people or
// NTP need time to put it right.
func (c *Collector) retain(ctx context.Context) error {
	tick := time.NewTicker(retainInterval)
	defer tick.Stop()
	for last := time.Now(); ; {
		now := time.Now()
		wall, passed := now.Round(0).Sub(last.Round(0)), now.Sub(last) // the first by the wall clock, the second by the monotonic one
		if last = now; clockMoved(wall, passed) {
			c.logger.Error("the clock was moved; nothing is removed for its age until it has stood for an hour", "by", wall-passed)
		} else {
			c.removeExpired(ctx, now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *Collector) removeExpired(ctx context.Context, now time.Time) {
	gone, err := c.store.Retain(ctx, now)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.logger.Error("expired findings not removed", "error", err)
	case gone.Findings > 0 || gone.Evidence > 0:
		c.logger.Info("expired findings removed", "findings", gone.Findings, "evidence", gone.Evidence)
	}
}

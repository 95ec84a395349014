package agent

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent/enrich"
	"sallyport/rules"
)

// court enriches what the pipeline hands over, matches and judges it, and passes
// on what comes of it.
type court struct {
	live    *rules.Live
	judge   atomic.Pointer[rules.Judge]
	enrich  *enrich.Enricher
	relays  *relays
	askers  *askers
	systems *sharedSystems
	loss    func(first, now time.Time) *rules.Loss
	report  func(context.Context, rules.Finding) error // drafts
	ended   func(*rules.Observation)                   // flows that are over
	now     func() time.Time
	log     hclog.Logger

	judged   atomic.Uint64 // observations
	findings atomic.Uint64 // drafts
}

// run handles a queue until it is closed.
func (c *court) run(ctx context.Context, queue <-chan *observed) error {
	for item := range queue {
		c.handle(ctx, item)
	}
	return nil
}

func (c *court) handle(ctx context.Context, item *observed) {
	c.judged.Add(1)
	o := &item.o
	c.enrich.Enrich(o, item.owner)
	c.systems.Load().attribute(o)
	c.relays.mark(o, item.owner)
	c.askers.notice(o, item.owner)
	now := c.now()
	matches := c.live.Set().Match(o, now)
	for _, f := range c.judge.Load().Findings(o, matches, now) {
		c.findings.Add(1)
		f.Evidence = evidenceOf(item, c.log)
		f.Loss = c.loss(o.First, now)
		if err := c.report(ctx, f); err != nil {
			c.log.Error("finding not yet on disk; it is kept in memory and tried again", "id", f.ID, "error", err)
		}
	}
	if item.last {
		c.ended(o)
		if len(matches) > 0 {
			c.relays.ended(item)
		}
	}
	for _, late := range c.relays.belated() {
		c.handle(ctx, late)
	}
}

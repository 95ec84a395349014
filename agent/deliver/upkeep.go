package deliver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/rules"
)

// Pace of what a collector destination does beside sending.
const (
	heartbeatEvery = time.Minute
	renewalCheck   = time.Minute
)

// Run sends heartbeats and keeps the certificate fresh until ctx ends.
func (c *collector) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { c.heartbeats(ctx); return nil })
	g.Go(func() error { c.renewals(ctx); return nil })
	return g.Wait()
}

// heartbeats are spread over the minute, and are not repeated when one fails:
// the next says all that this one did.
func (c *collector) heartbeats(ctx context.Context) {
	if c.o.local.Heartbeat == nil {
		return
	}
	wait := rand.N(2 * time.Second)
	for sleep(ctx, wait) {
		call, id := c.current()
		h := c.o.local.Heartbeat()
		h.Agent, h.At, h.Spool = id.Name, time.Now().UTC(), c.o.spool.State()
		if err := call.post(ctx, rules.PathHeartbeat, h, nil); err != nil && ctx.Err() == nil {
			c.o.log.Warn("heartbeat failed", "error", c.classify(err))
		}
		wait = heartbeatEvery - heartbeatEvery/20 + rand.N(heartbeatEvery/10)
	}
}

// renewals asks for a new certificate from two thirds of the old one's life on,
// and picks up certificates of your own PKI when their file changes.
func (c *collector) renewals(ctx context.Context) {
	failures := 0
	seen := c.ownChanged(time.Time{})
	wait := c.untilRenewal()
	for sleep(ctx, wait) {
		wait = c.untilRenewal()
		call, id := c.current()
		if id.own {
			seen = c.reloadOwn(seen)
			continue
		}
		if fresh, err := LoadIdentity(c.o.cfg.Collector.IdentityDir); err == nil && fresh.Certificate != id.Certificate {
			c.use(fresh) // enrolled anew while we ran
			wait = c.untilRenewal()
			continue
		}
		if !c.mustReplace(id) {
			continue
		}
		fresh, err := c.replacement(ctx, call, id)
		if err != nil {
			failures++
			wait = pause(failures+3, nil)
			c.renewalFailed(ctx, id, err, failures)
			continue
		}
		failures = 0
		c.use(fresh)
		wait = c.untilRenewal()
		c.o.log.Info("certificate renewed", "until", fresh.Expires())
	}
}

// untilRenewal is the time until the next look: soon enough for certificates
// that live minutes, and never longer than renewalCheck.
func (c *collector) untilRenewal() time.Duration {
	_, id := c.current()
	if id.own {
		return renewalCheck
	}
	return min(max(time.Until(id.renewAt()), 100*time.Millisecond), renewalCheck)
}

// renewalFailed warns, and reports once nine tenths of the life are gone.
func (c *collector) renewalFailed(ctx context.Context, id *Identity, err error, failures int) {
	if ctx.Err() != nil {
		return
	}
	c.o.log.Warn("certificate not renewed", "error", c.classify(err), "until", id.Expires())
	life := id.Expires().Sub(id.pair.Leaf.NotBefore)
	if failures%10 == 1 && time.Until(id.Expires()) < life/10 {
		c.o.spool.report(Event{Kind: EventRenewal, Detail: fmt.Sprintf("the certificate runs out at %s and is not renewed: %v", id.Expires().UTC().Format(time.RFC3339), err)})
	}
}

func (c *collector) ownChanged(old time.Time) time.Time {
	if c.o.cfg.Collector.CertFile == "" {
		return old
	}
	info, err := os.Stat(c.o.cfg.Collector.CertFile)
	if err != nil {
		return old
	}
	return info.ModTime()
}

// reloadOwn takes over certificate files that were replaced. Files half replaced
// do not fit each other; the next look takes them.
func (c *collector) reloadOwn(seen time.Time) time.Time {
	at := c.ownChanged(seen)
	if at.Equal(seen) {
		return seen
	}
	id, err := c.load()
	if err != nil {
		c.o.log.Warn("certificate files cannot be taken over yet", "error", err)
		return seen
	}
	c.use(id)
	return at
}

package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"sallyport/rules"
)

// batchBytes bounds a request before compression, about.
const batchBytes = 1 << 20

// Deliverer empties the spool into its destinations, each at its own pace.
type Deliverer struct {
	cfg   Config
	local Local
	spool *Spool
	log   hclog.Logger
}

// New makes a Deliverer for the destinations of cfg, which Open was given too.
func New(cfg Config, local Local, spool *Spool, log hclog.Logger) *Deliverer {
	return &Deliverer{cfg: cfg, local: local, spool: spool, log: log.Named("deliver")}
}

// Run delivers until ctx ends. What a destination cannot take waits in the spool;
// no failure of one ends Run or delays another.
func (d *Deliverer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range d.cfg.Destinations {
		k, ok := kindNamed(name)
		if !ok {
			return fmt.Errorf("deliver: unknown destination %q", name)
		}
		g.Go(func() error { return d.serve(ctx, k) })
	}
	g.Go(func() error {
		for sleep(ctx, time.Minute) {
			d.spool.Tidy(time.Now())
		}
		return nil
	})
	return g.Wait()
}

// serve opens a destination and feeds it.
func (d *Deliverer) serve(ctx context.Context, k kind) error {
	log := d.log.With("destination", k.name)
	var dest destination
	for failures := 1; ; failures++ {
		var err error
		if dest, err = k.open(opening{d.cfg, d.local, d.spool, log}); err == nil {
			break
		}
		log.Warn("destination cannot be opened; findings wait in the spool", "error", err)
		if !sleep(ctx, pause(failures, nil)) {
			return nil
		}
	}
	defer dest.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	if b, ok := dest.(background); ok {
		g.Go(func() error { return b.Run(ctx) })
	}
	f := feeder{reader: &reader{spool: d.spool, name: k.name}, dest: dest, agent: d.local.Agent, limit: d.cfg.Batch, log: log,
		park: parkingLot{dir: d.cfg.Dir, name: k.name}}
	g.Go(func() error { return f.run(ctx) })
	return g.Wait()
}

// feeder moves findings from the spool to one destination, in order.
type feeder struct {
	reader   *reader
	dest     destination
	agent    string
	limit    int // of findings in a batch
	now      int // the same after refusals, 0 as limit
	failures int
	park     parkingLot
	log      hclog.Logger
}

func (f *feeder) run(ctx context.Context) error {
	for ctx.Err() == nil {
		limit := f.limit
		if f.now > 0 {
			limit = f.now
		}
		b, err := f.reader.next(ctx, limit, batchBytes)
		if err != nil {
			if errors.Is(err, ErrClosed) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read spool: %w", err)
		}
		for i := range b.envelopes {
			b.envelopes[i].Agent = f.agent
		}
		receipt, err := f.dest.Send(ctx, b.envelopes)
		if err == nil {
			err = f.settle(b, receipt)
		}
		if err != nil && !f.failed(ctx, b, err) {
			return nil
		}
	}
	return nil
}

// settle parks what was refused for good and lets the rest go.
func (f *feeder) settle(b batch, receipt rules.Receipt) error {
	if len(receipt.Rejected) > 0 {
		parked, err := f.park.add(b.envelopes, receipt.Rejected)
		if err != nil {
			return fmt.Errorf("park findings: %w", err)
		}
		s := f.reader.spool
		s.count("parked_full", uint64(len(receipt.Rejected)-parked))
		s.report(Event{Kind: EventParked, Findings: uint64(len(receipt.Rejected)),
			Detail: fmt.Sprintf("refused for good (%s); kept in %s", receipt.Rejected[0].Reason, f.park.path())})
	}
	if f.failures > 0 {
		f.log.Info("delivery works again", "failures", f.failures)
	}
	f.failures = 0
	if f.now > 0 { // grow back towards the limit
		if f.now *= 2; f.now >= f.limit {
			f.now = 0
		}
	}
	f.reader.acknowledge(b)
	return nil
}

// failed waits before the next attempt; false when ctx ended.
func (f *feeder) failed(ctx context.Context, b batch, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	var se *sendError
	errors.As(err, &se)
	if se != nil && se.split {
		if n := len(b.envelopes); n > 1 {
			f.now = n / 2
			return true
		}
		reject := rules.Receipt{Rejected: []rules.Reject{{Seq: b.envelopes[0].Seq, Reason: err.Error()}}}
		if err = f.settle(b, reject); err == nil {
			return true
		}
	}
	f.failures++
	wait := pause(f.failures, se)
	f.log.Warn("delivery failed; findings wait in the spool", "error", err, "failures", f.failures, "next_in", wait.Round(time.Millisecond).String())
	return sleep(ctx, wait)
}

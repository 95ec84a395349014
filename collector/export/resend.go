package export

import (
	"context"
	"fmt"
	"time"

	"sallyport/collector/store"
	"sallyport/collector/stream"
)

// resendInterval is how often parked findings that are to be sent again are
// looked for.
const resendInterval = 5 * time.Second

// missedMargin is what the time of receipt, which the store keeps, and the
// stream's own time may differ by. What lies in it is sent twice.
const missedMargin = time.Minute

// Missed has an exporter get from the store what the stream no longer has for it.
func (r *Runner) Missed(ctx context.Context, m stream.Missed) error {
	for _, e := range r.exporters {
		if consumer(e.cfg.Name) != m.Consumer {
			continue
		}
		n, err := r.store.Backfill(ctx, e.cfg.Name, m.From.Add(-missedMargin), m.To.Add(missedMargin))
		if err != nil {
			return err
		}
		e.logger.Warn("exporter is backfilled from the store", "findings", n, "from", m.From, "to", m.To)
	}
	return nil
}

// Recover has every exporter get from the store what came after the stream's last
// entry: its files have lost their end, and with it how far each exporter was.
func (r *Runner) Recover(ctx context.Context, last time.Time) error {
	latest, err := r.store.LastReceived(ctx)
	if err != nil || last.IsZero() || !latest.After(last) {
		return err // a stream without any entry is a new one
	}
	for _, e := range r.exporters {
		n, err := r.store.Backfill(ctx, e.cfg.Name, last, latest)
		if err != nil {
			return err
		}
		e.logger.Error("the stream has lost its last entries; the exporter gets them from the store", "findings", n, "from", last, "to", latest)
	}
	return nil
}

// leaseMargin is what a batch that is sent again may take beside its attempt.
const leaseMargin = 30 * time.Second

// resend sends again what a person asked for, and what the stream no longer has.
// Of several collectors one does it at a time, so that nothing goes out from each.
func (r *Runner) resend(ctx context.Context, e *running) error {
	// An attempt waits for the stream's, which takes as long.
	lease := r.store.Lease("resend-"+e.cfg.Name, 2*e.cfg.Timeout+leaseMargin)
	defer lease.Release(context.WithoutCancel(ctx)) // an error: it is over by itself soon
	tick := time.NewTicker(resendInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for more := true; more; {
			n, err := r.resendHeld(ctx, e, lease)
			if err != nil && ctx.Err() == nil {
				e.logger.Warn("parked findings not sent again", "error", err)
			}
			more = err == nil && n == e.cfg.Batch
		}
	}
}

// resendHeld sends a batch, if the lease is ours.
func (r *Runner) resendHeld(ctx context.Context, e *running, lease *store.Lease) (int, error) {
	if ours, err := lease.Hold(ctx); err != nil || !ours {
		return 0, err
	}
	return r.resendBatch(ctx, e)
}

// resendBatch makes one attempt, and says how many were to be sent.
func (r *Runner) resendBatch(ctx context.Context, e *running) (int, error) {
	list, err := r.store.Resending(ctx, e.cfg.Name, e.cfg.Batch)
	if err != nil {
		return 0, err
	}
	var kept []store.Parked
	var items []Item
	for _, p := range list {
		item, ok, err := e.again(p.Entry)
		switch {
		case err != nil:
			err = r.parkAgain(ctx, e, p, err.Error())
		case ok && (r.Hold == nil || !r.Hold(&item.Finding)):
			kept, items = append(kept, p), append(items, item)
		default:
			err = r.store.Unpark(ctx, p.Key)
		}
		if err != nil {
			return 0, err
		}
	}
	if len(items) == 0 {
		return len(list), nil
	}
	refused, err := r.send(ctx, e, items)
	if err != nil {
		return 0, fmt.Errorf("send again: %w", err)
	}
	reasons := map[int]string{}
	for _, x := range refused {
		reasons[x.Index] = x.Reason
	}
	for i, p := range kept {
		if reason, ok := reasons[i]; ok {
			err = r.parkAgain(ctx, e, p, reason)
		} else {
			err = r.store.Unpark(ctx, p.Key)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

// again makes what is sent of a parked entry; false where there is nothing any
// more, or the filter holds it back.
func (e *running) again(entry stream.Entry) (Item, bool, error) {
	if entry.Finding == nil {
		return Item{}, false, nil
	}
	return e.item(entry)
}

// parkAgain parks what was refused once more. A backfilled finding may have a
// newer revision than it was parked with, which is then parked instead.
func (r *Runner) parkAgain(ctx context.Context, e *running, p store.Parked, reason string) error {
	if p.Reason == store.ReasonMissed {
		if err := r.store.Unpark(ctx, p.Key); err != nil {
			return err
		}
	}
	return r.park(ctx, e, p.Entry, reason)
}

package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// Stream gives every entry, at each exporter's own pace.
type Stream interface {
	Consume(context.Context, stream.Consumer, func(context.Context, []stream.Entry) error) error
	Position(ctx context.Context, name string) (stream.Position, error)
}

// Store keeps what receivers refused.
type Store interface {
	Park(context.Context, store.Parked) error
	Resending(ctx context.Context, exporter string, limit int) ([]store.Parked, error)
	Unpark(ctx context.Context, key int64) error
	CountParked(context.Context) (map[string]int, error)
	Backfill(ctx context.Context, exporter string, from, to time.Time) (int, error)
	LastReceived(context.Context) (time.Time, error)
	Lease(name string, life time.Duration) *store.Lease
}

// Runner runs every configured exporter. None waits for another.
type Runner struct {
	stream    Stream
	store     Store
	logger    hclog.Logger
	exporters []*running
	sent      *prometheus.CounterVec
	failed    *prometheus.CounterVec
	parked    *prometheus.CounterVec
	filtered  *prometheus.CounterVec
	collapsed *prometheus.CounterVec

	// Hold, where it is set, says which findings another stands for: they are not
	// sent. Set it before Run.
	Hold func(*rules.Finding) bool
}

// running is one exporter. Its turn is held while it sends: the stream and what
// is sent again share it.
type running struct {
	cfg      Config
	exporter Exporter
	logger   hclog.Logger
	turn     chan struct{}
	failing  failing
}

// New opens the exporters.
func New(configs []Config, s Stream, st Store, logger hclog.Logger) (*Runner, error) {
	r := &Runner{
		stream: s, store: st, logger: logger.Named("export"),
		sent:      counter("sent", "Finding revisions a receiver has taken."),
		failed:    counter("failures", "Attempts that are made again."),
		parked:    counter("parked", "Finding revisions a receiver refused for good."),
		filtered:  counter("filtered", "Finding revisions the filter held back."),
		collapsed: counter("collapsed", "Finding revisions that one about a burst stands for."),
	}
	for _, c := range configs {
		if err := r.add(c); err != nil {
			return nil, errors.Join(fmt.Errorf("open exporter %s: %w", c.Name, err), r.Close())
		}
	}
	return r, nil
}

func counter(name, help string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_export_" + name + "_total", Help: help}, []string{"exporter"})
}

func (r *Runner) add(c Config) error {
	k, err := kindOf(c.Type)
	if err != nil {
		return err
	}
	format, err := formatOf(c.Format)
	if err != nil {
		return err
	}
	logger := r.logger.With("exporter", c.Name)
	e, err := k.open(opening{c.Name, c.Settings, format, logger})
	if err != nil {
		return err
	}
	r.exporters = append(r.exporters, &running{cfg: c, exporter: e, logger: logger, turn: make(chan struct{}, 1)})
	return nil
}

// Metrics are what the collector registers.
func (r *Runner) Metrics() []prometheus.Collector {
	return []prometheus.Collector{r.sent, r.failed, r.parked, r.filtered, r.collapsed}
}

// Close releases the exporters.
func (r *Runner) Close() error {
	var errs []error
	for _, e := range r.exporters {
		errs = append(errs, e.exporter.Close())
	}
	return errors.Join(errs...)
}

// Run sends until ctx ends.
func (r *Runner) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, e := range r.exporters {
		c := stream.Consumer{Name: consumer(e.cfg.Name), Batch: e.cfg.Batch, Refused: func(err error) {
			e.logger.Error("entry passed over", "error", err)
		}}
		group.Go(func() error {
			return r.stream.Consume(ctx, c, func(ctx context.Context, entries []stream.Entry) error { return r.export(ctx, e, entries) })
		})
		group.Go(func() error { return r.resend(ctx, e) })
	}
	return group.Wait()
}

func consumer(name string) string { return stream.ExportPrefix + name }

// export sends the entries that the filter lets through and parks what is
// refused.
func (r *Runner) export(ctx context.Context, e *running, entries []stream.Entry) error {
	kept := make([]stream.Entry, 0, len(entries))
	items := make([]Item, 0, len(entries))
	for _, entry := range entries {
		item, ok, err := e.item(entry)
		switch {
		case err != nil:
			if err := r.park(ctx, e, entry, err.Error()); err != nil {
				return err
			}
		case ok && r.Hold != nil && r.Hold(&item.Finding):
			r.collapsed.WithLabelValues(e.cfg.Name).Inc()
		case ok:
			kept, items = append(kept, entry), append(items, item)
		case entry.Rejected == "" && entry.Kind == "":
			r.filtered.WithLabelValues(e.cfg.Name).Inc()
		}
	}
	if len(items) == 0 {
		return nil
	}
	refused, err := r.send(ctx, e, items)
	if err != nil {
		return err
	}
	for _, x := range refused {
		if err := r.park(ctx, e, kept[x.Index], x.Reason); err != nil {
			return err
		}
	}
	return nil
}

// send makes one attempt.
func (r *Runner) send(ctx context.Context, e *running, items []Item) ([]RefusedItem, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	err := e.exporter.Export(ctx, items)
	var refused *Refused
	if errors.As(err, &refused) {
		err = nil
	}
	e.failing.note(err)
	if err != nil {
		r.failed.WithLabelValues(e.cfg.Name).Inc()
		return nil, fmt.Errorf("export findings: %w", err)
	}
	var list []RefusedItem
	if refused != nil {
		list = refused.Items
	}
	r.sent.WithLabelValues(e.cfg.Name).Add(float64(len(items) - len(list)))
	return list, nil
}

// item makes what is sent of an entry; false where it is not to be sent.
func (e *running) item(entry stream.Entry) (Item, bool, error) {
	if entry.Rejected != "" || entry.Kind != "" {
		return Item{}, false, nil
	}
	item := Item{Raw: entry.Finding}
	if err := json.Unmarshal(entry.Finding, &item.Finding); err != nil {
		return Item{}, false, fmt.Errorf("decode finding: %w", err)
	}
	if !e.cfg.Filter.takes(&item.Finding) {
		return Item{}, false, nil
	}
	if e.cfg.Filter.WithoutEvidence && item.Finding.Evidence != nil {
		bare := *item.Finding.Evidence
		bare.PCAPNG = nil
		item.Finding.Evidence = &bare
		raw, err := rules.WithoutPackets(entry.Finding)
		if err != nil {
			return Item{}, false, err
		}
		item.Raw = raw
	}
	return item, true, nil
}

func (r *Runner) park(ctx context.Context, e *running, entry stream.Entry, reason string) error {
	var f struct {
		ID       string `json:"id"`
		Revision uint64 `json:"revision"`
	}
	if json.Unmarshal(entry.Finding, &f) != nil || f.ID == "" {
		f.ID = entry.ID // what cannot be read is parked under what its agent called it
	}
	err := r.store.Park(ctx, store.Parked{
		Exporter: e.cfg.Name, Agent: entry.Agent, ID: f.ID, Revision: f.Revision, Reason: reason, At: time.Now(), Entry: entry,
	})
	if err != nil {
		return err
	}
	r.parked.WithLabelValues(e.cfg.Name).Inc()
	e.logger.Error("finding parked", "agent", entry.Agent, "finding", f.ID, "reason", reason)
	return nil
}

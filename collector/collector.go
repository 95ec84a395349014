// Package collector takes findings from agents and loses none: ingest, stream,
// store, export, console. This file wires the parts and their shutdown; no other
// knows them all.
package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sallyport/collector/account"
	"sallyport/collector/admin"
	"sallyport/collector/api"
	"sallyport/collector/export"
	"sallyport/collector/feeds"
	"sallyport/collector/fleet"
	"sallyport/collector/identity"
	"sallyport/collector/ingest"
	"sallyport/collector/packs"
	"sallyport/collector/record"
	"sallyport/collector/reports"
	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/collector/triage"
)

// shutdownTimeout is how long requests may take to end.
const shutdownTimeout = 15 * time.Second

// Collector is one process. Several on one NATS cluster and one PostgreSQL are
// one collector.
type Collector struct {
	cfg       Config
	version   string
	logger    hclog.Logger
	store     *store.Store
	stream    *stream.Stream
	identity  *identity.Service
	fleet     *fleet.Fleet
	watcher   *fleet.Watcher
	record    *record.Log
	reports   *reports.Desk
	triage    *triage.Desk
	api       *api.API
	packs     *packs.Packs
	feeds     *feeds.Runner
	accounts  *account.Accounts
	ingest    *ingest.Ingest
	exporters *export.Runner
	registry  *prometheus.Registry
	stored    prometheus.Counter
}

// Addresses are where a running collector listens.
type Addresses struct {
	Agents, People, Health net.Addr
}

// New makes a collector; Run does the work.
func New(cfg Config, version string, logger hclog.Logger) *Collector {
	return &Collector{cfg: cfg, version: version, logger: logger}
}

// Run serves until ctx ends. ready is called once when everything listens.
func (c *Collector) Run(ctx context.Context, ready func(Addresses)) (err error) {
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.open(ctx); err != nil {
		return err
	}
	servers, addresses, err := c.listen()
	if err != nil {
		return err
	}
	// Work goes on until the last request has been answered.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	group, failed := errgroup.WithContext(work)
	c.work(failed, group)
	for _, s := range servers {
		group.Go(s.serve)
	}
	if ready != nil {
		ready(addresses)
	}
	c.logger.Info("collector runs", "version", c.version, "agents", addresses.Agents, "people", addresses.People, "health", addresses.Health)
	select {
	case <-ctx.Done():
		c.logger.Info("collector stops")
	case <-failed.Done():
	}
	for _, s := range servers {
		s.shutdown()
	}
	stopWork()
	return group.Wait()
}

// open prepares the parts in the order they need each other.
func (c *Collector) open(ctx context.Context) error {
	if err := os.MkdirAll(c.cfg.State, 0o700); err != nil {
		return fmt.Errorf("make state folder: %w", err)
	}
	var err error
	if c.store, err = store.Open(ctx, c.cfg.Store, c.cfg.State); err != nil {
		return err
	}
	if err := c.store.EndLeases(ctx); err != nil {
		return err
	}
	if c.identity, err = identity.New(c.cfg.Identity, c.cfg.State, c.store, c.logger); err != nil {
		return err
	}
	c.stream = stream.New(c.cfg.Stream, c.cfg.State, c.logger)
	if err := c.stream.Open(ctx); err != nil {
		return err
	}
	if c.record, err = record.New(c.cfg.Record, c.store, c.stream, c.cfg.State, c.version, c.logger); err != nil {
		return err
	}
	c.fleet = fleet.New(c.cfg.Fleet, c.store, record.NewKeeper(c.cfg.Record, c.store, c.stream, c.cfg.Fleet.SilentAfter))
	c.watcher = fleet.NewWatcher(c.cfg.Fleet, c.fleet, c.store, c.stream, record.Gone, c.version, c.logger)
	c.packs = packs.New(c.cfg.Packs, c.cfg.State, c.logger)
	c.packs.Directory = c.fleet.Directory
	c.feeds = feeds.New(c.cfg.Feeds, c.cfg.State, c.packs, c.logger)
	if c.cfg.Store.Postgres != "" {
		c.feeds.Shared = shared{c.store}
	}
	c.reports = reports.New(c.cfg.Reports, c.store, c.cfg.State, c.version, c.logger)
	c.triage = triage.New(c.store)
	c.accounts = account.New(c.cfg.Account, c.store)
	c.ingest = ingest.New(c.cfg.Ingest, c.identity, c.stream, c.fleet, c.logger)
	if c.exporters, err = export.New(c.cfg.Exporters, c.stream, c.store, c.logger); err != nil {
		return err
	}
	c.exporters.Hold = c.watcher.Held
	c.stream.Missed = c.exporters.Missed
	if err := c.recover(ctx); err != nil {
		return err
	}
	return c.register()
}

// recover mends what an embedded stream has lost of its files since the last run.
func (c *Collector) recover(ctx context.Context) error {
	if c.cfg.Stream.URL != "" {
		return nil // its servers mend each other
	}
	st, err := c.stream.State(ctx)
	if err != nil {
		return err
	}
	return c.exporters.Recover(ctx, st.Last)
}

// work starts what runs beside the servers.
func (c *Collector) work(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return c.identity.Run(ctx) })
	group.Go(func() error { return c.stream.Run(ctx) })
	group.Go(func() error { return c.stream.Consume(ctx, c.storeConsumer(), c.save) })
	group.Go(func() error { return c.stream.Consume(ctx, c.record.Consumer(), c.record.Append) })
	group.Go(func() error { return c.record.Run(ctx) })
	group.Go(func() error { return c.watcher.Run(ctx) })
	group.Go(func() error { return c.exporters.Run(ctx) })
	group.Go(func() error { return c.feeds.Run(ctx) })
	group.Go(func() error { return c.reports.Run(ctx) })
	group.Go(func() error { return c.retain(ctx) })
}

func (c *Collector) storeConsumer() stream.Consumer {
	return stream.Consumer{Name: stream.StoreConsumer, Batch: c.cfg.Store.Batch, Refused: func(err error) {
		c.logger.Error("entry passed over", "error", err)
	}}
}

// save takes entries from the stream to the store.
func (c *Collector) save(ctx context.Context, entries []stream.Entry) error {
	if err := c.store.Save(ctx, entries); err != nil {
		return err
	}
	if err := c.watcher.Note(ctx, entries); err != nil {
		return err
	}
	c.stored.Add(float64(len(entries)))
	return nil
}

// close releases what was opened, in the opposite order.
func (c *Collector) close() error {
	var errs []error
	if c.exporters != nil {
		errs = append(errs, c.exporters.Close())
	}
	if c.stream != nil {
		errs = append(errs, c.stream.Close())
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	return errors.Join(errs...)
}

// agentHandler is what agents reach.
func (c *Collector) agentHandler() http.Handler {
	mux := http.NewServeMux()
	c.agentRoutes(mux)
	return mux
}

func (c *Collector) adminServer() *admin.Server {
	return &admin.Server{
		Store: c.store, Identity: c.identity, Accounts: c.accounts, Fleet: c.fleet, Exporters: c.exporters,
		Packs: c.packs, Feeds: c.feeds,
		Triage: c.triage, URL: c.cfg.agentURL(), Backup: c.backup, Logger: c.logger.Named("admin"),
	}
}

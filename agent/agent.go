// Package agent wires the stages of docs/architecture.md: sensors, flow table,
// judge, ledger, spool, delivery. It is the only package that knows them all.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"sallyport/agent/control"
	"sallyport/agent/deliver"
	"sallyport/agent/enrich"
	"sallyport/agent/flow"
	"sallyport/agent/flowlog"
	"sallyport/agent/history"
	"sallyport/agent/hostevidence"
	"sallyport/agent/ledger"
	"sallyport/agent/naming"
	"sallyport/agent/packfetch"
	"sallyport/agent/protocol"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

// drainLimit bounds the wait for what is not delivered yet, when the agent stops.
const drainLimit = 10 * time.Second

// Agent is one running agent.
type Agent struct {
	cfg     Config
	version string
	log     hclog.Logger
	started time.Time
	stdout  io.Writer
	manager manager // of services

	live     *rules.Live
	sensors  []sensor.Sensor
	socket   *sensor.Socket // the first of them
	kernel   *hostevidence.Kernel
	pipeline *pipeline
	queues   *queues
	court    *court
	spool    *deliver.Spool
	ledger   *ledger.Ledger
	history  *history.History
	flowLog  *flowlog.Log
	names    *naming.Table
	enrich   *enrich.Enricher
	control  *control.Server
	losses   *losses
	relays   *relays
	askers   *askers
	ready    chan struct{} // closed when every sensor has attached
	fresh    chan past     // to be matched against the history

	loading      sync.Mutex // one loading of rules at a time
	systems      sharedSystems
	standing     atomic.Pointer[standing]
	fetcher      *packfetch.Fetcher // nil: packs come from files alone
	packsChanged chan struct{}      // asks whether packs are stale

	ledgerClosed bool
}

// New prepares an agent; Run does the rest.
func New(cfg Config, version string, stdout io.Writer, log hclog.Logger) *Agent {
	return &Agent{cfg: cfg, version: version, log: log, stdout: stdout, manager: serviceManager(), ready: make(chan struct{}), fresh: make(chan past, 1), packsChanged: make(chan struct{}, 1)}
}

// Run runs until ctx ends, then hands what it has to the spool and, as far as
// the destinations allow in a short while, out of it.
func (a *Agent) Run(ctx context.Context) (err error) {
	a.started = time.Now().UTC()
	if err := os.MkdirAll(a.cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("make state folder: %w", err)
	}
	if err := a.enrol(ctx); err != nil {
		return err
	}
	closeAll, err := a.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	return a.run(ctx)
}

// enrol gives the agent its identity where a token waits and none is there yet.
func (a *Agent) enrol(ctx context.Context) error {
	if a.cfg.Deliver.Collector.Kubernetes.TokenFile != "" {
		return a.enrolPod(ctx)
	}
	file := a.cfg.Enrolment.TokenFile
	if file == "" {
		return nil
	}
	if _, err := deliver.LoadIdentity(a.cfg.Deliver.Collector.IdentityDir); !errors.Is(err, deliver.ErrNotEnrolled) {
		return err
	}
	token, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read enrolment token: %w", err)
	}
	id, err := deliver.Enrol(ctx, string(token), a.cfg.Host, a.cfg.Deliver.Collector.IdentityDir)
	if err != nil {
		return fmt.Errorf("enrol with the token of %s: %w", file, err)
	}
	a.log.Info("enrolled", "collector", id.URL, "name", id.Name, "certificate_until", id.Expires())
	return nil
}

// enrolPod gives the agent of a pod its identity.
func (a *Agent) enrolPod(ctx context.Context) error {
	id, err := deliver.EnrolPod(ctx, a.cfg.Deliver.Collector, a.cfg.Host)
	if err != nil {
		return fmt.Errorf("enrol with the pod's token: %w", err)
	}
	a.log.Info("enrolled by the pod's token", "collector", id.URL, "name", id.Name, "certificate_until", id.Expires())
	return nil
}

// open opens everything that holds state, in the order in which a finding
// passes it backwards.
func (a *Agent) open() (closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	l, err := startRules(a.cfg, a.version)
	if err != nil {
		return closeAll, err
	}
	a.live = rules.NewLive(l.set)
	a.enforce(l)
	a.fetcher = a.newFetcher()
	a.control = control.NewServer(a.cfg.StateDir, a, a.log)
	if a.spool, err = deliver.Open(a.cfg.Deliver, a.log); err != nil {
		return closeAll, err
	}
	closers = append(closers, a.spool.Close)
	if a.ledger, err = ledger.Open(a.cfg.Ledger, recorder{a.spool, a.control}, a.log); err != nil {
		return closeAll, err
	}
	closers = append(closers, a.closeLedger)
	if a.flowLog, err = flowlog.Open(a.cfg.FlowLog); err != nil {
		return closeAll, err
	}
	closers = append(closers, a.flowLog.Close)
	a.socket = sensor.NewSocket(a.cfg.Sensor.Socket, a.log)
	a.sensors = []sensor.Sensor{a.socket}
	if a.cfg.Sensor.Link.Enabled {
		a.sensors = append(a.sensors, sensor.NewLink(a.cfg.Sensor.Link, a.log))
	}
	if a.cfg.Sensor.Tunnel.Enabled {
		a.kernel = hostevidence.NewKernel(a.cfg.Sensor.Tunnel, a.socket, a.log)
		a.sensors = append(a.sensors, a.kernel)
	}
	a.enrich = enrich.New(a.cfg.Enrich, a.sensors[0], a.log)
	closers = append(closers, a.enrich.Close)
	if err = a.enrich.Open(); err != nil {
		return closeAll, err
	}
	a.assemble(l.judge)
	return closeAll, nil
}

// assemble makes the stages that hold no state on disk.
func (a *Agent) assemble(judge *rules.Judge) {
	a.history = history.New(a.cfg.History, a.log)
	a.names = naming.New(a.cfg.Naming)
	a.relays, a.askers = newRelays(a.sensors[0].Process), newAskers()
	a.losses = newLosses(a.lossCounters, a.degraded)
	a.queues = newQueues()
	a.pipeline = newPipeline(a.cfg.Host, a.live, &a.systems, a.names, a.queues.put)
	a.pipeline.done = a.sensors[0].Done
	a.pipeline.table = flow.New(a.cfg.Flow, protocol.NewEngine(protocol.Detectors()), a.pipeline)
	a.pipeline.tunnels = newTunnels()
	a.pipeline.tunnels.kernel = a.kernel
	a.court = &court{
		live: a.live, enrich: a.enrich, relays: a.relays, askers: a.askers, systems: &a.systems, loss: a.losses.since, report: a.ledger.Observe,
		ended: func(o *rules.Observation) { a.history.Add(o); a.flowLog.Write(o) },
		now:   time.Now,
		log:   a.log.Named("judge"),
	}
	a.court.judge.Store(judge)
}

// run starts the stages and stops them in the order of the data: sensors, flow
// table, judge, ledger, delivery.
func (a *Agent) run(ctx context.Context) error {
	local := deliver.Local{Agent: a.cfg.Host, Stdout: a.stdout, Heartbeat: a.Heartbeat}
	deliverer := deliver.New(a.cfg.Deliver, local, a.spool, a.log)
	downstream, stopDownstream := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDownstream()
	sending, sendingCtx := errgroup.WithContext(downstream)
	sending.Go(func() error { return deliverer.Run(sendingCtx) })
	sending.Go(func() error { return a.enrich.Run(sendingCtx) })
	sending.Go(func() error { return a.history.Run(sendingCtx) })

	keeping, stopKeeping := context.WithCancel(downstream)
	defer stopKeeping()
	var keepers errgroup.Group
	keepers.Go(func() error { return a.ledger.Run(keeping) })
	keepers.Go(func() error { return a.reportSelf(keeping, a.spool.Events()) })
	keepers.Go(func() error { return a.lookBack(keeping) })
	keepers.Go(func() error { return a.watchPacks(keeping) })
	keepers.Go(func() error { return a.fetchPacks(keeping) })

	var courts errgroup.Group
	courts.Go(func() error { return a.court.run(downstream, a.queues.attributed) })
	courts.Go(func() error { return a.court.run(downstream, a.queues.ordinary) })

	seeing, seeingCtx := errgroup.WithContext(ctx)
	a.runSensors(seeing, seeingCtx)
	seeing.Go(func() error { // who is answered may rely on the sensors
		select {
		case <-a.ready:
			return a.control.Run(seeingCtx)
		case <-seeingCtx.Done():
			return nil
		}
	})
	seeing.Go(func() error { return a.serveMetrics(seeingCtx) })
	seeing.Go(func() error { return a.upkeep(seeingCtx) })
	seeing.Go(func() error { return a.watchTunnels(seeingCtx) })
	seeing.Go(func() error { // a stage that fails ends the agent: half an agent would look healthy
		select {
		case <-seeingCtx.Done():
			return nil
		case <-sendingCtx.Done():
			return context.Cause(sendingCtx)
		}
	})
	err := seeing.Wait()
	if err := a.manager.tell(notifyStopping); err != nil {
		a.log.Warn("the service manager does not know that the agent stops", "error", err)
	}
	a.pipeline.finish()
	a.queues.close()
	err = errors.Join(err, courts.Wait())
	stopKeeping()
	err = errors.Join(err, keepers.Wait())
	a.drain(downstream)
	stopDownstream()
	return errors.Join(err, sending.Wait())
}

// drain hands open findings to the spool and gives delivery a short while.
func (a *Agent) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	if err := a.closeLedger(); err != nil {
		a.log.Warn("not every open finding could be handed to the spool; the rest follows at the next start", "error", err)
	}
	if err := a.spool.Drained(ctx); err != nil {
		a.log.Warn("findings stay in the spool until the next start", "findings", a.spool.State().Findings)
	}
}

// closeLedger hands what is open to the spool and closes, once.
func (a *Agent) closeLedger() error {
	if a.ledgerClosed {
		return nil
	}
	a.ledgerClosed = true
	return a.ledger.Close()
}

// Ready is closed when every sensor has attached.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// recorder puts findings into the spool and shows them to the operator's socket.
type recorder struct {
	spool   *deliver.Spool
	control *control.Server
}

// Append implements ledger.Appender.
func (r recorder) Append(ctx context.Context, f rules.Finding) error {
	if err := r.spool.Append(ctx, f); err != nil {
		return err
	}
	r.control.Keep(f)
	return nil
}

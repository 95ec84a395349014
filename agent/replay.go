package agent

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent/enrich"
	"sallyport/agent/naming"
	"sallyport/rules"
)

// Captures judges capture files as an agent judges its flows: packs, entities,
// detections, allow-list, approved tools and databases of a configuration, read
// once for any number of files.
type Captures struct {
	cfg    Config
	rules  *loaded
	enrich *enrich.Enricher
	now    func() time.Time
	log    hclog.Logger
}

// OpenCaptures reads what cfg names.
func OpenCaptures(cfg Config, version string, log hclog.Logger) (*Captures, error) {
	l, err := loadRules(cfg, version)
	if err != nil {
		return nil, err
	}
	return openCaptures(cfg, l, time.Now, log)
}

// OpenCapturesOf judges by the caller's own set and judge, with what is known as
// of now.
func OpenCapturesOf(cfg Config, set *rules.Set, judge *rules.Judge, now time.Time, log hclog.Logger) (*Captures, error) {
	systems, err := resolveSystems(set, cfg.Enrich.GeoIP.ASN, nil)
	if err != nil {
		return nil, err
	}
	return openCaptures(cfg, &loaded{set: set, judge: judge, systems: systems}, func() time.Time { return now }, log)
}

func openCaptures(cfg Config, l *loaded, now func() time.Time, log hclog.Logger) (*Captures, error) {
	c := &Captures{cfg: cfg, rules: l, enrich: enrich.New(cfg.Enrich, nil, log), now: now, log: log}
	return c, c.enrich.Open()
}

// Close releases the databases.
func (c *Captures) Close() error { return c.enrich.Close() }

// Replay is the agent's way from flow table to finding without sensors, ledger
// or spool: for one capture file.
type Replay struct {
	*pipeline
	ctx      context.Context //nolint:containedctx // the table's calls carry none
	court    *court
	findings map[string]rules.Finding
	order    []string
}

// Replay prepares the judging of one capture. host is what its findings say of
// where they were made.
func (c *Captures) Replay(ctx context.Context, host string) *Replay {
	systems := &sharedSystems{}
	systems.Store(c.rules.systems)
	judge := *c.rules.judge
	judge.Agent.Name = host
	r := &Replay{ctx: ctx, findings: map[string]rules.Finding{}}
	r.court = &court{
		live: rules.NewLive(c.rules.set), enrich: c.enrich, relays: newRelays(unknownProcess), askers: newAskers(), systems: systems,
		loss:   func(time.Time, time.Time) *rules.Loss { return nil },
		report: r.keep,
		ended:  func(*rules.Observation) {},
		now:    c.now,
		log:    c.log,
	}
	r.court.judge.Store(&judge)
	r.pipeline = newPipeline(host, r.court.live, systems, naming.New(c.cfg.Naming), func(item observed, _ bool) { r.court.handle(r.ctx, &item) })
	return r
}

// keep merges the drafts of one id: the latest stands for all.
func (r *Replay) keep(_ context.Context, f rules.Finding) error {
	old, known := r.findings[f.ID]
	if !known {
		r.order = append(r.order, f.ID)
	} else {
		if old.First.Before(f.First) {
			f.First = old.First
		}
		if f.Evidence == nil {
			f.Evidence = old.Evidence
		}
		f.Count = old.Count
		if old.Observation.FlowID != f.Observation.FlowID {
			f.Count++
		}
	}
	r.findings[f.ID] = f
	return nil
}

// Findings are the capture's findings in the order in which they came.
func (r *Replay) Findings() []rules.Finding {
	out := make([]rules.Finding, 0, len(r.order))
	for _, id := range r.order {
		out = append(out, r.findings[id])
	}
	return out
}

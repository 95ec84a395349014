package agent

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent/enrich"
	"sallyport/agent/naming"
	"sallyport/rules"
)

// Replay is the agent's way from flow table to finding without sensors, ledger
// or spool: for capture files.
type Replay struct {
	*pipeline
	ctx      context.Context //nolint:containedctx // the table's calls carry none
	court    *court
	findings map[string]rules.Finding
	order    []string
}

// NewReplay prepares the judging of one capture by the rules of cfg.
func NewReplay(ctx context.Context, cfg Config, version string, log hclog.Logger) (*Replay, error) {
	l, err := loadRules(cfg, version)
	if err != nil {
		return nil, err
	}
	return newReplay(ctx, cfg, l, time.Now, log), nil
}

// NewReplayOf prepares the judging of one capture by the caller's own set and
// judge, with what is known as of now.
func NewReplayOf(ctx context.Context, cfg Config, set *rules.Set, judge *rules.Judge, now time.Time, log hclog.Logger) (*Replay, error) {
	systems, err := resolveSystems(set, cfg.Enrich.GeoIP.ASN, nil)
	if err != nil {
		return nil, err
	}
	l := &loaded{set: set, judge: judge, systems: systems}
	return newReplay(ctx, cfg, l, func() time.Time { return now }, log), nil
}

func newReplay(ctx context.Context, cfg Config, l *loaded, now func() time.Time, log hclog.Logger) *Replay {
	systems := &sharedSystems{}
	systems.Store(l.systems)
	r := &Replay{ctx: ctx, findings: map[string]rules.Finding{}}
	r.court = &court{
		live: rules.NewLive(l.set), enrich: enrich.New(cfg.Enrich, nil, log), relays: newRelays(), systems: systems,
		loss:   func(time.Time, time.Time) *rules.Loss { return nil },
		report: r.keep,
		ended:  func(*rules.Observation) {},
		now:    now,
		log:    log,
	}
	r.court.judge.Store(l.judge)
	r.pipeline = newPipeline(cfg.Host, r.court.live, systems, naming.New(cfg.Naming), func(item observed, _ bool) { r.court.handle(r.ctx, &item) })
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

package feeds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"sallyport/collector/packs"
	"sallyport/rules/feed"
)

// Pauses of a source that fails: doubled each time, up to its own interval.
const (
	firstPause = 5 * time.Minute
	firstWait  = time.Minute // at most, before a source that is due at start
)

// Offerer takes the packs that are built.
type Offerer interface {
	Add(group string, source func(io.Writer) error) (packs.Held, error)
	List() ([]packs.Held, error)
}

// Runner fetches every source at its interval.
type Runner struct {
	// Shared, where it is set, is what this collector has in common with others. Set
	// it before Run.
	Shared Shared

	cfg     Config
	dir     folder
	offer   Offerer
	logger  hclog.Logger
	sources []*scheduled

	building sync.Mutex // of packs, which hold several sources

	sharing sync.Mutex
	pulled  map[string]uint64 // versions of shared files that are here
}

// scheduled is a source and what keeps two fetches of it apart.
type scheduled struct {
	Source
	mu sync.Mutex
}

// New makes a Runner; nothing is fetched yet.
func New(cfg Config, state string, offer Offerer, logger hclog.Logger) *Runner {
	r := &Runner{cfg: cfg, dir: folder(filepath.Join(state, "feeds")), offer: offer, logger: logger.Named("feeds"), pulled: map[string]uint64{}}
	for _, s := range cfg.Sources {
		r.sources = append(r.sources, &scheduled{Source: s.complete()})
	}
	return r
}

// Run fetches until ctx ends. No failure of a source ends it or delays another.
func (r *Runner) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if r.Shared != nil && len(r.sources) > 0 {
		g.Go(func() error { r.follow(ctx); return nil })
	}
	for _, s := range r.sources {
		g.Go(func() error { r.schedule(ctx, s); return nil })
	}
	return g.Wait()
}

func (r *Runner) schedule(ctx context.Context, s *scheduled) {
	o, err := r.dir.outcome(s.Source)
	if err != nil {
		r.logger.Warn("what came of a feed before is not known; it is fetched anew", "feed", s.Name, "error", err)
	}
	wait := time.Until(due(o, s.Every))
	if wait <= 0 {
		wait = rand.N(min(firstWait, s.Every))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		// It may have been fetched by hand meanwhile.
		if o, err := r.dir.outcome(s.Source); err == nil && time.Until(due(o, s.Every)) > 0 {
			wait = time.Until(due(o, s.Every))
			continue
		}
		o, err := r.fetch(ctx, s, false, false)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.logger.Error("feed not taken; the set before stays in force", "feed", s.Name, "error", err, "failures", o.Failures)
		} else {
			r.logger.Info("feed fetched", "feed", s.Name, "indicators", o.Indicators, "rejected", o.Report.Rejected, "pack_version", o.Version)
		}
		wait = time.Until(o.Next)
	}
}

// due is when a source is to be fetched again: a restart does not bring it
// forward, but an interval that has been shortened since does.
func due(o Outcome, every time.Duration) time.Time {
	if latest := o.Tried.Add(every + every/10); latest.Before(o.Next) {
		return latest
	}
	return o.Next
}

// ErrNoSource means that no source has the name.
var ErrNoSource = errors.New("no such feed in feeds.sources")

// Fetch fetches a source now. force takes a set that has shrunk.
func (r *Runner) Fetch(ctx context.Context, name string, force bool) (Outcome, error) {
	i := slices.IndexFunc(r.sources, func(s *scheduled) bool { return s.Name == name })
	if i < 0 {
		return Outcome{}, fmt.Errorf("fetch %q: %w", name, ErrNoSource)
	}
	return r.fetch(ctx, r.sources[i], force, true)
}

// Outcomes lists what came of each source, in the order of the configuration.
func (r *Runner) Outcomes() ([]Outcome, error) {
	out := make([]Outcome, 0, len(r.sources))
	for _, s := range r.sources {
		o, err := r.dir.outcome(s.Source)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// fetch tries once and keeps what came of it. The outcome says so in any case.
// asked says that a person did.
func (r *Runner) fetch(ctx context.Context, s *scheduled, force, asked bool) (Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Shared != nil {
		return r.fetchAlone(ctx, s, force, asked)
	}
	return r.fetchHere(ctx, s, force)
}

func (r *Runner) fetchHere(ctx context.Context, s *scheduled, force bool) (Outcome, error) {
	o, err := r.dir.outcome(s.Source)
	if err != nil {
		o = Outcome{Name: s.Name, Kind: s.Kind}
	}
	o.Kind, o.Tried = s.Kind, time.Now().UTC()
	err = r.try(ctx, s.Source, &o, force)
	if ctx.Err() != nil {
		return o, ctx.Err() // the collector stops: nobody's failure
	}
	pause := s.Every
	o.Failure = ""
	if err != nil {
		o.Failure = err.Error()
		pause = min(s.Every, firstPause<<min(o.Failures, 10))
		o.Failures++
	} else {
		o.Failures, o.Succeeded = 0, o.Tried
	}
	o.Next = time.Now().UTC().Add(feed.NextFetch(pause))
	return o, errors.Join(err, r.dir.keep(o))
}

package packfetch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
	"sallyport/rules/pack"
)

// Bounds of one poll.
const (
	requestLimit = 30 * time.Minute // for a large pack on a slow line
	firstWait    = 30 * time.Second // at most, so that agents started together do not ask together
	maxList      = 1 << 20          // bytes of a list
	maxOffers    = 100
	suffix       = ".pack"
)

// Agent is what the fetcher needs of the agent.
type Agent struct {
	// Collector gives a client with the agent's identity, and the collector's URL.
	Collector func() (*http.Client, string, error)
	// Trust is the pinned root, and what was in force so far.
	Trust func() (pack.Trust, error)
	// Enforce puts what lies in the folder in force, all or nothing.
	Enforce func(context.Context) error
}

// Fetcher keeps a folder of verified packs in step with the collector. A pack
// that the collector no longer offers stays: taking away is not signed, so it
// needs a higher version without the content.
type Fetcher struct {
	cfg   Config
	dir   string
	agent Agent
	log   hclog.Logger
	etag  string // of the list that was dealt with

	mu      sync.Mutex
	problem string
}

// New makes a Fetcher; nothing is asked yet.
func New(cfg Config, dir string, agent Agent, log hclog.Logger) *Fetcher {
	return &Fetcher{cfg: cfg, dir: dir, agent: agent, log: log.Named("packs")}
}

// Run asks the collector until ctx ends. A failure is tried again, soon at first.
func (f *Fetcher) Run(ctx context.Context) error {
	failures := 0
	wait := rand.N(min(firstWait, f.cfg.Every))
	for sleep(ctx, wait) {
		err := f.Poll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		f.note(err)
		wait = f.cfg.Every
		if err != nil {
			failures++
			wait = min(wait, firstWait<<min(failures-1, 10))
			f.log.Warn("packs not fetched; those in force stay", "error", err, "failures", failures)
		} else {
			failures = 0
		}
		wait += time.Duration((rand.Float64() - 0.5) * 0.2 * float64(wait))
	}
	return nil
}

// Problem says why the last poll failed, or nothing.
func (f *Fetcher) Problem() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problem
}

func (f *Fetcher) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problem = ""
	if err != nil {
		f.problem = "packs are not fetched from the collector: " + err.Error()
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// Poll asks once, and puts in force what is new. The error names every pack that
// was not taken; the others are.
func (f *Fetcher) Poll(ctx context.Context) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("make pack folder: %w", err)
	}
	client, url, err := f.agent.Collector()
	if err != nil {
		return err
	}
	client.Timeout = requestLimit
	defer client.CloseIdleConnections()
	c := remote{client, url}
	list, etag, err := c.list(ctx, f.etag)
	if err != nil || list == nil {
		return err
	}
	trust, err := f.agent.Trust()
	if err != nil {
		return err
	}
	var fresh []arrival
	var failed []error
	for _, offer := range list.Packs {
		a, err := f.take(ctx, c, offer, trust)
		if err != nil {
			failed = append(failed, fmt.Errorf("pack %q: %w", offer.Name, err))
		} else if a != nil {
			fresh = append(fresh, *a)
		}
	}
	failed = append(failed, f.enforce(ctx, fresh)...)
	if len(failed) == 0 {
		f.etag = etag
	}
	return errors.Join(failed...)
}

// take gets one pack and verifies it. It is nil when there is nothing new.
func (f *Fetcher) take(ctx context.Context, c remote, offer rules.PackOffer, trust pack.Trust) (*arrival, error) {
	if !pack.ValidName(offer.Name) {
		return nil, errors.New("the name is none that a pack can have")
	}
	a := arrival{name: offer.Name, path: filepath.Join(f.dir, offer.Name+suffix), part: filepath.Join(f.dir, "."+offer.Name+".part")}
	have, err := sumOf(a.path)
	if err != nil {
		return nil, err
	}
	if have == offer.SHA256 {
		return nil, nil
	}
	if latest := trust.Seen.Packs[offer.Name]; latest.Version > offer.Version {
		return nil, &pack.OlderError{Name: offer.Name, Version: offer.Version, InForce: latest.Version}
	}
	got, err := c.pack(ctx, offer.Name, have, a.part)
	if err != nil || !got {
		return nil, err
	}
	p, err := pack.Open(a.part, trust)
	if err == nil && p.Manifest.Name != offer.Name {
		err = fmt.Errorf("%w: it calls itself %q", pack.ErrCorrupt, p.Manifest.Name)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(a.part))
	}
	f.log.Info("pack fetched", "pack", p.Ref().String(), "key", p.KeyID)
	return &a, nil
}

// enforce puts new packs in force together, since one may need another; where
// that fails, each by itself. What cannot be in force does not stay.
func (f *Fetcher) enforce(ctx context.Context, fresh []arrival) []error {
	if len(fresh) == 0 {
		return nil
	}
	defer func() {
		for _, a := range fresh {
			a.clean()
		}
	}()
	err := f.try(ctx, fresh)
	if err == nil || len(fresh) == 1 {
		return errorList(err)
	}
	var failed []error
	for _, a := range fresh {
		failed = append(failed, errorList(f.try(ctx, []arrival{a}))...)
	}
	return failed
}

func errorList(err error) []error {
	if err == nil {
		return nil
	}
	return []error{err}
}

func (f *Fetcher) try(ctx context.Context, fresh []arrival) error {
	for i := range fresh {
		if err := fresh[i].store(); err != nil {
			return errors.Join(err, undo(fresh[:i]))
		}
	}
	if err := f.agent.Enforce(ctx); err != nil {
		return errors.Join(err, undo(fresh))
	}
	return syncDir(f.dir)
}

package feeds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport/collector/packs"
)

// Shared is what several collectors have in common. With it each source is fetched
// by one of them, and all offer the packs that it built.
type Shared interface {
	// Alone runs f while no other collector is in Alone. The context that f gets
	// ends where that can no longer be said.
	Alone(ctx context.Context, f func(context.Context) error) error
	// Versions gives the version of every file, Get and Put its content.
	Versions(context.Context) (map[string]uint64, error)
	Get(ctx context.Context, name string) ([]byte, error)
	Put(ctx context.Context, name string, content []byte) (version uint64, err error)
}

// pullInterval is how soon the others' packs are offered here.
const pullInterval = 15 * time.Second

// Names of shared files: "feeds/NAME.json", "feeds/NAME.set" and
// "packs/GROUP/NAME.pack".
const (
	sharedFeeds = "feeds/"
	sharedPacks = "packs/"
)

// follow takes what the others have built until ctx ends.
func (r *Runner) follow(ctx context.Context) {
	tick := time.NewTicker(pullInterval)
	defer tick.Stop()
	for {
		if err := r.pull(ctx); err != nil && ctx.Err() == nil {
			r.logger.Warn("packs of other collectors not taken", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pull takes every shared file that is newer than what is here. One that cannot
// be used holds up no other.
func (r *Runner) pull(ctx context.Context) error {
	r.sharing.Lock()
	defer r.sharing.Unlock()
	versions, err := r.Shared.Versions(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(versions)) { // the feeds' before the packs
		if versions[name] <= r.pulled[name] {
			continue
		}
		content, err := r.Shared.Get(ctx, name)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		r.pulled[name] = versions[name]
		if err := r.take(name, content); err != nil {
			errs = append(errs, fmt.Errorf("take %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// take puts a shared file in its place.
func (r *Runner) take(name string, content []byte) error {
	write := func(w io.Writer) error { _, err := w.Write(content); return err }
	if file, ok := strings.CutPrefix(name, sharedFeeds); ok && file == filepath.Base(file) {
		return r.dir.replace(file, write)
	}
	if rest, ok := strings.CutPrefix(name, sharedPacks); ok {
		held, err := r.offer.Add(filepath.Dir(rest), write)
		if err == nil {
			r.logger.Info("pack of another collector offered", "pack", held.Name, "group", held.Group, "pack_version", held.Version)
		}
		return err
	}
	return errors.New("it is no file of feeds")
}

// share gives the others what came of a source.
func (r *Runner) share(ctx context.Context, s Source) error {
	for _, file := range []string{s.Name + ".json", s.Name + ".set"} {
		content, err := os.ReadFile(filepath.Join(string(r.dir), file))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read what came of a feed: %w", err)
		}
		if err := r.put(ctx, sharedFeeds+file, content); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) put(ctx context.Context, name string, content []byte) error {
	r.sharing.Lock()
	defer r.sharing.Unlock()
	version, err := r.Shared.Put(ctx, name, content)
	if err == nil {
		r.pulled[name] = version
	}
	return err
}

// offerPack offers a pack that build writes, here and by the others.
func (r *Runner) offerPack(ctx context.Context, group string, build func(io.Writer) error) (packs.Held, error) {
	if r.Shared == nil {
		return r.offer.Add(group, build)
	}
	var content bytes.Buffer
	held, err := r.offer.Add(group, func(w io.Writer) error { return build(io.MultiWriter(w, &content)) })
	if err != nil {
		return held, err
	}
	return held, r.put(ctx, sharedPacks+group+"/"+held.Name+".pack", content.Bytes())
}

// fetchAlone is fetch where other collectors may do so too. One that another has
// just fetched is not due any more.
func (r *Runner) fetchAlone(ctx context.Context, s *scheduled, force, asked bool) (o Outcome, err error) {
	err = errors.Join(r.Shared.Alone(ctx, func(ctx context.Context) error {
		if err := r.pull(ctx); err != nil {
			r.logger.Warn("what other collectors shared is not all taken", "error", err)
		}
		var err error
		if o, err = r.dir.outcome(s.Source); err == nil && !asked && time.Until(due(o, s.Every)) > 0 {
			return nil
		}
		o, err = r.fetchHere(ctx, s, force)
		return errors.Join(err, r.share(ctx, s.Source))
	}))
	return o, err
}

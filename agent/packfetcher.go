package agent

import (
	"context"
	"path/filepath"
	"time"

	"sallyport/agent/packfetch"
	"sallyport/rules/pack"
)

// fetchPacks takes packs from the collector, where the configuration says so,
// until ctx ends.
func (a *Agent) fetchPacks(ctx context.Context) error {
	if a.fetcher == nil {
		return nil
	}
	return a.fetcher.Run(ctx)
}

// newFetcher makes the fetcher that puts packs into the state folder.
func (a *Agent) newFetcher() *packfetch.Fetcher {
	if !a.cfg.Rules.Fetch.Enabled {
		return nil
	}
	return packfetch.New(a.cfg.Rules.Fetch, filepath.Join(a.cfg.StateDir, fetchedDir), packfetch.Agent{
		Collector: a.cfg.Deliver.Collector.Client,
		Trust:     func() (pack.Trust, error) { return packTrust(a.cfg) },
		Enforce: func(ctx context.Context) error {
			changed, err := a.Reload(ctx, "")
			if err == nil {
				a.log.Info("packs in force", "change", changed)
			}
			return err
		},
	}, a.log)
}

// packComplaints is what is wrong with packs, in words.
func (a *Agent) packComplaints(now time.Time) []string {
	out := a.standing.Load().complaints(now)
	if a.fetcher != nil && a.fetcher.Problem() != "" {
		out = append(out, a.fetcher.Problem())
	}
	return out
}

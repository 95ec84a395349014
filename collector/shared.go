package collector

import (
	"context"
	"time"

	"sallyport/collector/store"
)

// feedsLease is how long a collector that has died holds up the others' feeds.
const feedsLease = time.Minute

// shared is what the feeds of several collectors have in common: it is in their
// store.
type shared struct{ store *store.Store }

func (s shared) Alone(ctx context.Context, f func(context.Context) error) error {
	return s.store.Lease("feeds", feedsLease).While(ctx, f)
}

func (s shared) Versions(ctx context.Context) (map[string]uint64, error) {
	list, err := s.store.SharedFiles(ctx)
	versions := map[string]uint64{}
	for _, f := range list {
		versions[f.Name] = f.Version
	}
	return versions, err
}

func (s shared) Get(ctx context.Context, name string) ([]byte, error) {
	f, err := s.store.SharedFile(ctx, name)
	return f.Content, err
}

func (s shared) Put(ctx context.Context, name string, content []byte) (uint64, error) {
	return s.store.Share(ctx, name, content)
}

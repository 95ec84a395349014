package record

import (
	"context"
	"crypto/sha256"

	"golang.org/x/mod/sumdb/tlog"

	"sallyport/collector/store"
)

// grow adds a leaf to the tree and returns the hashes that this completes, in the
// order in which they are kept: the leaf, then its subtrees upwards.
func (v *verifier) grow(leaf tlog.Hash) []tlog.Hash {
	made := []tlog.Hash{leaf}
	v.tree, v.sizes = append(v.tree, leaf), append(v.sizes, 1)
	for n := len(v.tree); n > 1 && v.sizes[n-1] == v.sizes[n-2]; n = len(v.tree) {
		h := tlog.NodeHash(v.tree[n-2], v.tree[n-1])
		size := 2 * v.sizes[n-1]
		v.tree, v.sizes = append(v.tree[:n-2], h), append(v.sizes[:n-2], size)
		made = append(made, h)
	}
	return made
}

// root is the tree's hash (RFC 6962 section 2.1).
func (v *verifier) root() tlog.Hash {
	if len(v.tree) == 0 {
		return tlog.Hash(sha256.Sum256(nil))
	}
	h := v.tree[len(v.tree)-1]
	for i := len(v.tree) - 2; i >= 0; i-- {
		h = tlog.NodeHash(v.tree[i], h)
	}
	return h
}

// hashes reads the kept hashes of the tree one after another.
type hashes struct {
	store *store.Store
	last  int64
	ready []string
	at    []int64
}

// next says whether the next kept hash is h.
func (s *hashes) next(ctx context.Context, h tlog.Hash) (bool, error) {
	if len(s.ready) == 0 {
		err := s.store.EachRecordHash(ctx, s.last, page, func(place int64, hash string) error {
			s.ready, s.at = append(s.ready, hash), append(s.at, place)
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	s.last++
	if len(s.ready) == 0 || s.at[0] != s.last {
		return false, nil // it is missing
	}
	same := s.ready[0] == h.String()
	s.ready, s.at = s.ready[1:], s.at[1:]
	return same, nil
}

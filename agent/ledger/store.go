package ledger

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"sallyport/rules"
)

// Buckets. Keys are finding ids.
var (
	bucketOpen      = []byte("open")      // record: findings not closed
	bucketUnsent    = []byte("unsent")    // rules.Finding: promised, not known to be in the spool
	bucketRevisions = []byte("revisions") // last revision (8), seconds of its use (8)
	bucketMeta      = []byte("meta")
	keyFloor        = []byte("floor") // no id that is not in bucketRevisions has used a higher revision
)

// record is an open finding as it is stored.
type record struct {
	Finding      rules.Finding `json:"finding"`
	EvidenceSent bool          `json:"evidence_sent"`
	Sent         time.Time     `json:"sent"`
}

// store is the database.
type store struct {
	db *bolt.DB

	mu   sync.Mutex
	done map[string]uint64 // revisions the spool has, to be noted with the next write
}

// openStore opens the database. One that cannot be read is set aside; the new
// one starts numbering at the seconds since 1970, above any number that was used.
func openStore(path string, log hclog.Logger) (*store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	db, err := openDB(path)
	var floor uint64
	if errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch) {
		floor = uint64(time.Now().Unix())
		aside := fmt.Sprintf("%s.damaged-%d", path, floor)
		log.Error("the ledger is damaged; it is set aside and counts start anew", "aside", aside, "error", err)
		if err := os.Rename(path, aside); err != nil {
			return nil, err
		}
		db, err = openDB(path)
	}
	if err != nil {
		return nil, err
	}
	db.MaxBatchDelay = 2 * time.Millisecond
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketOpen, bucketUnsent, bucketRevisions, bucketMeta} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if floor == 0 {
			return nil
		}
		return tx.Bucket(bucketMeta).Put(keyFloor, encodeRevision(floor, time.Now()))
	})
	if err != nil {
		db.Close()
		return nil, err
	}
	return &store{db: db, done: map[string]uint64{}}, nil
}

func openDB(path string) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{Timeout: 5 * time.Second, FreelistType: bolt.FreelistMapType})
}

// load gives every open finding, and every one that is closed and not yet sent.
func (s *store) load(take func(*entry)) error {
	return s.db.View(func(tx *bolt.Tx) error {
		seen := map[string]*entry{}
		err := tx.Bucket(bucketOpen).ForEach(func(k, v []byte) error {
			var r record
			if err := json.Unmarshal(v, &r); err != nil {
				return fmt.Errorf("finding %s: %w", k, err)
			}
			revision, _ := decodeRevision(tx.Bucket(bucketRevisions).Get(k))
			e := &entry{f: r.Finding, evidenceSent: r.EvidenceSent, sent: r.Sent, revision: revision}
			e.dirty = r.Finding.Count > 0 && r.Finding.Revision == 0 // saved without a revision since
			seen[string(k)] = e
			return nil
		})
		if err != nil {
			return err
		}
		err = tx.Bucket(bucketUnsent).ForEach(func(k, v []byte) error {
			f := new(rules.Finding)
			if err := json.Unmarshal(v, f); err != nil {
				return fmt.Errorf("finding %s: %w", k, err)
			}
			e := seen[string(k)]
			if e == nil {
				e = &entry{f: *f, closing: true, evidenceSent: true, revision: f.Revision}
				e.f.Evidence = nil
				seen[string(k)] = e
			}
			e.unsent = f
			return nil
		})
		for _, e := range seen {
			take(e)
		}
		return err
	})
}

// revision is the last one used for an id, or the floor.
func (s *store) revision(id string) (revision uint64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		var ok bool
		if revision, ok = decodeRevision(tx.Bucket(bucketRevisions).Get([]byte(id))); !ok {
			revision, _ = decodeRevision(tx.Bucket(bucketMeta).Get(keyFloor))
		}
		return nil
	})
	return revision, err
}

// promise makes a revision durable before it is sent. Callers at the same time
// share one fsync.
func (s *store) promise(f rules.Finding, evidenceSent bool) error {
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	evidence := f.Evidence
	f.Evidence = nil
	rec, err := json.Marshal(record{f, evidenceSent || evidence != nil, f.Created})
	if err != nil {
		return err
	}
	id := []byte(f.ID)
	return s.db.Batch(func(tx *bolt.Tx) error {
		if err := s.forget(tx); err != nil {
			return err
		}
		if err := tx.Bucket(bucketUnsent).Put(id, raw); err != nil {
			return err
		}
		if err := tx.Bucket(bucketRevisions).Put(id, encodeRevision(f.Revision, f.Created)); err != nil {
			return err
		}
		if f.State == rules.StateClosed {
			return tx.Bucket(bucketOpen).Delete(id)
		}
		return tx.Bucket(bucketOpen).Put(id, rec)
	})
}

// save keeps what changed since the last revision, so that a crash costs little
// of the counts.
func (s *store) save(records []record) error {
	s.mu.Lock()
	idle := len(s.done) == 0
	s.mu.Unlock()
	if idle && len(records) == 0 {
		return nil
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		if err := s.forget(tx); err != nil {
			return err
		}
		for _, r := range records {
			r.Finding.Revision = 0
			raw, err := json.Marshal(r)
			if err != nil {
				return err
			}
			if err := tx.Bucket(bucketOpen).Put([]byte(r.Finding.ID), raw); err != nil {
				return err
			}
		}
		return nil
	})
}

// kept notes that the spool has the revision. It is written later: until then a
// restart sends the same document again, which is harmless.
func (s *store) kept(id string, revision uint64) {
	s.mu.Lock()
	s.done[id] = revision
	s.mu.Unlock()
}

// forget removes promises that are kept, within the caller's transaction.
func (s *store) forget(tx *bolt.Tx) error {
	s.mu.Lock()
	done := make(map[string]uint64, len(s.done))
	for id, revision := range s.done {
		done[id] = revision
	}
	s.mu.Unlock()
	unsent, revisions := tx.Bucket(bucketUnsent), tx.Bucket(bucketRevisions)
	for id, revision := range done {
		if now, _ := decodeRevision(revisions.Get([]byte(id))); now != revision {
			continue // promised anew since
		}
		if err := unsent.Delete([]byte(id)); err != nil {
			return err
		}
	}
	tx.OnCommit(func() {
		s.mu.Lock()
		for id, revision := range done {
			if s.done[id] == revision {
				delete(s.done, id)
			}
		}
		s.mu.Unlock()
	})
	return nil
}

// prune bounds the remembered revisions. What is forgotten raises the floor, so
// that an id which comes back still never uses a number twice.
func (s *store) prune(limit int) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketRevisions)
		type used struct {
			id       string
			revision uint64
			at       int64
		}
		n := b.Stats().KeyN
		if n <= limit {
			return nil
		}
		var all []used
		err := b.ForEach(func(k, v []byte) error {
			if tx.Bucket(bucketOpen).Get(k) != nil || tx.Bucket(bucketUnsent).Get(k) != nil {
				return nil
			}
			revision, ok := decodeRevision(v)
			if !ok {
				return nil // a damaged row says nothing, and costs nothing
			}
			all = append(all, used{string(k), revision, int64(binary.BigEndian.Uint64(v[8:]))})
			return nil
		})
		if err != nil {
			return err
		}
		slices.SortFunc(all, func(a, b used) int { return cmp.Compare(a.at, b.at) })
		floor, _ := decodeRevision(tx.Bucket(bucketMeta).Get(keyFloor))
		for _, u := range all[:min(len(all), n-limit+limit/10)] {
			floor = max(floor, u.revision)
			if err := b.Delete([]byte(u.id)); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyFloor, encodeRevision(floor, time.Now()))
	})
}

func encodeRevision(revision uint64, at time.Time) []byte {
	b := binary.BigEndian.AppendUint64(nil, revision)
	return binary.BigEndian.AppendUint64(b, uint64(at.Unix()))
}

func decodeRevision(v []byte) (uint64, bool) {
	if len(v) != 16 {
		return 0, false
	}
	return binary.BigEndian.Uint64(v), true
}

func (s *store) close() error { return s.db.Close() }

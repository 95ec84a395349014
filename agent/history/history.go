// Package history is the host's compact memory of past flows, and the matching
// of new indicators against it. It stays on the host: only findings travel.
//
// Flows of one hour that share remote, port, transport, direction and owner are
// one row. Each hour is a bucket of its own, so that writing touches a small
// tree however large the history is, and forgetting an hour is one deletion.
package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"sallyport/rules"
)

// Config bounds the history.
type Config struct {
	Path       string        `yaml:"path"`        // of the database
	MaxAge     time.Duration `yaml:"max_age"`     // older hours are forgotten
	MaxBytes   int64         `yaml:"max_bytes"`   // above it the oldest hours are forgotten
	Flush      time.Duration `yaml:"flush"`       // how often what is in memory is written
	MaxPending int           `yaml:"max_pending"` // rows in memory; above it new ones are dropped and counted
}

// DefaultConfig remembers ninety days or two gigabytes.
func DefaultConfig() Config {
	return Config{
		Path:       "/var/lib/sallyport/history.db",
		MaxAge:     90 * 24 * time.Hour,
		MaxBytes:   2 << 30,
		Flush:      30 * time.Second,
		MaxPending: 50_000,
	}
}

// Validate says what is wrong and what to write instead.
func (c Config) Validate() error {
	switch {
	case c.Path == "":
		return errors.New("history.path is empty: name a file that survives a restart")
	case c.MaxAge < period:
		return fmt.Errorf("history.max_age is %s: use an hour or more", c.MaxAge)
	case c.MaxBytes < 1<<20:
		return fmt.Errorf("history.max_bytes is %d: use 1048576 or more", c.MaxBytes)
	case c.Flush < time.Second:
		return fmt.Errorf("history.flush is %s: use 1s or more", c.Flush)
	case c.MaxPending < 1:
		return fmt.Errorf("history.max_pending is %d: use 1 or more", c.MaxPending)
	}
	return nil
}

// lockWait bounds the wait for the file while another process reads it.
const lockWait = 10 * time.Second

// Stats counts since New.
type Stats struct {
	Pending   int
	Written   uint64 // rows
	Forgotten uint64 // hours removed because of age or size
	Dropped   uint64 // flows not remembered: too many rows waited, or none could be written
}

// History takes flows and answers questions about them. The file is open only
// while something is written or read, so that `sallyport history` can read it
// beside a running agent.
type History struct {
	cfg Config
	log hclog.Logger

	mu      sync.Mutex
	pending map[pendingKey]*row
	open    map[string]*flowSeen // flows that may be added again
	full    chan struct{}        // asks Run to write now
	stats   Stats
	forgot  time.Time // when bounds were last applied

	file sync.Mutex // one opening at a time in this process
}

// New makes a History; nothing is opened yet.
func New(cfg Config, log hclog.Logger) *History {
	return &History{cfg: cfg, log: log.Named("history"), pending: map[pendingKey]*row{}, open: map[string]*flowSeen{}, full: make(chan struct{}, 1)}
}

// Run writes what Add took until ctx ends, and then the rest.
func (h *History) Run(ctx context.Context) error {
	t := time.NewTicker(h.cfg.Flush)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return h.Flush()
		case <-t.C:
		case <-h.full:
		}
		if err := h.Flush(); err != nil {
			h.log.Warn("history cannot be written; rows wait in memory", "error", err)
		}
	}
}

// Stats gives the counts.
func (h *History) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Pending = len(h.pending)
	return s
}

// write opens the database for one change. One that cannot be read is set
// aside: losing the past must not keep the agent from the present.
func (h *History) write(change func(*bolt.DB) error) (err error) {
	h.file.Lock()
	defer h.file.Unlock()
	if err := os.MkdirAll(filepath.Dir(h.cfg.Path), 0o700); err != nil {
		return err
	}
	db, err := bolt.Open(h.cfg.Path, 0o600, &bolt.Options{Timeout: lockWait, FreelistType: bolt.FreelistMapType})
	if damaged(err) {
		aside := fmt.Sprintf("%s.damaged-%d", h.cfg.Path, time.Now().Unix())
		h.log.Error("the history is damaged; it is set aside and begins anew", "aside", aside, "error", err)
		if err := os.Rename(h.cfg.Path, aside); err != nil {
			return err
		}
		db, err = bolt.Open(h.cfg.Path, 0o600, &bolt.Options{Timeout: lockWait, FreelistType: bolt.FreelistMapType})
	}
	if err != nil {
		return err
	}
	defer db.Close()
	defer guard(&err)
	return change(db)
}

// read opens the database for one question. A history that does not exist yet
// holds nothing.
func (h *History) read(ask func(*bolt.Tx) error) (err error) {
	h.file.Lock()
	defer h.file.Unlock()
	db, err := bolt.Open(h.cfg.Path, 0o400, &bolt.Options{Timeout: lockWait, ReadOnly: true})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open history: %w", err)
	}
	defer db.Close()
	defer guard(&err)
	return db.View(ask)
}

// guard turns bbolt's panic on a damaged page into an error.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("history is damaged: %v", p)
	}
}

func damaged(err error) bool {
	return errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch)
}

// Past is a past flow, or several that share a row.
type Past struct {
	Observation rules.Observation // of them all: first, last, bytes and packets together
	Count       uint64            // flows
}

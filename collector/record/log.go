package record

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/mod/sumdb/tlog"

	"sallyport/collector/store"
	"sallyport/collector/stream"
)

// Stream takes the checkpoints, which leave through the exporters.
type Stream interface {
	Append(context.Context, []stream.Entry) error
}

// Log appends to the record and signs it.
type Log struct {
	cfg     Config
	store   *store.Store
	stream  Stream
	key     Key
	state   string
	version string
	logger  hclog.Logger
}

// New makes the record's writer, and its key where there is none yet.
func New(cfg Config, s *store.Store, st Stream, state, version string, logger hclog.Logger) (*Log, error) {
	key, err := OpenKey(state)
	if err != nil {
		return nil, err
	}
	return &Log{cfg: cfg, store: s, stream: st, key: key, state: state, version: version, logger: logger.Named("record")}, nil
}

// Consumer is how the record reads the stream.
func (l *Log) Consumer() stream.Consumer {
	return stream.Consumer{Name: stream.RecordConsumer, Batch: l.cfg.Batch, Refused: func(err error) {
		l.logger.Error("entry passed over", "error", err)
	}}
}

// Append takes entries of the stream into the record. What it has already is
// passed over, so that an entry may come any number of times.
func (l *Log) Append(ctx context.Context, entries []stream.Entry) error {
	return Append(ctx, l.store, entries)
}

// Append is Log.Append without a key.
func Append(ctx context.Context, s *store.Store, entries []stream.Entry) error {
	list := make([]store.RecordEntry, 0, len(entries))
	for i := range entries {
		d, err := documentOf(&entries[i])
		if err != nil {
			return err
		}
		e, err := entryOf(d)
		if err != nil {
			return err
		}
		list = append(list, e)
	}
	return s.AppendRecord(ctx, func(tx *store.RecordTx) error {
		fresh, err := tx.New(list)
		if err != nil {
			return err
		}
		for i := range fresh {
			if err := appendOne(tx, &fresh[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func appendOne(tx *store.RecordTx, e *store.RecordEntry) error {
	tx.Add(e)
	hashes, err := tlog.StoredHashesForRecordHash(e.N, leafHash(*e), reader(tx.Hashes))
	if err != nil {
		return fmt.Errorf("hash record: %w", err)
	}
	first := tlog.StoredHashCount(e.N)
	for i, h := range hashes {
		tx.AddHash(first+int64(i), h.String())
	}
	return nil
}

// reader reads the tree's hashes where they are kept.
func reader(read func([]int64) ([]string, error)) tlog.HashReader {
	return tlog.HashReaderFunc(func(places []int64) ([]tlog.Hash, error) {
		texts, err := read(places)
		if err != nil {
			return nil, err
		}
		hashes := make([]tlog.Hash, len(texts))
		for i, text := range texts {
			if hashes[i], err = tlog.ParseHash(text); err != nil {
				return nil, fmt.Errorf("hash %d of the record's tree: %w", places[i], err)
			}
		}
		return hashes, nil
	})
}

func hashesOf(ctx context.Context, s *store.Store) tlog.HashReader {
	return reader(func(places []int64) ([]string, error) { return s.RecordHashes(ctx, places) })
}

// Run signs the record from time to time until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(l.cfg.CheckpointEvery)
	defer tick.Stop()
	for {
		if err := l.catchUp(ctx); err != nil && ctx.Err() == nil {
			l.logger.Error("decisions not recorded; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := l.publish(ctx); err != nil && ctx.Err() == nil {
			l.logger.Error("record not signed; it is tried again", "error", err)
		}
	}
}

// publish signs what the record has grown by and hands the checkpoint to the
// exporters. The checkpoint's own entry alone is no growth, or it would have no
// end.
func (l *Log) publish(ctx context.Context) error {
	size, err := l.store.RecordSize(ctx)
	if err != nil {
		return err
	}
	last, err := l.store.LastCheckpoint(ctx)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if size <= last.Size+1 && size > 0 && last.Size > 0 || size == 0 {
		return nil
	}
	c, err := Sign(ctx, l.store, l.key, l.state, time.Now())
	if err != nil {
		return err
	}
	e, err := checkpointEntry(c, l.version)
	if err != nil {
		return err
	}
	if err := l.stream.Append(ctx, []stream.Entry{e}); err != nil {
		return err
	}
	l.logger.Info("record signed", "entries", c.Size)
	return nil
}

// catchUp records decisions that a collector took and did not come to record.
func (l *Log) catchUp(ctx context.Context) error {
	list, err := l.store.Unrecorded(ctx, l.cfg.Batch)
	if err != nil {
		return err
	}
	entries := make([]stream.Entry, 0, len(list))
	for _, d := range list {
		e, err := DecisionEntry(d)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	return l.Append(ctx, entries)
}

package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StoreConsumer and RecordConsumer are the consumers whose positions bound what
// may be trimmed.
const (
	StoreConsumer  = "store"
	RecordConsumer = "record"
)

const (
	watchInterval = time.Second
	trimInterval  = 10 * time.Second
)

// Run keeps the stream in order until ctx ends: it reopens an embedded server
// that stopped writing, and trims what the store has.
//
// After a failed write JetStream keeps the error and takes nothing more, or
// disables itself, even when there is room again: only a restart helps.
func (s *Stream) Run(ctx context.Context) error {
	watch, trim := time.NewTicker(watchInterval), time.NewTicker(trimInterval)
	defer watch.Stop()
	defer trim.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watch.C:
		case <-s.kick:
		case <-trim.C:
			s.tidy(ctx)
			continue
		case <-s.trimNow:
			s.tidy(ctx)
			continue
		}
		if s.cfg.URL != "" {
			s.move()
			continue
		}
		if s.healthy() {
			continue
		}
		if err := s.recover(ctx); err != nil && ctx.Err() == nil {
			s.logger.Error("stream not reopened", "error", err)
			sleep(ctx, 5*time.Second)
		}
	}
}

func (s *Stream) tidy(ctx context.Context) {
	if err := s.trim(ctx); err != nil && ctx.Err() == nil {
		s.logger.Warn("stream not trimmed", "error", err)
	}
}

func (s *Stream) healthy() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.conn == nil || s.server == nil || s.broken.Load() {
		return false
	}
	return s.server.JetStreamEnabled()
}

// moveInterval is how long a server of a cluster is tried.
const moveInterval = 10 * time.Second

// move leaves a server of a cluster through which nothing could be appended or
// read: it answers, but may be cut off from the others. The client then takes
// another; one that has lost its connection does so by itself.
func (s *Stream) move() {
	if !s.broken.Swap(false) || time.Since(s.moved) < moveInterval {
		return
	}
	s.moved = time.Now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.conn == nil || !s.conn.IsConnected() {
		return
	}
	s.logger.Warn("stream's server left for another", "server", s.conn.ConnectedUrlRedacted())
	if err := s.conn.ForceReconnect(); err != nil {
		s.logger.Warn("stream's server not left", "error", err)
	}
}

// recover makes the stream take entries again, when there is room.
func (s *Stream) recover(ctx context.Context) error {
	s.broken.Store(true)
	if err := s.room(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
	if err := s.open(ctx); err != nil {
		return err
	}
	s.restarts.Add(1)
	s.logger.Info("stream reopened")
	return nil
}

// trim removes entries that the store has, when they are older than Keep or the
// stream is four fifths full. What a slow exporter loses by that it takes from
// the store.
func (s *Stream) trim(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.stream == nil {
		return nil
	}
	info, err := s.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("ask stream: %w", err)
	}
	st := info.State
	full := st.Bytes > uint64(s.cfg.MaxBytes)/5*4
	old := st.Msgs > 0 && time.Since(st.FirstTime) > s.cfg.Keep
	if !full && !old {
		return nil
	}
	floor, err := s.floor(ctx)
	if err != nil || floor < st.FirstSeq {
		return err
	}
	until := floor + 1
	if !full {
		until, err = s.firstSince(ctx, st.FirstSeq, floor+1, time.Now().Add(-s.cfg.Keep))
		if err != nil {
			return err
		}
	} else if half := st.FirstSeq + st.Msgs/2; until > half {
		until = half // half of it makes room for long
	}
	if until <= st.FirstSeq {
		return nil
	}
	if err := s.tellMissed(ctx, st.FirstSeq, until); err != nil {
		return err
	}
	if err := s.stream.Purge(ctx, jetstream.WithPurgeSequence(until)); err != nil {
		return fmt.Errorf("purge stream: %w", err)
	}
	s.trimmed.Add(until - st.FirstSeq)
	s.logger.Info("stream trimmed", "entries", until-st.FirstSeq, "full", full)
	return nil
}

// floor is the last sequence up to which store and record have everything.
func (s *Stream) floor(ctx context.Context) (uint64, error) {
	kept, err := s.ackFloor(ctx, StoreConsumer)
	if err != nil {
		return 0, err
	}
	recorded, err := s.ackFloor(ctx, RecordConsumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) { // a stream without a record
		return kept, nil
	}
	return min(kept, recorded), err
}

func (s *Stream) ackFloor(ctx context.Context, name string) (uint64, error) {
	c, err := s.stream.Consumer(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("ask consumer: %w", err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask consumer: %w", err)
	}
	return info.AckFloor.Stream, nil
}

// firstSince finds the first sequence in [low, high) that is not older than t.
func (s *Stream) firstSince(ctx context.Context, low, high uint64, t time.Time) (uint64, error) {
	for low < high {
		mid := low + (high-low)/2
		m, err := s.stream.GetMsg(ctx, mid)
		if err != nil {
			return 0, fmt.Errorf("read entry: %w", err)
		}
		if m.Time.Before(t) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

// State is the stream's own account, for metrics and the console.
type State struct {
	Entries  uint64
	Bytes    uint64
	MaxBytes uint64
	First    time.Time
	Last     time.Time // when the last entry came; zero in a new stream
	Restarts uint64    // of the embedded server, after a failed write
	Trimmed  uint64
	Damaged  uint64 // entries, by consumer, that could not be read
}

// State asks the stream.
func (s *Stream) State(ctx context.Context) (State, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.stream == nil {
		return State{}, ErrUnavailable
	}
	info, err := s.stream.Info(ctx)
	if err != nil {
		return State{}, fmt.Errorf("ask stream: %w", err)
	}
	return State{
		Entries: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: uint64(s.cfg.MaxBytes), First: info.State.FirstTime, Last: info.State.LastTime,
		Restarts: s.restarts.Load(), Trimmed: s.trimmed.Load(), Damaged: s.damaged.Load(),
	}, nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

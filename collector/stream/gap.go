package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// follower notices entries that a consumer never gets. JetStream passes over those
// that its files no longer hold whole, without a word.
type follower struct {
	name string
	high uint64    // the last sequence that was handed out
	at   time.Time // when that entry came
}

// follow begins where a consumer is. Of a cluster there is none: other collectors
// take entries too, and a damaged server gets its entries from the others.
func (s *Stream) follow(ctx context.Context, name string, c jetstream.Consumer) (*follower, error) {
	if s.cfg.URL != "" {
		return nil, nil
	}
	info, err := c.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask consumer: %w", err)
	}
	return &follower{name: name, high: info.Delivered.Stream}, nil
}

// check looks for holes before the entries of a batch.
func (s *Stream) check(ctx context.Context, f *follower, msgs []jetstream.Msg) error {
	if f == nil {
		return nil
	}
	for _, m := range msgs {
		md, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read entry's place: %w", err)
		}
		seq := md.Sequence.Stream
		if seq <= f.high {
			continue // handed out again
		}
		if seq > f.high+1 {
			if err := s.hole(ctx, f, seq, md.Timestamp); err != nil {
				return err
			}
		}
		f.high, f.at = seq, md.Timestamp
	}
	return nil
}

// hole tells of entries that should have come before the one of sequence next.
func (s *Stream) hole(ctx context.Context, f *follower, next uint64, to time.Time) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.stream == nil {
		return ErrUnavailable
	}
	info, err := s.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("ask stream: %w", err)
	}
	first := max(f.high+1, info.State.FirstSeq)
	if first >= next {
		return nil // they were trimmed, which was told
	}
	from := f.at
	if from.IsZero() {
		from = info.State.FirstTime
	}
	damaged := uint64(0)
	for seq := first; seq < next; seq++ {
		readable, err := s.readable(ctx, seq)
		if err != nil {
			return err
		}
		if !readable {
			damaged++
		}
	}
	if damaged == 0 {
		return nil // they were handed out to a request that is over, and come again
	}
	s.damaged.Add(damaged)
	s.logger.Error("entries of the stream cannot be read; are its files damaged?", "consumer", f.name, "entries", damaged, "from", from, "to", to)
	if s.Missed == nil || !strings.HasPrefix(f.name, ExportPrefix) {
		return nil // what the store has not shows as a hole in its agent's sequence
	}
	return s.Missed(ctx, Missed{f.name, from, to})
}

// readable says whether the stream still has an entry whole.
func (s *Stream) readable(ctx context.Context, seq uint64) (bool, error) {
	_, err := s.stream.GetMsg(ctx, seq)
	var refused *jetstream.APIError
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.As(err, &refused):
		return false, nil
	}
	return false, fmt.Errorf("read entry: %w", err)
}

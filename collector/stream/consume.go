package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Consumer reads the stream at its own pace; its position outlives the process.
type Consumer struct {
	Name  string
	Batch int
	// Refused is told of entries that cannot be decoded; they are passed over.
	Refused func(error)
}

const (
	ackWait    = 15 * time.Second // after that without a sign of life, the entries are handed out again
	idleWait   = 2 * time.Second
	minBackoff = 500 * time.Millisecond
	maxBackoff = time.Minute
)

// Consume hands every entry to handle, in batches, until ctx ends. A batch that
// handle refuses is handed to it again, without end and with growing pauses. An
// entry may come more than once.
func (s *Stream) Consume(ctx context.Context, c Consumer, handle func(context.Context, []Entry) error) error {
	logger := s.logger.With("consumer", c.Name)
	wait := minBackoff
	for ctx.Err() == nil {
		err := s.consume(ctx, c, handle)
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			wait = minBackoff
			continue
		}
		logger.Warn("stream not read", "error", err, "retry_in", wait)
		if s.cfg.URL != "" {
			s.failed(ctx, err)
		}
		sleep(ctx, jitter(wait))
		wait = min(2*wait, maxBackoff/4)
	}
	return nil
}

// consume makes the consumer, then reads until something fails.
func (s *Stream) consume(ctx context.Context, c Consumer, handle func(context.Context, []Entry) error) error {
	consumer, err := s.consumer(ctx, c)
	if err != nil {
		return err
	}
	place, err := s.follow(ctx, c.Name, consumer)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		msgs, err := next(ctx, consumer, c.Batch)
		if err != nil {
			return err
		}
		if err := s.check(ctx, place, msgs); err != nil {
			return err
		}
		if len(msgs) == 0 {
			continue
		}
		if err := s.hand(ctx, c, msgs, handle); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stream) consumer(ctx context.Context, c Consumer) (jetstream.Consumer, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.stream == nil {
		return nil, ErrUnavailable
	}
	consumer, err := s.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       c.Name,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		MaxAckPending: 2 * c.Batch, // two collectors may read; more would hand out what nobody works on
	})
	if err != nil {
		return nil, fmt.Errorf("make consumer: %w", err)
	}
	return consumer, nil
}

// next waits for one message and takes what else is there.
func next(ctx context.Context, c jetstream.Consumer, batch int) ([]jetstream.Msg, error) {
	msgs, err := fetch(c.FetchNoWait(batch))
	if err != nil || len(msgs) > 0 {
		return msgs, err
	}
	// Bounded, so that a server that was restarted is noticed.
	ctx, cancel := context.WithTimeout(ctx, idleWait)
	defer cancel()
	return fetch(c.Fetch(1, jetstream.FetchContext(ctx)))
}

func fetch(batch jetstream.MessageBatch, err error) ([]jetstream.Msg, error) {
	if err != nil {
		return nil, fmt.Errorf("read stream: %w", err)
	}
	var msgs []jetstream.Msg
	for m := range batch.Messages() {
		msgs = append(msgs, m)
	}
	err = batch.Error()
	if err != nil && !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) && len(msgs) == 0 {
		return nil, fmt.Errorf("read stream: %w", err)
	}
	return msgs, nil
}

// hand gives a batch to handle until it is taken, and acknowledges it.
func (s *Stream) hand(ctx context.Context, c Consumer, msgs []jetstream.Msg, handle func(context.Context, []Entry) error) error {
	entries := make([]Entry, 0, len(msgs))
	for _, m := range msgs {
		e, err := decodeEntry(m.Data())
		if err != nil {
			if c.Refused != nil {
				c.Refused(err)
			}
			continue
		}
		entries = append(entries, e)
	}
	stop := keep(ctx, msgs)
	defer stop()
	for wait := minBackoff; len(entries) > 0; wait = min(2*wait, maxBackoff) {
		err := handle(ctx, entries)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause := jitter(wait)
		s.logger.Warn("entries not taken", "consumer", c.Name, "error", err, "retry_in", pause)
		sleep(ctx, pause)
	}
	for _, m := range msgs {
		if err := m.Ack(); err != nil {
			return fmt.Errorf("acknowledge entry: %w", err)
		}
	}
	return nil
}

// keep tells the server, while a batch is worked on, that it is.
func keep(ctx context.Context, msgs []jetstream.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			sleep(ctx, ackWait/3)
			if ctx.Err() != nil {
				return
			}
			for _, m := range msgs {
				if m.InProgress() != nil {
					return // the entries will come again, which is harmless
				}
			}
		}
	}()
	return func() { cancel(); <-done }
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// Position is how far a consumer has come.
type Position struct {
	Pending uint64    // entries it has not taken yet
	Behind  time.Time // when the oldest of them came; zero where there is none
}

// Position asks how far a consumer has come.
func (s *Stream) Position(ctx context.Context, name string) (Position, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.stream == nil {
		return Position{}, ErrUnavailable
	}
	c, err := s.stream.Consumer(ctx, name)
	if err != nil {
		return Position{}, fmt.Errorf("ask consumer: %w", err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		return Position{}, fmt.Errorf("ask consumer: %w", err)
	}
	p := Position{Pending: info.NumPending + uint64(info.NumAckPending)}
	if p.Pending == 0 {
		return p, nil
	}
	if m, err := s.stream.GetMsg(ctx, info.AckFloor.Stream+1); err == nil {
		p.Behind = m.Time
	} // else trimmed: how long it is behind is not known
	return p, nil
}

package stream

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// ExportPrefix begins the names of consumers that trimming does not wait for.
const ExportPrefix = "export-"

// Missed says which entries a consumer will not get: those the stream took
// between two times, both included.
type Missed struct {
	Consumer string
	From, To time.Time
}

// tellMissed tells of every exporter's consumer that has not taken all entries
// in [first, until). The server would move its position past them in silence.
func (s *Stream) tellMissed(ctx context.Context, first, until uint64) error {
	if s.Missed == nil {
		return nil
	}
	list := s.stream.ListConsumers(ctx)
	for info := range list.Info() {
		next := max(info.AckFloor.Stream+1, first)
		if !strings.HasPrefix(info.Name, ExportPrefix) || next >= until {
			continue
		}
		from, err := s.stream.GetMsg(ctx, next)
		if err != nil {
			return fmt.Errorf("read entry: %w", err)
		}
		to, err := s.stream.GetMsg(ctx, until-1)
		if err != nil {
			return fmt.Errorf("read entry: %w", err)
		}
		if err := s.Missed(ctx, Missed{info.Name, from.Time, to.Time}); err != nil {
			return fmt.Errorf("hand over to the store what %s has not taken: %w", info.Name, err)
		}
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("list consumers: %w", err)
	}
	return nil
}

package agent

import (
	"sync"
	"time"

	"sallyport/rules"
)

// Loss is sampled so often and remembered so long; older windows are reported
// against the oldest sample.
const (
	lossEvery = 10 * time.Second
	lossKept  = 360
)

// losses remembers the counters over time, so that a finding can say what was
// not seen in its own window.
type losses struct {
	read     func() (lost, dropped map[string]uint64)
	degraded func() []string

	mu      sync.Mutex
	samples []lossSample // oldest first
}

type lossSample struct {
	at            time.Time
	lost, dropped map[string]uint64
}

func newLosses(read func() (lost, dropped map[string]uint64), degraded func() []string) *losses {
	return &losses{read: read, degraded: degraded}
}

// sample remembers the counters as of now, where the last sample is old enough:
// to read them is system calls.
func (l *losses) sample(now time.Time) {
	if !l.due(now) {
		return
	}
	lost, dropped := l.read()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, lossSample{now, lost, dropped})
	if len(l.samples) > lossKept {
		l.samples = l.samples[1:]
	}
}

func (l *losses) due(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.samples)
	return n == 0 || now.Sub(l.samples[n-1].at) >= lossEvery
}

// since is what was lost and dropped between first and now, nil when nothing
// was and nothing is degraded.
func (l *losses) since(first, now time.Time) *rules.Loss {
	lost, dropped := l.read()
	base := l.before(first)
	out := &rules.Loss{Lost: difference(lost, base.lost), Dropped: difference(dropped, base.dropped), Degraded: l.degraded()}
	if len(out.Lost) == 0 && len(out.Dropped) == 0 && len(out.Degraded) == 0 {
		return nil
	}
	return out
}

// before is the newest sample not after first; the zero sample when first is
// older than all: everything counted is then in the window.
func (l *losses) before(first time.Time) lossSample {
	l.mu.Lock()
	defer l.mu.Unlock()
	var base lossSample
	for _, s := range l.samples {
		if s.at.After(first) {
			break
		}
		base = s
	}
	return base
}

func difference(now, before map[string]uint64) map[string]uint64 {
	var out map[string]uint64
	for reason, n := range now {
		if n > before[reason] {
			if out == nil {
				out = map[string]uint64{}
			}
			out[reason] = n - before[reason]
		}
	}
	return out
}

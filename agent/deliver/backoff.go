package deliver

import (
	"context"
	"math/rand/v2"
	"time"
)

// Bounds of the pause between attempts. It never gives up.
const (
	firstPause = time.Second
	longPause  = time.Minute
	maxAfter   = time.Hour // what a Retry-After may ask for
)

// pause is the time to wait after the given number of failures in a row: full
// jitter below a doubling bound, so that a thousand agents do not come back at
// once.
func pause(failures int, e *sendError) time.Duration {
	bound := longPause
	if failures < 7 {
		bound = min(longPause, firstPause<<max(0, failures-1))
	}
	if e != nil && e.slow {
		bound = longPause
	}
	d := bound/4 + rand.N(bound*3/4)
	if e != nil && e.after > 0 {
		after := min(e.after, maxAfter)
		d = after + rand.N(after/10+time.Millisecond)
	}
	return d
}

// sleep waits, or says false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

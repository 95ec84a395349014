package account

import (
	"sync"
	"time"
)

// maxAttemptKeys bounds the memory an attacker with many names can take.
const maxAttemptKeys = 10000

// attempts counts sign-ins by minute.
type attempts struct {
	limit int

	mu     sync.Mutex
	minute int64
	counts map[string]int
}

func newAttempts(limit int) *attempts {
	return &attempts{limit: limit, counts: map[string]int{}}
}

// allow counts an attempt and says whether it may go on. When too many keys are
// counted, new ones must wait: better than to forget the old.
func (a *attempts) allow(key string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := now.Unix() / 60; m != a.minute {
		a.minute, a.counts = m, map[string]int{}
	}
	if _, known := a.counts[key]; !known && len(a.counts) >= maxAttemptKeys {
		return false
	}
	a.counts[key]++
	return a.counts[key] <= a.limit
}

// Package limit bounds how often somebody may ask, each for himself: an agent, a
// token, a person, an address.
package limit

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxKeys bounds the memory that many who ask can take. Beyond it, new ones wait
// until others are idle.
const maxKeys = 100_000

// Keyed is a limit for each key.
type Keyed struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	byKey map[string]*rate.Limiter
}

// NewKeyed allows each key perSecond requests, and burst at once.
func NewKeyed(perSecond float64, burst int) *Keyed {
	return &Keyed{rate: rate.Limit(perSecond), burst: max(1, burst), byKey: map[string]*rate.Limiter{}}
}

// Take counts a request. Where it is one too many, wait says for how long.
func (k *Keyed) Take(key string, now time.Time) (wait time.Duration, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.limiter(key, now)
	if l == nil {
		return time.Second, false
	}
	r := l.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait == 0 {
		return 0, true
	}
	r.CancelAt(now)
	return wait, false
}

// Spent says whether a key has nothing left, and counts nothing.
func (k *Keyed) Spent(key string, now time.Time) (wait time.Duration, spent bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.byKey[key]
	if !ok || l.TokensAt(now) >= 1 {
		return 0, false
	}
	return time.Duration((1 - l.TokensAt(now)) / float64(k.rate) * float64(time.Second)), true
}

// limiter finds a key's; nil where too many are remembered.
func (k *Keyed) limiter(key string, now time.Time) *rate.Limiter {
	l, ok := k.byKey[key]
	if ok {
		return l
	}
	if len(k.byKey) >= maxKeys {
		k.forget(now)
	}
	if len(k.byKey) >= maxKeys {
		return nil
	}
	l = rate.NewLimiter(k.rate, k.burst)
	k.byKey[key] = l
	return l
}

// forget drops those who have asked nothing for so long that they have all their
// requests again: a new one of theirs would be as before.
func (k *Keyed) forget(now time.Time) {
	for key, l := range k.byKey {
		if l.TokensAt(now) >= float64(k.burst) {
			delete(k.byKey, key)
		}
	}
}

// RetryAfter sets the header (RFC 9110 section 10.2.3), in whole seconds and at
// least one.
func RetryAfter(h http.Header, wait time.Duration) {
	h.Set("Retry-After", strconv.Itoa(max(1, int((wait+time.Second-1)/time.Second))))
}

// Bound is a limit as it is in force, for a person.
type Bound struct {
	Name  string `json:"name"`  // of the setting, or what it is of where it is fixed
	Value string `json:"value"` // with its unit
	Fixed bool   `json:"fixed"` // not a setting
	What  string `json:"what"`
}

package rules

import (
	"fmt"
	"sync/atomic"
)

// Live holds the set in force. Readers take it without a lock, and a swap never
// makes them wait.
type Live struct{ set atomic.Pointer[Set] }

// NewLive starts with a set, which may be empty.
func NewLive(s *Set) *Live {
	l := &Live{}
	l.set.Store(s)
	return l
}

// Set is the set in force.
func (l *Live) Set() *Set { return l.set.Load() }

// Swap puts a new set in force. One that is empty or holds less than half of
// the old one is refused unless forced: a broken feed must not blind a fleet.
func (l *Live) Swap(next *Set, force bool) error {
	old := l.set.Load()
	if !force && (next.Len() == 0 || 2*next.Len() < old.Len()) {
		return fmt.Errorf("swap indicators: the new set holds %d, the old one %d; if that is right, force it", next.Len(), old.Len())
	}
	l.set.Store(next)
	return nil
}

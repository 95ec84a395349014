package pack

import (
	"fmt"
	"time"

	"sallyport/rules"
)

// Term is until when a pack should be in force: what a reader keeps of it once
// its content is compiled.
type Term struct {
	Pack     rules.Pack
	Expires  time.Time
	KeyUntil time.Time // of the key that signed it, zero without end
}

// Term is the pack's own.
func (p *Pack) Term() Term { return Term{p.Ref(), p.Manifest.Expires, p.KeyUntil} }

// Stale says why a pack should have been replaced by now, or nothing. A stale
// pack stays in force: old knowledge is better than none, but is reported.
func (t Term) Stale(now time.Time) (reason string, stale bool) {
	switch {
	case now.After(t.Expires):
		return fmt.Sprintf("pack %s expired on %s", t.Pack, t.Expires.UTC().Format(time.DateOnly)), true
	case !t.KeyUntil.IsZero() && now.After(t.KeyUntil):
		return fmt.Sprintf("the key that signed pack %s expired on %s", t.Pack, t.KeyUntil.UTC().Format(time.DateOnly)), true
	}
	return "", false
}

// OlderError says which pack falls behind which version. It is ErrOlder.
type OlderError struct {
	Name             string
	Version, InForce uint64
}

// Error says what to do instead.
func (e *OlderError) Error() string {
	if e.Version == e.InForce {
		return fmt.Sprintf("%s: version %d is in force with another content", ErrOlder, e.Version)
	}
	return fmt.Sprintf("%s: version %d, in force is %d; to go back, build a higher version with the older content", ErrOlder, e.Version, e.InForce)
}

// Unwrap makes it ErrOlder.
func (e *OlderError) Unwrap() error { return ErrOlder }

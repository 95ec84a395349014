package enrich

import (
	"slices"
	"strings"
	"sync"
)

// maxRedactions bounds what redactions remembers; it starts anew when full.
const maxRedactions = 1024

// redactions remembers what Redact gave: a process makes many flows, and to look
// for every form of secret took a third of the agent's time under many
// connections. It holds no more than the process cache does.
type redactions struct {
	mu    sync.Mutex
	known map[string][]string
}

func newRedactions() *redactions { return &redactions{known: map[string][]string{}} }

// of is Redact. What it gives is the caller's own.
func (r *redactions) of(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	key := strings.Join(args, "\x00") // no argument holds a NUL
	r.mu.Lock()
	defer r.mu.Unlock()
	out, known := r.known[key]
	if !known {
		out = Redact(args)
		if len(r.known) >= maxRedactions {
			clear(r.known)
		}
		r.known[key] = out
	}
	return slices.Clone(out)
}

// Package naming knows the names of remote addresses: those that DNS answers
// bound to them, for as long as the answer says and a little longer. What a flow
// shows of itself belongs to that flow alone: package flow names it.
package naming

import (
	"container/list"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"sallyport/rules"
)

// Config bounds the table. Times are Go durations.
type Config struct {
	MaxAddresses int           `yaml:"max_addresses"` // above it the longest unused go
	Keep         time.Duration `yaml:"keep"`          // how long a name outlives its TTL: connections follow answers late
	MaxTTL       time.Duration `yaml:"max_ttl"`       // longer TTLs are cut
}

// maxNames bounds the names of one address: a shared host has thousands, and the
// latest say most.
const maxNames = 16

// share is the part of the table one cgroup may fill, so that a container that
// asks for a million names does not push out the others'.
const share = 4

// DefaultConfig takes some 20 MB when full.
func DefaultConfig() Config {
	return Config{MaxAddresses: 65_536, Keep: 10 * time.Minute, MaxTTL: 24 * time.Hour}
}

// Validate says what is wrong and what to write instead.
func (c Config) Validate() error {
	switch {
	case c.MaxAddresses < share:
		return fmt.Errorf("naming.max_addresses is %d: use %d or more", c.MaxAddresses, share)
	case c.Keep < 0:
		return errors.New("naming.keep is negative: use 0s or more")
	case c.MaxTTL <= 0:
		return fmt.Errorf("naming.max_ttl is %s: use more than 0s", c.MaxTTL)
	}
	return nil
}

// Stats counts since New.
type Stats struct {
	Addresses int
	Bound     uint64
	Dropped   map[string]uint64 // "table_full", "names_full", "malformed", "unasked"
}

type key struct {
	netns uint64
	addr  netip.Addr
}

type bound struct {
	name  string
	at    time.Time // of the answer
	until time.Time
}

type binding struct {
	key    key
	cgroup uint64
	names  []bound // latest last
}

// Table binds names to addresses, each network namespace for itself: two
// containers may mean different hosts by one address. It is safe for use by
// several goroutines.
type Table struct {
	cfg Config

	mu      sync.Mutex
	byKey   map[key]*list.Element
	byGroup map[uint64]*list.List // of *binding, longest unused first
	bound   uint64
	dropped map[string]uint64
}

// New makes an empty table.
func New(cfg Config) *Table {
	return &Table{cfg: cfg, byKey: map[key]*list.Element{}, byGroup: map[uint64]*list.List{}, dropped: map[string]uint64{}}
}

// Names gives the names bound to the address at the time, latest first.
func (t *Table) Names(netns uint64, addr netip.Addr, at time.Time) []rules.Name {
	t.mu.Lock()
	defer t.mu.Unlock()
	el, ok := t.byKey[key{netns, addr.Unmap()}]
	if !ok {
		return nil
	}
	b := el.Value.(*binding)
	var out []rules.Name
	for i := len(b.names) - 1; i >= 0; i-- {
		if n := b.names[i]; !at.After(n.until) {
			out = append(out, rules.Name{Name: n.name, Source: "dns", At: n.at})
		}
	}
	if len(out) > 0 {
		t.byGroup[b.cgroup].MoveToBack(el)
	}
	return out
}

// bind adds a name. Callers hold mu.
func (t *Table) bind(k key, cgroup uint64, name string, ttl time.Duration, at time.Time) {
	b := t.at(k, cgroup)
	n := bound{name, at, at.Add(min(ttl, t.cfg.MaxTTL) + t.cfg.Keep)}
	t.bound++
	for i, old := range b.names {
		if old.name == name {
			if old.until.After(n.until) {
				n.until = old.until
			}
			b.names = append(b.names[:i], b.names[i+1:]...)
			break
		}
	}
	if len(b.names) == maxNames {
		if !at.After(b.names[0].until) {
			t.dropped["names_full"]++
		}
		b.names = b.names[1:]
	}
	b.names = append(b.names, n)
}

// at finds or makes the binding of an address.
func (t *Table) at(k key, cgroup uint64) *binding {
	if el, ok := t.byKey[k]; ok {
		b := el.Value.(*binding)
		t.byGroup[b.cgroup].MoveToBack(el)
		return b
	}
	group := t.byGroup[cgroup]
	switch {
	case group != nil && group.Len() >= max(1, t.cfg.MaxAddresses/share) && len(t.byGroup) > 1, group != nil && group.Len() >= t.cfg.MaxAddresses:
		t.evict(group)
	case len(t.byKey) >= t.cfg.MaxAddresses:
		var largest *list.List
		for _, g := range t.byGroup {
			if largest == nil || g.Len() > largest.Len() {
				largest = g
			}
		}
		t.evict(largest)
	}
	if group = t.byGroup[cgroup]; group == nil { // evict may have removed it
		group = list.New()
		t.byGroup[cgroup] = group
	}
	b := &binding{key: k, cgroup: cgroup}
	t.byKey[k] = group.PushBack(b)
	return b
}

// evict drops the longest unused binding of a group.
func (t *Table) evict(group *list.List) {
	b := group.Remove(group.Front()).(*binding)
	delete(t.byKey, b.key)
	if group.Len() == 0 {
		delete(t.byGroup, b.cgroup)
	}
	t.dropped["table_full"]++
}

// Stats gives the counts.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Addresses: len(t.byKey), Bound: t.bound, Dropped: make(map[string]uint64, len(t.dropped))}
	for k, v := range t.dropped {
		s.Dropped[k] = v
	}
	return s
}

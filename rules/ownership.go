package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ownedShare is OFAC's threshold: what blocked persons own to 50 % or more in
// the aggregate, directly or indirectly, is blocked itself (OFAC FAQ 401).
const ownedShare = 50.0

// blockedBy is how an entity comes to be possibly blocked by ownership.
type blockedBy struct {
	chain        []string      // sentences, nearest first, each once
	owners       []string      // ids of the listed owners the block rests on, each once
	designations []Designation // theirs
}

// add takes over what is not there yet: owners meet again through others.
func (b *blockedBy) add(chain, owners []string) {
	b.chain, b.owners = addNew(b.chain, chain), addNew(b.owners, owners)
}

func addNew(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// EntityError is what is wrong between entities, and with which of them.
type EntityError struct {
	ID      string // of an entity it is about
	Message string // with the remedy
}

// Error is the message.
func (e *EntityError) Error() string { return e.Message }

// ownership knows who owns whom. A designation can be lifted, so whether an
// entity is blocked through its owners is asked as of a time.
type ownership struct{ byID map[string]*Entity }

// closeOwnership checks that every owner is known and that nobody owns himself,
// through others or not.
func closeOwnership(entities []Entity) (ownership, error) {
	o := ownership{map[string]*Entity{}}
	for i := range entities {
		o.byID[entities[i].ID] = &entities[i]
	}
	done := map[string]bool{}
	for i := range entities {
		if err := o.check(entities[i].ID, nil, done); err != nil {
			return o, fmt.Errorf("close ownership: %w", err)
		}
	}
	return o, nil
}

func (o ownership) check(id string, trail []string, done map[string]bool) error {
	if slices.Contains(trail, id) {
		return &EntityError{id, fmt.Sprintf("the owners form a cycle: %s; correct the shares of one of them", strings.Join(append(trail, id), " is owned by "))}
	}
	entity := o.byID[id]
	if done[id] || entity == nil {
		return nil
	}
	trail = append(trail, id)
	for _, stake := range entity.Owners {
		if stake.Entity == "" {
			continue // an owner without a file is not known to be blocked
		}
		if o.byID[stake.Entity] == nil {
			return &EntityError{id, fmt.Sprintf("entity %q names the owner %q, which no file defines; add its file, or give the owner by name", id, stake.Entity)}
		}
		if err := o.check(stake.Entity, trail, done); err != nil {
			return err
		}
	}
	done[id] = true
	return nil
}

// asOf says how an entity that is not blocked by name is blocked by ownership at
// a time, or that it is not. An owner counts with its whole share when it is
// blocked itself, by designation or by ownership; a share held through an owner
// that is not blocked does not count.
func (o ownership) asOf(id string, at time.Time) (blockedBy, bool) {
	entity := o.byID[id]
	if entity == nil || len(entity.Owners) == 0 {
		return blockedBy{}, false
	}
	q := ownershipQuery{o, at, map[string]*blockedBy{}}
	by := q.blocked(entity)
	if by == nil {
		return blockedBy{}, false
	}
	for _, owner := range by.owners {
		by.designations = append(by.designations, o.byID[owner].inForce(at)...)
	}
	return *by, true
}

// ownershipQuery asks about each owner once.
type ownershipQuery struct {
	ownership
	at   time.Time
	done map[string]*blockedBy // nil: not blocked by ownership
}

func (q *ownershipQuery) blocked(entity *Entity) *blockedBy {
	if by, known := q.done[entity.ID]; known {
		return by
	}
	q.done[entity.ID] = nil
	if len(entity.inForce(q.at)) > 0 {
		return nil // by name, which needs no chain
	}
	var sum float64
	by := &blockedBy{}
	for _, stake := range entity.Owners {
		if owner := q.byID[stake.Entity]; owner != nil {
			sum += q.count(entity, owner, stake, by)
		}
	}
	if sum < ownedShare {
		return nil
	}
	q.done[entity.ID] = by
	return by
}

// count adds one owner to the chain and returns the share that counts.
func (q *ownershipQuery) count(entity, owner *Entity, stake Stake, by *blockedBy) float64 {
	link := fmt.Sprintf("%s holds %g %% of %s", owner.Name, stake.Percent, entity.Name)
	if len(owner.inForce(q.at)) > 0 {
		by.add([]string{link}, []string{owner.ID})
		return stake.Percent
	}
	if through := q.blocked(owner); through != nil {
		by.add(append([]string{link}, through.chain...), through.owners)
		return stake.Percent
	}
	return 0
}

// inForce is the designations that have not been lifted at a time. Those of a
// later day are among them: what they mean for an earlier flow is the judge's.
func (e *Entity) inForce(at time.Time) []Designation {
	var out []Designation
	for _, d := range e.Designations {
		if d.Lifted == "" || at.Before(d.Lifted.Start()) {
			out = append(out, d)
		}
	}
	return out
}

package rules

import (
	"fmt"
	"slices"
	"strings"
)

// ownedShare is OFAC's threshold: what blocked persons own to 50 % or more in
// the aggregate, directly or indirectly, is blocked itself (OFAC FAQ 401).
const ownedShare = 50.0

// blockedBy is how an entity comes to be possibly blocked by ownership.
type blockedBy struct {
	chain        []string      // sentences, nearest first
	designations []Designation // of the owners the block rests on
}

// closeOwnership computes, for every entity that is not blocked by name, whether it is
// blocked by ownership. An owner counts with its whole share when it is blocked
// itself, by designation or by ownership; a share held through an owner that is
// not blocked does not count. Cycles are errors.
func closeOwnership(entities []Entity) (map[string]blockedBy, error) {
	o := &ownership{byID: map[string]*Entity{}, done: map[string]bool{}, owned: map[string]blockedBy{}}
	for i := range entities {
		o.byID[entities[i].ID] = &entities[i]
	}
	for i := range entities {
		if err := o.visit(entities[i].ID, nil); err != nil {
			return nil, fmt.Errorf("close ownership: %w", err)
		}
	}
	return o.owned, nil
}

type ownership struct {
	byID  map[string]*Entity
	done  map[string]bool
	owned map[string]blockedBy
}

func (o *ownership) visit(id string, trail []string) error {
	if slices.Contains(trail, id) {
		return fmt.Errorf("the owners form a cycle: %s; correct the shares of one of them", strings.Join(append(trail, id), " is owned by "))
	}
	entity := o.byID[id]
	if o.done[id] || entity == nil {
		return nil
	}
	trail = append(trail, id)
	var sum float64
	var by blockedBy
	for _, stake := range entity.Owners {
		if stake.Entity == "" {
			continue // an owner without a file is not known to be blocked
		}
		owner := o.byID[stake.Entity]
		if owner == nil {
			return fmt.Errorf("entity %q names the owner %q, which no file defines; add its file, or give the owner by name", id, stake.Entity)
		}
		if err := o.visit(stake.Entity, trail); err != nil {
			return err
		}
		sum += o.count(entity, owner, stake, &by)
	}
	o.done[id] = true
	if sum >= ownedShare && !entity.blockedByName() {
		o.owned[id] = by
	}
	return nil
}

// count adds one owner to the chain and returns the share that counts.
func (o *ownership) count(entity, owner *Entity, stake Stake, by *blockedBy) float64 {
	link := fmt.Sprintf("%s holds %g %% of %s", owner.Name, stake.Percent, entity.Name)
	if owner.blockedByName() {
		by.chain = append(by.chain, link)
		by.designations = append(by.designations, owner.inForce()...)
		return stake.Percent
	}
	if through, ok := o.owned[owner.ID]; ok {
		by.chain = append(append(by.chain, link), through.chain...)
		by.designations = append(by.designations, through.designations...)
		return stake.Percent
	}
	return 0
}

// blockedByName says whether a designation of the entity is in force.
func (e *Entity) blockedByName() bool { return len(e.inForce()) > 0 }

func (e *Entity) inForce() []Designation {
	var out []Designation
	for _, d := range e.Designations {
		if d.Lifted == "" {
			out = append(out, d)
		}
	}
	return out
}

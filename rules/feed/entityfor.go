package feed

import (
	"fmt"
	"strings"

	"sallyport/rules"
)

// EntityFor finds the entity that ships under an id, a name or an alias, or makes
// one of that name without a designation: nobody may be made to look listed by an
// import. Of an entity that ships only what names it is given: the rest is the
// vendor's to say.
func EntityFor(name string) (rules.Entity, error) {
	if name == "" {
		return rules.Entity{}, nil
	}
	entities, err := rules.Shipped()
	if err != nil {
		return rules.Entity{}, err
	}
	for i := range entities {
		if e := &entities[i]; isNamed(e, name) {
			return rules.Entity{ID: e.ID, Name: e.Name, Kind: e.Kind, Test: e.Test}, nil
		}
	}
	id := strings.Trim(strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			return r
		}
		return '-'
	}, strings.ToLower(name)), "-")
	if id == "" {
		return rules.Entity{}, fmt.Errorf("no id can be made of the entity name %q: use Latin letters or digits", name)
	}
	return rules.Entity{ID: id, Name: name, Kind: rules.KindOrganisation}, nil
}

func isNamed(e *rules.Entity, name string) bool {
	if e.ID == name || strings.EqualFold(e.Name, name) {
		return true
	}
	for _, a := range e.Aliases {
		if strings.EqualFold(a.Name, name) {
			return true
		}
	}
	return false
}

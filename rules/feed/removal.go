package feed

import (
	"slices"

	"sallyport/rules"
)

// Lifted compares two imports of one authority's list. A party that the newer
// one no longer holds is returned with its designations lifted: what was
// observed while it was listed stays explicable. asOf is the newer list's date;
// the act that lifted it may be some days older, and the note says so.
func Lifted(before, after []rules.Entity, asOf rules.Date) []rules.Entity {
	listed := make(map[string]bool, len(after))
	for i := range after {
		listed[after[i].ID] = true
	}
	var out []rules.Entity
	for _, e := range before {
		if listed[e.ID] || len(e.Designations) == 0 {
			continue
		}
		e.Designations = slices.Clone(e.Designations)
		for i := range e.Designations {
			d := &e.Designations[i]
			if d.Lifted == "" {
				d.Lifted = asOf
				d.Note = "no longer on the list published " + string(asOf) + "; the act itself may be older"
			}
		}
		out = append(out, e)
	}
	return out
}

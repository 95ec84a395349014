package feeds

import (
	"slices"

	"sallyport/rules"
)

// joined makes one entity of all that share an id. What several sources say of
// one value stands side by side: the first gives its provenance, and the others
// add their claims.
func joined(list []rules.Entity) []rules.Entity {
	var out []rules.Entity
	at := map[string]int{}
	for _, e := range list {
		i, known := at[e.ID]
		if !known {
			at[e.ID] = len(out)
			out = append(out, e)
			continue
		}
		out[i] = join(out[i], e)
	}
	return out
}

type valueKey struct {
	kind  rules.IndicatorType
	value string
}

func join(a, b rules.Entity) rules.Entity {
	a.Sources = slices.Clone(a.Sources)
	for _, s := range b.Sources {
		if !slices.ContainsFunc(a.Sources, func(o rules.Source) bool { return o.ID == s.ID }) {
			a.Sources = append(a.Sources, s)
		}
	}
	a.Actors = slices.Clone(a.Actors)
	for _, actor := range b.Actors {
		if !slices.ContainsFunc(a.Actors, func(o rules.Actor) bool { return o.Name == actor.Name }) {
			a.Actors = append(a.Actors, actor)
		}
	}
	a.Indicators = slices.Clone(a.Indicators)
	at := make(map[valueKey]int, len(a.Indicators))
	for i := range a.Indicators {
		at[valueKey{a.Indicators[i].Type, a.Indicators[i].Value}] = i
	}
	for _, in := range b.Indicators {
		i, known := at[valueKey{in.Type, in.Value}]
		if !known {
			a.Indicators = append(a.Indicators, in)
			continue
		}
		same := &a.Indicators[i]
		same.Sources = slices.Clone(same.Sources)
		for _, claim := range in.Sources {
			if !slices.Contains(same.Sources, claim) {
				same.Sources = append(same.Sources, claim)
			}
		}
	}
	return a
}

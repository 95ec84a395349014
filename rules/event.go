package rules

import (
	"iter"

	"sallyport/rules/sigma"
)

// event is an observation as Sigma rules see it.
type event struct {
	o *Observation
	m []Match
}

// NewEvent shows an observation and what it matched to Sigma rules, through the
// field table. It is valid as long as neither changes.
func NewEvent(o *Observation, m []Match) sigma.Event { return &event{o: o, m: m} }

// Field reads a field of the table.
func (e *event) Field(name string) (sigma.Value, bool) {
	f, ok := fieldsByName[name]
	if !ok {
		return sigma.Value{}, false
	}
	return f.Get(e.o, e.m)
}

// Keywords yields the text of every field.
func (e *event) Keywords() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, section := range FieldSections {
			for i := range section.Fields {
				v, ok := section.Fields[i].Get(e.o, e.m)
				if ok && !yieldTexts(v, yield) {
					return
				}
			}
		}
	}
}

func yieldTexts(v sigma.Value, yield func(string) bool) bool {
	if v.Kind != sigma.List {
		return yield(v.String())
	}
	for _, s := range v.List {
		if !yield(s) {
			return false
		}
	}
	return true
}

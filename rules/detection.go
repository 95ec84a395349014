package rules

import "sallyport/rules/sigma"

// Detection decides whether an observation, with what it matched, is worth a
// finding. What ships are Sigma rules (rules/detections).
type Detection interface {
	Ref() RuleRef
	Class() Class
	// Detects is asked with the matches of one entity, or with none: a
	// detection about any flow answers for itself.
	Detects(o *Observation, matches []Match) bool
	// Fallback detections speak of an entity only where no other has.
	Fallback() bool
	// Digest changes with the detection's content.
	Digest() string
	// Uses lists the fields it asks for.
	Uses() []sigma.FieldUse
}

// Enabled is the rules that are not switched off, as detections. on lists the
// ids of rules that ship switched off and are wanted.
func Enabled(list []*SigmaRule, on ...string) []Detection {
	wanted := map[string]bool{}
	for _, id := range on {
		wanted[id] = true
	}
	var out []Detection
	for _, r := range list {
		if r.Enabled || wanted[r.ID] {
			out = append(out, r)
		}
	}
	return out
}

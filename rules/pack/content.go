package pack

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"sallyport/rules"
)

// Count is how many indicators the pack holds in its long lists: a hint for
// rules.Builder.Reserve.
func (p *Pack) Count() int {
	n := 0
	for name, data := range p.files {
		if strings.HasPrefix(name, "indicators/") {
			n += bytes.Count(data, []byte("\n"))
		}
	}
	return n
}

// Entities returns the entities with all their indicators. For long lists Feed
// needs a fraction of the memory.
func (p *Pack) Entities() ([]rules.Entity, error) {
	var out []rules.Entity
	err := p.each(
		func(e rules.Entity) error { out = append(out, e); return nil },
		func(in rules.Indicator) error {
			last := &out[len(out)-1]
			last.Indicators = append(last.Indicators, in)
			return nil
		})
	return out, err
}

// Feed adds the pack's entities and indicators to a builder.
func (p *Pack) Feed(b *rules.Builder) error {
	b.Pack(p.Ref())
	return p.each(b.Entity, func(in rules.Indicator) error { return b.Indicator(&in) })
}

func (p *Pack) each(entity func(rules.Entity) error, indicator func(rules.Indicator) error) error {
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if !strings.HasPrefix(name, "entities/") {
			continue
		}
		e, err := p.entity(name)
		if err != nil {
			return err
		}
		if err := entity(*e); err != nil {
			return fmt.Errorf("pack %s: %w", p.Ref(), err)
		}
		if err := p.lines(e, indicator); err != nil {
			return fmt.Errorf("pack %s: %w", p.Ref(), err)
		}
	}
	return nil
}

// entity reads one entity file. Its name must be the entity's id, so that a
// local pack cannot hide a vendor's id behind another name.
func (p *Pack) entity(name string) (*rules.Entity, error) {
	list, err := rules.ParseEntities(name, p.files[name])
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", p.Ref(), err)
	}
	if len(list) != 1 || name != "entities/"+list[0].ID+".yaml" {
		return nil, fmt.Errorf("pack %s: %w: %s must hold the one entity it is named after", p.Ref(), ErrCorrupt, name)
	}
	return &list[0], nil
}

// lines reads the long list of an entity, if it has one.
func (p *Pack) lines(e *rules.Entity, indicator func(rules.Indicator) error) error {
	name := "indicators/" + e.ID + ".txt"
	line := 0
	for s := range bytes.SplitSeq(p.files[name], []byte("\n")) {
		line++
		if len(s) == 0 {
			continue
		}
		kind, rest, _ := strings.Cut(string(s), " ")
		value, number, ok := strings.Cut(rest, " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || n >= len(e.Indicators) {
			return fmt.Errorf("%w: %s line %d", ErrCorrupt, name, line)
		}
		in := rules.Indicator{Type: rules.IndicatorType(kind), Value: value, Provenance: e.Indicators[n].Provenance}
		if err := indicator(in); err != nil {
			return fmt.Errorf("%s line %d: %w", name, line, err)
		}
	}
	return nil
}

// Detections returns the pack's Sigma rules.
func (p *Pack) Detections(placeholders map[string][]string) ([]*rules.SigmaRule, error) {
	var out []*rules.SigmaRule
	ids := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if !strings.HasPrefix(name, "detections/") {
			continue
		}
		r, err := rules.ParseSigmaRule(path.Base(name), p.files[name], placeholders)
		if err != nil {
			return nil, err
		}
		if r.ID == "" || ids[r.ID] {
			return nil, fmt.Errorf("%s: a detection needs an id of its own", name)
		}
		ids[r.ID] = true
		out = append(out, r)
	}
	return out, nil
}

// ASN returns the prefixes of autonomous systems as they were at build, or nil.
func (p *Pack) ASN() (*ASNTable, error) {
	data, ok := p.files["asn.json"]
	if !ok {
		return nil, nil
	}
	var t ASNTable
	if err := strictJSON(data, &t); err != nil {
		return nil, fmt.Errorf("pack %s: %w: asn.json: %w", p.Ref(), ErrCorrupt, err)
	}
	clean := t.checked(nil)
	if len(clean.LeftOut) > 0 {
		return nil, fmt.Errorf("pack %s: %w: asn.json: %s", p.Ref(), ErrCorrupt, clean.LeftOut[0])
	}
	return &t, nil
}

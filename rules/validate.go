package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var (
	kinds          = []string{string(KindOrganisation), string(KindPerson), string(KindTool)}
	confidences    = []string{string(ConfidenceLow), string(ConfidenceMedium), string(ConfidenceHigh)}
	scopes         = []string{string(ScopeTool), string(ScopeVictim), string(ScopeSinkhole)}
	markings       = []string{"clear", "green", "amber", "amber+strict", "red"} // TLP 2.0
	indicatorTypes = []string{
		string(TypeIP), string(TypeCIDR), string(TypeASN), string(TypeDomain), string(TypeURLHost),
		string(TypeTLSSHA1), string(TypeTLSSHA256), string(TypeJA3), string(TypeJA4), string(TypeHASSH),
	}
)

// Validate checks the entity by itself and returns the first fault; a parsed
// file reports them all, with their lines.
func (e *Entity) Validate() error {
	if found := e.defects(); len(found) > 0 {
		f := found[0]
		return fmt.Errorf("entity %q: %s: %s; %s", e.ID, f.path, f.message, f.remedy)
	}
	return nil
}

// checker collects the faults of one entity.
type checker struct {
	sources map[string]bool
	actors  map[string]bool
	test    bool
	found   []defect
}

func (c *checker) add(path, remedy, format string, args ...any) {
	c.found = append(c.found, defect{path, fmt.Sprintf(format, args...), remedy})
}

func (e *Entity) defects() []defect {
	c := &checker{sources: map[string]bool{}, actors: map[string]bool{}, test: e.Test}
	if !validID(e.ID) {
		c.add("$.id", "use lower-case letters, digits and hyphens, at most 64", "id %q cannot be used", e.ID)
	}
	c.require("$.name", e.Name)
	c.oneOf("$.kind", string(e.Kind), kinds)
	for i, s := range e.Sources {
		c.source(at("$.sources", i), s)
	}
	for i, a := range e.Aliases {
		path := at("$.aliases", i)
		c.require(path+".name", a.Name)
		c.claim(path, a.Confidence, a.Sources)
	}
	for i, d := range e.Designations {
		c.designation(at("$.designations", i), d)
	}
	for i, a := range e.Actors {
		path := at("$.actors", i)
		c.require(path+".name", a.Name)
		c.claim(path, a.Confidence, a.Sources)
		c.actors[a.Name] = true
	}
	c.owners(e.ID, e.Owners)
	seen := map[string]bool{}
	for i := range e.Indicators {
		c.indicator(at("$.indicators", i), &e.Indicators[i], seen)
	}
	return c.found
}

func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func validID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func (c *checker) require(path, value string) {
	if strings.TrimSpace(value) == "" {
		c.add(path, "write it", "%s is missing", path[strings.LastIndexByte(path, '.')+1:])
	}
}

func (c *checker) oneOf(path, value string, allowed []string) {
	if !slices.Contains(allowed, value) {
		c.add(path, "use one of "+strings.Join(allowed, ", "), "%s %q is unknown", path[strings.LastIndexByte(path, '.')+1:], value)
	}
}

func (c *checker) date(path string, d Date) {
	if d != "" && !d.Known() {
		c.add(path, "write YYYY-MM-DD, YYYY-MM or YYYY, or leave it out when unknown", "%s %q is no date", path[strings.LastIndexByte(path, '.')+1:], d)
	}
}

// order faults a pair of dates in which the end comes before the start.
func (c *checker) order(path string, start, end Date) {
	if start.Known() && end.Known() && !end.End().After(start.Start()) {
		c.add(path, "check both dates", "%s ends before %s starts", end, start)
	}
}

func (c *checker) source(path string, s Source) {
	if !validID(s.ID) {
		c.add(path+".id", "use lower-case letters, digits and hyphens", "source id %q cannot be used", s.ID)
	}
	if c.sources[s.ID] {
		c.add(path+".id", "give each source an id of its own", "source id %q is used twice", s.ID)
	}
	c.sources[s.ID] = true
	c.require(path+".name", s.Name)
	c.date(path+".date", s.Date)
}

// claim checks what every claim needs: a confidence and a known source.
func (c *checker) claim(path string, confidence Confidence, sources []string) {
	c.oneOf(path+".confidence", string(confidence), confidences)
	c.cited(path+".sources", sources)
}

func (c *checker) cited(path string, sources []string) {
	if len(sources) == 0 {
		c.add(path, "cite at least one source by its id; what has no source is not shipped", "no source is given")
	}
	for i, id := range sources {
		c.known(at(path, i), id)
	}
}

func (c *checker) known(path, id string) {
	if !c.sources[id] {
		c.add(path, "declare it under sources, or correct the id", "source %q is not declared", id)
	}
}

func (c *checker) designation(path string, d Designation) {
	c.require(path+".authority", d.Authority)
	c.date(path+".designated", d.Designated)
	c.date(path+".lifted", d.Lifted)
	c.order(path+".lifted", d.Designated, d.Lifted)
	c.claim(path, d.Confidence, d.Sources)
}

func (c *checker) owners(id string, owners []Stake) {
	total := 0.0
	for i, o := range owners {
		path := at("$.owners", i)
		if (o.Entity == "") == (o.Name == "") {
			c.add(path, "give either the owner's entity id, or a name where it has no file", "an owner needs an entity or a name, not both")
		}
		if o.Entity == id && id != "" {
			c.add(path+".entity", "correct the owner", "%q owns itself", id)
		}
		if !(o.Percent > 0 && o.Percent <= 100) {
			c.add(path+".percent", "write a share above 0 and up to 100", "%v is no percentage", o.Percent)
		}
		c.cited(path+".sources", o.Sources)
		total += o.Percent
	}
	if total > 100 {
		c.add("$.owners", "check the shares", "the shares add up to %g %%, more than 100", total)
	}
}

func (c *checker) indicator(path string, in *Indicator, seen map[string]bool) {
	if err := CheckValue(in.Type, in.Value, c.test); err != nil {
		var v *ValueError
		where := path + ".value"
		if !slices.Contains(indicatorTypes, string(in.Type)) {
			where = path + ".type"
		}
		if errors.As(err, &v) {
			c.found = append(c.found, defect{where, v.Message, v.Remedy})
		}
	}
	key := string(in.Type) + " " + in.Value
	if seen[key] {
		c.add(path+".value", "keep one indicator and put the sources side by side", "%s is listed twice", key)
	}
	seen[key] = true
	c.provenance(path, in.Type, &in.Provenance)
}

func (c *checker) provenance(path string, kind IndicatorType, p *Provenance) {
	c.oneOf(path+".confidence", string(p.Confidence), confidences)
	if p.Scope != ScopeOwn {
		c.oneOf(path+".scope", string(p.Scope), scopes)
	}
	if p.TLP != "" {
		c.oneOf(path+".tlp", p.TLP, markings)
	}
	if p.Actor != "" && !c.actors[p.Actor] {
		c.add(path+".actor", "declare it under actors with its source and confidence", "actor %q is not declared", p.Actor)
	}
	if kind == TypeASN && p.Holder == nil {
		c.add(path, "add holder: {name: ..., listed: true or false}; numbers are issued again to strangers", "an autonomous system needs its holder")
	}
	if p.Holder != nil {
		c.require(path+".holder.name", p.Holder.Name)
	}
	for i, port := range p.Ports {
		if port == 0 {
			c.add(at(path+".ports", i), "write 1 to 65535", "0 is no port")
		}
	}
	for _, d := range []struct {
		name string
		date Date
	}{{"valid_from", p.ValidFrom}, {"valid_to", p.ValidTo}, {"last_checked", p.LastChecked}, {"seized", p.Seized}} {
		c.date(path+"."+d.name, d.date)
	}
	c.order(path+".valid_to", p.ValidFrom, p.ValidTo)
	c.claims(path+".sources", p.Sources)
}

func (c *checker) claims(path string, claims []Claim) {
	if len(claims) == 0 {
		c.add(path, "cite at least one source by its id; what has no source is not shipped", "no source is given")
	}
	for i, claim := range claims {
		path := at(path, i)
		c.known(path+".source", claim.Source)
		if claim.Confidence != "" {
			c.oneOf(path+".confidence", string(claim.Confidence), confidences)
		}
		c.date(path+".first_seen", claim.FirstSeen)
		c.date(path+".last_seen", claim.LastSeen)
		c.order(path+".last_seen", claim.FirstSeen, claim.LastSeen)
	}
}

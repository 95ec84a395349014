package pack

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"sallyport/rules"
)

// Difference is what changed from one pack to another.
type Difference struct {
	Words []string // for a person, most important first
	// Added holds the entities of the newer pack with the indicators only that
	// are not in the older one under the same entity: what a history is asked for.
	Added   []rules.Entity
	Removed []rules.Entity // likewise, the other way round
}

// namedValues bounds the values a difference names per entity; the rest is
// counted.
const namedValues = 5

// Diff says what changes when b takes the place of a.
func Diff(a, b *Pack) (*Difference, error) {
	before, err := byID(a)
	if err != nil {
		return nil, err
	}
	after, err := byID(b)
	if err != nil {
		return nil, err
	}
	d := &Difference{}
	d.manifest(a, b)
	for _, id := range bothKeys(before, after) {
		d.entity(before[id], after[id])
	}
	if err := d.detections(a, b); err != nil {
		return nil, err
	}
	if err := d.policies(a, b); err != nil {
		return nil, err
	}
	if !bytes.Equal(a.files["asn.json"], b.files["asn.json"]) {
		d.say("the prefixes of autonomous systems changed")
	}
	return d, nil
}

func (d *Difference) say(format string, args ...any) {
	d.Words = append(d.Words, fmt.Sprintf(format, args...))
}

func byID(p *Pack) (map[string]*rules.Entity, error) {
	list, err := p.Entities()
	if err != nil {
		return nil, err
	}
	out := make(map[string]*rules.Entity, len(list))
	for i := range list {
		out[list[i].ID] = &list[i]
	}
	return out, nil
}

func bothKeys[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func (d *Difference) manifest(a, b *Pack) {
	m, n := &a.Manifest, &b.Manifest
	switch {
	case m.Name != n.Name:
		d.say("these are different packs: %s and %s", a.Ref(), b.Ref())
	case n.Version < m.Version:
		d.say("%s is older than %s", b.Ref(), a.Ref())
	case n.RollbackOf != 0:
		d.say("%s goes back to the content of version %d", b.Ref(), n.RollbackOf)
	}
	if n.Shrinks {
		d.say("its signer says that agents shall take it though it holds much less")
	}
	if was, is := m.Expires.Format("2006-01-02"), n.Expires.Format("2006-01-02"); was != is {
		d.say("it expires on %s, not %s", is, was)
	}
	if a.KeyID != b.KeyID {
		d.say("it is signed by the %s key %s, not by the %s key %s", b.Role, b.KeyID, a.Role, a.KeyID)
	}
}

func (d *Difference) entity(before, after *rules.Entity) {
	switch {
	case before == nil:
		d.say("new entity %s, with %d indicators", after.Name, len(after.Indicators))
		before = &rules.Entity{ID: after.ID, Name: after.Name, Kind: after.Kind}
		d.indicators(before, after, false)
		return
	case after == nil:
		d.say("entity %s is gone, with %d indicators", before.Name, len(before.Indicators))
		d.indicators(before, &rules.Entity{ID: before.ID, Name: before.Name, Kind: before.Kind}, false)
		return
	}
	if before.Name != after.Name {
		d.say("entity %s is now named %s", before.Name, after.Name)
	}
	d.designations(before, after)
	d.indicators(before, after, true)
	if !sameHead(before, after) {
		d.say("%s: names, actors, owners, sources or notes changed", after.Name)
	}
}

func (d *Difference) designations(before, after *rules.Entity) {
	key := func(x *rules.Designation) string {
		return strings.Join(strings.Fields(strings.Join([]string{x.Authority, x.List, x.Programme, x.ListID}, " ")), " ")
	}
	old, now := map[string]*rules.Designation{}, map[string]*rules.Designation{}
	for i := range before.Designations {
		old[key(&before.Designations[i])] = &before.Designations[i]
	}
	for i := range after.Designations {
		now[key(&after.Designations[i])] = &after.Designations[i]
	}
	for _, k := range bothKeys(old, now) {
		x, y := old[k], now[k]
		switch {
		case x == nil:
			d.say("%s: new designation %s", after.Name, k)
		case y == nil:
			d.say("%s: designation %s is gone", after.Name, k)
		case x.Lifted == "" && y.Lifted != "":
			d.say("%s: designation %s was lifted on %s", after.Name, k, y.Lifted)
		case x.Lifted != "" && y.Lifted == "":
			d.say("%s: designation %s, lifted on %s, is in force again", after.Name, k, x.Lifted)
		case !reflect.DeepEqual(x, y):
			d.say("%s: designation %s changed", after.Name, k)
		}
	}
}

// indicators compares by type and value; say is false where the entity's coming
// or going has said it all.
func (d *Difference) indicators(before, after *rules.Entity, say bool) {
	old, now := indicatorsOf(before), indicatorsOf(after)
	var added, removed []rules.Indicator
	var news, gone []string
	changed := 0
	for i := range after.Indicators {
		in := &after.Indicators[i]
		o, had := old[indicatorKey(in)]
		switch {
		case !had:
			added, news = append(added, *in), append(news, in.Value)
		case say && !reflect.DeepEqual(o, in):
			changed++
		}
	}
	for i := range before.Indicators {
		in := &before.Indicators[i]
		if _, has := now[indicatorKey(in)]; !has {
			removed, gone = append(removed, *in), append(gone, in.Value)
		}
	}
	if len(added) > 0 {
		e := *after
		e.Indicators = added
		d.Added = append(d.Added, e)
	}
	if len(removed) > 0 {
		e := *before
		e.Indicators = removed
		d.Removed = append(d.Removed, e)
	}
	if !say {
		return
	}
	if len(news) > 0 {
		d.say("%s: %d new indicators: %s", after.Name, len(news), someOf(news))
	}
	if len(gone) > 0 {
		d.say("%s: %d indicators are gone: %s", after.Name, len(gone), someOf(gone))
	}
	if changed > 0 {
		d.say("%s: %d indicators changed in dates, confidence, role or source", after.Name, changed)
	}
}

func indicatorKey(in *rules.Indicator) string { return string(in.Type) + " " + in.Value }

func indicatorsOf(e *rules.Entity) map[string]*rules.Indicator {
	out := make(map[string]*rules.Indicator, len(e.Indicators))
	for i := range e.Indicators {
		out[indicatorKey(&e.Indicators[i])] = &e.Indicators[i]
	}
	return out
}

func someOf(values []string) string {
	if len(values) <= namedValues {
		return strings.Join(values, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(values[:namedValues], ", "), len(values)-namedValues)
}

// sameHead compares what is neither designation nor indicator nor name.
func sameHead(a, b *rules.Entity) bool {
	x, y := *a, *b
	x.Designations, x.Indicators, x.Name = nil, nil, ""
	y.Designations, y.Indicators, y.Name = nil, nil, ""
	return reflect.DeepEqual(&x, &y)
}

func (d *Difference) detections(a, b *Pack) error {
	old, err := detectionsByID(a)
	if err != nil {
		return err
	}
	now, err := detectionsByID(b)
	if err != nil {
		return err
	}
	for _, id := range bothKeys(old, now) {
		x, y := old[id], now[id]
		switch {
		case x == nil:
			d.say("new detection %q", y.Title)
		case y == nil:
			d.say("detection %q is gone", x.Title)
		case x.Enabled != y.Enabled:
			d.say("detection %q is switched %s", y.Title, map[bool]string{true: "on", false: "off"}[y.Enabled])
		case !bytes.Equal(a.files["detections/"+x.File], b.files["detections/"+y.File]):
			d.say("detection %q changed", y.Title)
		}
	}
	return nil
}

// policies says what is silenced anew, and no longer.
func (d *Difference) policies(a, b *Pack) error {
	old, err := silenced(a)
	if err != nil {
		return err
	}
	now, err := silenced(b)
	if err != nil {
		return err
	}
	for _, entry := range bothKeys(old, now) {
		switch {
		case !old[entry]:
			d.say("silences from now on: %s", entry)
		case !now[entry]:
			d.say("no longer silences: %s", entry)
		}
	}
	return nil
}

// silenced puts every entry of the policies in words.
func silenced(p *Pack) (map[string]bool, error) {
	allow, approved, err := p.Policies()
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	if allow != nil {
		for _, e := range allow.Allow {
			out[entryWords("allow-list", e.Exception, "value", e.Value, "entity", e.Entity, "executable", e.Executable, "host", e.Host)] = true
		}
	}
	if approved != nil {
		for _, e := range approved.Approved {
			out[entryWords("approved tool", e.Exception, "product", e.Product, "endpoint", e.Endpoint, "owner", e.Owner, "user", e.User)] = true
		}
	}
	return out, nil
}

// entryWords names what is set of an entry; pairs are a word and its value.
func entryWords(kind string, e rules.Exception, pairs ...string) string {
	var b strings.Builder
	b.WriteString(kind)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(&b, ", %s %s", pairs[i], pairs[i+1])
		}
	}
	fmt.Fprintf(&b, " (%s; %s, until %s)", e.Reason, e.Author, e.Until)
	return b.String()
}

func detectionsByID(p *Pack) (map[string]*rules.SigmaRule, error) {
	list, err := p.Detections(nil)
	if err != nil {
		return nil, err
	}
	out := map[string]*rules.SigmaRule{}
	for _, r := range list {
		out[r.ID] = r
	}
	return out, nil
}

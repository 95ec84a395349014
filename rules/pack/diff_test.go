package pack

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/rules"
)

func TestDiff(t *testing.T) {
	a := mustOpen(t, build(t, contents(3), vendor(t)), rootTrust)
	c := contents(4)
	c.Expires = c.Expires.AddDate(0, 1, 0)
	one := entity("one", "192.0.2.2", "192.0.2.3", "192.0.2.4")
	one.Designations[0].Lifted = "2026-10-01"
	one.Indicators[0].Role = "c2"
	one.Aliases = []rules.Alias{{Name: "Uno", Confidence: rules.ConfidenceLow, Sources: []string{"s"}}}
	c.Entities = []rules.Entity{one, entity("three", "203.0.113.1")}
	c.Detections, c.ASN = nil, nil
	c.Allow = []byte("allow: [{value: 192.0.2.1, host: \"db-*\", reason: ours, author: me, until: \"2027-01-01\"}]")
	b := mustOpen(t, build(t, c, vendor(t)), rootTrust)
	d, err := Diff(a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"it expires on 2027-01-01, not 2026-12-01",
		"ONE: designation OFAC CYBER2 was lifted on 2026-10-01",
		"ONE: 2 new indicators: 192.0.2.3, 192.0.2.4",
		"ONE: 1 indicators are gone: 192.0.2.1",
		"ONE: 1 indicators changed in dates, confidence, role or source",
		"ONE: names, actors, owners, sources or notes changed",
		"new entity THREE, with 1 indicators",
		"entity TWO is gone, with 1 indicators",
		`detection "D" is gone`,
		"silences from now on: allow-list, value 192.0.2.1, host db-* (ours; me, until 2027-01-01)",
		"the prefixes of autonomous systems changed",
	}
	if diff := cmp.Diff(d.Words, want); diff != "" {
		t.Errorf("words (-got +want):\n%s", diff)
	}
	values := func(list []rules.Entity) (out []string) {
		for _, e := range list {
			for _, in := range e.Indicators {
				out = append(out, e.ID+" "+in.Value)
			}
		}
		return out
	}
	if diff := cmp.Diff(values(d.Added), []string{"one 192.0.2.3", "one 192.0.2.4", "three 203.0.113.1"}); diff != "" {
		t.Errorf("added:\n%s", diff)
	}
	if diff := cmp.Diff(values(d.Removed), []string{"one 192.0.2.1", "two 198.51.100.1"}); diff != "" {
		t.Errorf("removed:\n%s", diff)
	}
	same, err := Diff(a, a)
	if err != nil || len(same.Words) != 0 || len(same.Added) != 0 {
		t.Errorf("a pack differs from itself: %+v, %v", same, err)
	}
	back, err := Diff(b, a)
	if err != nil || back.Words[0] != "sallyport 3 is older than sallyport 4" {
		t.Errorf("backwards: %q, %v", back.Words, err)
	}
}

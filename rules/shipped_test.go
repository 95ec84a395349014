package rules

import (
	"strings"
	"testing"
	"time"
)

// TestShippedWarnings holds that the warnings of the facts are built in.
func TestShippedWarnings(t *testing.T) {
	set := shippedSet(t)
	at := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		value  string
		entity string // "" for none
		check  func(m *Match) bool
		about  string
	}{
		{"114.255.70.20", "integrity-technology-group", func(m *Match) bool {
			return len(m.Indicator.Sources) == 3 && m.Indicator.LastSeen == "2024-06-28" && m.Indicator.Age == "stale" && m.Indicator.Ports[0] == 34125
		}, "sources stand side by side, and the address is stale"},
		{"1.34.140.5", "integrity-technology-group", func(m *Match) bool { return m.Indicator.LastSeen != "" }, "a row with dates"},
		{"youtubecard.com", "integrity-technology-group", func(m *Match) bool { return m.Indicator.Seized == "2026-10-08" }, "seized"},
		{"1vpns.com", "first-vpn-service", func(m *Match) bool { return m.Indicator.Seized == "2026-05-20" }, "seized"},
		{"anything.w8510.com", "integrity-technology-group", func(m *Match) bool { return m.Indicator.Value == "w8510.com" }, "names below"},
		{"AS203273", "aeza-group", func(m *Match) bool { return m.Indicator.Holder != nil && !m.Indicator.Holder.Listed }, "holder not listed"},
		{"AS211522", "hypercore", func(m *Match) bool { return m.Indicator.Age == "expired" }, "dark since February 2026"},
		{"91.240.242.1", "media-land", func(m *Match) bool { return m.Indicator.Holder != nil && !m.Indicator.Holder.Listed }, "let to others"},
		{"t13d880900_fcb5b95cb75a_b0d3b4ac2a14", "softether-vpn", func(m *Match) bool { return m.Indicator.Scope == ScopeTool && len(m.Designations) == 0 }, "a tool"},
		{"AS216071", "", nil, "never belonged to Zservers"},
		{"AS215552", "", nil, "never belonged to Hypercore"},
		{"AS152194", "", nil, "CTG Server is not designated"},
		{"softether.net", "", nil, "everybody's zone"},
		{"vpn123.softether.net", "", nil, "everybody's zone"},
		{"ooguy.com", "", nil, "everybody's zone"},
		{"t.me", "", nil, "everybody's host"},
		{"2.3.20.2", "", nil, "a version number of Apache Struts"},
		{"2.223.66.103", "", nil, "92.223.66.103 with its leading 9 lost"},
		{"wshnews.com", "", nil, "the tie to a company rests on memory alone"},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			ms, err := set.Lookup(tt.value, at)
			if err != nil {
				t.Fatal(err)
			}
			if tt.entity == "" {
				if len(ms) > 0 {
					t.Errorf("tied to %s: %s", ms[0].Entity.ID, tt.about)
				}
				return
			}
			if len(ms) == 0 || ms[0].Entity.ID != tt.entity || !tt.check(&ms[0]) {
				t.Errorf("%s: got %+v", tt.about, ms)
			}
		})
	}
}

// TestShippedEntities holds what every entity that ships must have.
func TestShippedEntities(t *testing.T) {
	entities, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	tests := 0
	for i := range entities {
		e := &entities[i]
		if e.Test {
			tests++
		}
		if e.Kind != KindTool && len(e.Designations) == 0 {
			t.Errorf("%s has no designation", e.ID)
		}
		if strings.Contains(strings.ToLower(e.ID+e.Name), "xiaoruizhi") {
			t.Errorf("%s rests on memory alone", e.ID)
		}
		for _, d := range e.Designations {
			if len(d.Sources) == 0 {
				t.Errorf("%s: a designation without a source", e.ID)
			}
		}
	}
	if len(entities) < 80 || tests != 1 {
		t.Errorf("%d entities, %d of them tests", len(entities), tests)
	}
}

// TestShippedLegalFacts holds the legal facts of the main pack.
func TestShippedLegalFacts(t *testing.T) {
	ms, err := shippedSet(t).Lookup("w8510.com", testNow)
	if err != nil || len(ms) != 1 || len(ms[0].Designations) == 0 {
		t.Fatalf("got %+v, %v", ms, err)
	}
	d := ms[0].Designations[0]
	if d.ListID != "50543" || d.Designated != "2025-01-03" || !strings.Contains(d.LegalBasis, "13694") || !strings.HasSuffix(d.Reference, "jy2769") {
		t.Errorf("designation %+v", d)
	}
}

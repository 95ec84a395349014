package rules

import (
	"testing"
	"time"
)

func TestAgeAt(t *testing.T) {
	sources := map[string]Source{"new": {Date: "2026-10"}, "old": {Date: "2023"}, "none": {}}
	flow := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		kind IndicatorType
		p    Provenance
		want Age
	}{
		{"seen lately", TypeIP, Provenance{Sources: []Claim{{Source: "old", LastSeen: "2026-11-01"}}}, AgeCurrent},
		{"one of two seen lately", TypeIP, Provenance{Sources: []Claim{{Source: "old", LastSeen: "2020"}, {Source: "new", LastSeen: "2026-10"}}}, AgeCurrent},
		{"seen long ago", TypeIP, Provenance{Sources: []Claim{{Source: "old", LastSeen: "2024-06-28"}}}, AgeStale},
		{"a certificate keeps longer", TypeTLSSHA1, Provenance{Sources: []Claim{{Source: "old", LastSeen: "2025-06-28"}}}, AgeCurrent},
		{"checked lately", TypeASN, Provenance{LastChecked: "2026-09-25", Sources: []Claim{{Source: "old"}}}, AgeCurrent},
		{"undated", TypeIP, Provenance{Sources: []Claim{{Source: "new"}}}, AgeUndated},
		{"undated and old", TypeIP, Provenance{Sources: []Claim{{Source: "old"}}}, AgeOld},
		{"nothing known", TypeIP, Provenance{Sources: []Claim{{Source: "none"}}}, AgeOld},
		{"expired", TypeASN, Provenance{ValidTo: "2026-02", LastChecked: "2026-11-01", Sources: []Claim{{Source: "new"}}}, AgeExpired},
		{"valid through the month", TypeASN, Provenance{ValidTo: "2026-11", Sources: []Claim{{Source: "new", LastSeen: "2026-11"}}}, AgeCurrent},
		{"not yet valid", TypeASN, Provenance{ValidFrom: "2026-12", Sources: []Claim{{Source: "new"}}}, AgeEarly},
		{"first seen long after", TypeIP, Provenance{Sources: []Claim{{Source: "new", FirstSeen: "2028", LastSeen: "2028"}}}, AgeEarly},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := shared{kind: tt.kind, Provenance: tt.p}
			if got := s.ageAt(flow, sources); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestDate(t *testing.T) {
	for _, bad := range []Date{"", "unknown", "2024-13", "2024-02-30", "24-01-01", "2024-1-1", "2024/01/01"} {
		if bad.Known() || !bad.Start().IsZero() || !bad.End().IsZero() {
			t.Errorf("%q is taken for a date", bad)
		}
	}
	if got := Date("2026-02").End(); !got.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("2026-02 ends at %v", got)
	}
}

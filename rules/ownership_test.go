package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// company writes an entity; owners are "id share".
func company(id string, designated bool, owners ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "id: %s\nname: %s\nkind: organisation\nsources: [{id: s, name: S}]\n", id, strings.ToUpper(id))
	if designated {
		b.WriteString("designations: [{authority: OFAC, designated: \"2025\", confidence: high, sources: [s]}]\n")
	}
	if len(owners) > 0 {
		b.WriteString("owners:\n")
	}
	for _, o := range owners {
		owner, share, _ := strings.Cut(o, " ")
		fmt.Fprintf(&b, "  - {entity: %s, percent: %s, sources: [s]}\n", owner, share)
	}
	return b.String()
}

func TestOwnership(t *testing.T) {
	tests := []struct {
		name  string
		files []string
		want  string // the chain of "x", empty when not blocked
	}{
		{"exactly half", []string{company("a", true), company("x", false, "a 50")}, "A holds 50 % of X"},
		{"just under", []string{company("a", true), company("x", false, "a 49.9")}, ""},
		{"added up", []string{company("a", true), company("b", true), company("x", false, "a 25", "b 25")}, "A holds 25 % of X; B holds 25 % of X"},
		{"through another", []string{company("a", true), company("m", false, "a 50"), company("x", false, "m 50")}, "M holds 50 % of X; A holds 50 % of M"},
		{"direct and through another", []string{company("a", true), company("m", false, "a 80"), company("x", false, "m 30", "a 20")}, "M holds 30 % of X; A holds 80 % of M; A holds 20 % of X"},
		{"an owner that is not blocked does not pass on", []string{company("a", true), company("m", false, "a 49"), company("x", false, "m 100")}, ""},
		{"an owner that is not listed", []string{company("m", false), company("x", false, "m 100")}, ""},
		{"blocked by name needs no chain", []string{company("a", true), company("x", true, "a 100")}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set := compileTest(t, tt.files...)
			if got := strings.Join(chainOf(set, "x", testNow), "; "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func chainOf(s *Set, id string, at time.Time) []string {
	by, _ := s.owned.asOf(id, at)
	return by.chain
}

// TestOwnershipFollowsTheFlowsTime: a designation that will be lifted is in force
// until then, and one that has been was before.
func TestOwnershipFollowsTheFlowsTime(t *testing.T) {
	lifted := strings.Replace(company("a", true), `designated: "2025"`, `designated: "2025", lifted: "2026-06-15"`, 1)
	set := compileTest(t, lifted, company("m", false, "a 60"), company("x", false, "m 50"))
	for day, want := range map[string]bool{"2026-06-14": true, "2026-06-15": false, "2027-01-01": false} {
		if got := len(chainOf(set, "x", Date(day).Start())) > 0; got != want {
			t.Errorf("on %s blocked by ownership: %t, want %t", day, got, want)
		}
	}
	// Many owners of many owners are asked about once each.
	files := []string{company("top", true)}
	below := "top"
	for i := range 40 {
		l, r, next := fmt.Sprintf("l%d", i), fmt.Sprintf("r%d", i), fmt.Sprintf("n%d", i)
		files = append(files, company(l, false, below+" 50"), company(r, false, below+" 50"), company(next, false, l+" 50", r+" 50"))
		below = next
	}
	if chain := chainOf(compileTest(t, files...), below, testNow); len(chain) != 160 {
		t.Errorf("a chain of %d links, want each of 160 once", len(chain))
	}
}

func TestOwnershipErrors(t *testing.T) {
	tests := []struct {
		name, want string
		files      []string
	}{
		{"cycle", "cycle: a is owned by b is owned by a", []string{company("a", false, "b 60"), company("b", false, "a 60")}},
		{"unknown owner", `owner "nobody", which no file defines`, []string{company("a", false, "nobody 60")}},
		{"same id", `"a" is used twice`, []string{company("a", false), company("a", false)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var entities []Entity
			for _, f := range tt.files {
				found, err := ParseEntities("x.yaml", []byte(f))
				if err != nil {
					t.Fatal(err)
				}
				entities = append(entities, found...)
			}
			_, err := Compile(Pack{Name: "p"}, entities, Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestOwnershipInMatch(t *testing.T) {
	owned := company("x", false, "a 60") + "indicators: [{type: ip, value: 5.6.7.8, confidence: high, sources: [{source: s, last_seen: \"2026-11\"}]}]\n"
	set := compileTest(t, company("a", true), owned)
	ms := set.Match(flowTo("5.6.7.8"), testNow)
	if len(ms) != 1 || len(ms[0].Designations) != 1 || !strings.Contains(ms[0].Statement, "possibly blocked by ownership: A holds 60 % of X") {
		t.Fatalf("got %+v", ms)
	}
	c := CircumstancesOf(flowTo("5.6.7.8"), &ms[0], ClassContact, false, testNow)
	if c.Legal != LegalOwned {
		t.Errorf("legal standing %s, want owned", c.Legal)
	}
}

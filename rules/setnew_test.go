package rules

import (
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewValues(t *testing.T) {
	entity := "e"
	compile := func(values ...Indicator) *Set {
		t.Helper()
		for i := range values {
			values[i].Confidence = ConfidenceHigh
		}
		s, err := Compile(Pack{Name: "p"}, []Entity{{ID: entity, Name: "E", Kind: KindOrganisation, Indicators: values}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ip := func(v string) Indicator { return Indicator{Type: TypeIP, Value: v} }
	old := compile(ip("5.188.33.135"), Indicator{Type: TypeDomain, Value: "w8510.com"})
	next := compile(ip("5.188.33.135"), ip("114.255.70.20"), Indicator{Type: TypeCIDR, Value: "45.80.215.0/24"},
		Indicator{Type: TypeASN, Value: "AS210644"}, Indicator{Type: TypeDomain, Value: "w8510.com"}, Indicator{Type: TypeDomain, Value: "b2047.com"})
	var got []string
	for tie := range next.New(old) {
		got = append(got, string(tie.Type)+" "+tie.Value)
	}
	slices.Sort(got)
	want := []string{"asn AS210644", "cidr 45.80.215.0/24", "domain b2047.com", "ip 114.255.70.20"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("new values (-want +got):\n%s", diff)
	}
	count := func(ties iter.Seq[Tie]) (n int) {
		for range ties {
			n++
		}
		return n
	}
	if n := count(next.New(nil)); n != 6 {
		t.Errorf("%d ties are new against nothing, want 6", n)
	}
	if n := count(next.New(next)); n != 0 {
		t.Errorf("%d ties are new against themselves", n)
	}
	entity = "another"
	if n := count(compile(ip("5.188.33.135")).New(old)); n != 1 {
		t.Errorf("%d ties are new where another entity comes to a value, want 1", n)
	}
}

package flow

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/protocol"
	"sallyport/rules"
)

func TestNamesOfAFlow(t *testing.T) {
	f := Flow{Facts: protocol.Facts{
		TLS:    &protocol.TLS{SNI: "A.example.", QUIC: true},
		Hidden: &protocol.Hidden{Host: "Behind.example", By: "socks5"},
	}}
	o := rules.Observation{
		TLS:    &rules.TLSFacts{Certificates: []rules.CertificateFact{{Names: []string{"*.example", "a.example", "A.EXAMPLE"}}}},
		Hidden: hidden(f.Facts.Hidden),
	}
	f.names(&o)
	var got []string
	for _, n := range o.Names {
		got = append(got, n.Source+" "+n.Name)
	}
	want := "quic_sni a.example, certificate *.example, certificate a.example, socks behind.example"
	if diff := cmp.Diff(want, strings.Join(got, ", ")); diff != "" {
		t.Error(diff)
	}
	var none rules.Observation
	(&Flow{}).names(&none)
	if none.Names != nil {
		t.Errorf("names out of nothing: %v", none.Names)
	}
}

package agent

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

func TestRelays(t *testing.T) {
	hidden := func(by string) *rules.Hidden { return &rules.Hidden{Host: "x.example", Port: 80, By: by} }
	inbound := rules.Observation{Direction: rules.Inbound, Outcome: rules.OutcomeData}
	with := func(o rules.Observation, change func(*rules.Observation)) rules.Observation { change(&o); return o }
	outbound := rules.Observation{Direction: rules.Outbound, Outcome: rules.OutcomeData}
	for name, test := range map[string]struct {
		o    rules.Observation
		want string
	}{
		"CONNECT":                         {with(inbound, func(o *rules.Observation) { o.Hidden = hidden("http_connect") }), relayProxy},
		"an absolute target":              {with(inbound, func(o *rules.Observation) { o.Hidden = hidden("http_proxy") }), relayProxy},
		"SOCKS":                           {with(inbound, func(o *rules.Observation) { o.Hidden = hidden("socks5") }), relayProxy},
		"DNS":                             {with(inbound, func(o *rules.Observation) { o.Local.Port = 53 }), relayResolver},
		"DNS without an answer":           {with(inbound, func(o *rules.Observation) { o.Local.Port, o.Outcome = 53, rules.OutcomeAttempted }), ""},
		"a PROXY header that is sent":     {with(outbound, func(o *rules.Observation) { o.Hidden = hidden("proxy_header") }), relayProxy},
		"a PROXY header that is received": {with(inbound, func(o *rules.Observation) { o.Hidden = hidden("proxy_header") }), ""},
		"a client that asks":              {with(outbound, func(o *rules.Observation) { o.Hidden = hidden("socks5") }), ""},
		"nothing of the kind":             {inbound, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := relayed(&test.o); got != test.want {
				t.Errorf("relays %q, want %q", got, test.want)
			}
		})
	}
}

// What a relay opens for others is marked and has no client, unless it names it.
func TestRelaysFlowsAreMarked(t *testing.T) {
	r, owner := newRelays(unknownProcess), sensor.OwnerRef{Process: holder}
	asked := rules.Observation{Direction: rules.Inbound, Hidden: &rules.Hidden{Host: "x.example", By: "socks5"}}
	r.mark(&asked, owner)
	opened := rules.Observation{Direction: rules.Outbound}
	r.mark(&opened, owner)
	if opened.Owner.Intermediary != relayProxy || len(opened.Notes) != 1 || !strings.Contains(opened.Notes[0], "client unknown") {
		t.Errorf("marked %q, notes %v", opened.Owner.Intermediary, opened.Notes)
	}
	named := rules.Observation{Direction: rules.Outbound, Hidden: &rules.Hidden{Addr: netip.MustParseAddr("192.0.2.1"), By: "proxy_header"}}
	r.mark(&named, owner)
	if named.Owner.Intermediary != relayProxy || len(named.Notes) != 0 {
		t.Errorf("one that names its client: marked %q, notes %v", named.Owner.Intermediary, named.Notes)
	}
}

func TestPrivateDNSIsNoticed(t *testing.T) {
	a := newAskers()
	flows := []struct {
		owner sensor.ProcessRef
		o     rules.Observation
	}{
		{holder, rules.Observation{Direction: rules.Outbound, Outcome: rules.OutcomeData, TLS: &rules.TLSFacts{SNI: "Mozilla.Cloudflare-DNS.com"}}},
		{passer, rules.Observation{Direction: rules.Outbound, Outcome: rules.OutcomeData, Remote: rules.Endpoint{Addr: netip.MustParseAddr("192.0.2.53"), Port: 853}}},
		{another, rules.Observation{Direction: rules.Outbound, Outcome: rules.OutcomeData, TLS: &rules.TLSFacts{SNI: "notdns.google.example"}}},
		{another, rules.Observation{Direction: rules.Inbound, Outcome: rules.OutcomeData, TLS: &rules.TLSFacts{SNI: "dns.google"}}},
		{another, rules.Observation{Direction: rules.Outbound, Outcome: rules.OutcomeRefused, TLS: &rules.TLSFacts{SNI: "dns.google"}}},
	}
	for _, f := range flows {
		a.notice(&f.o, sensor.OwnerRef{Process: f.owner})
	}
	got := a.seen(func(ref sensor.ProcessRef) (sensor.Process, bool) { return sensor.Process{Executable: "/bin/x"}, true })
	want := []string{
		"/bin/x (pid 4000001) asks mozilla.cloudflare-dns.com by HTTPS",
		"/bin/x (pid 4000002) asks 192.0.2.53 by TLS or QUIC (port 853)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i := range uint32(maxAskers * 2) {
		a.notice(&flows[0].o, sensor.OwnerRef{Process: sensor.ProcessRef{PID: 1 + i}})
	}
	if n := len(a.whom); n > maxAskers {
		t.Errorf("%d are remembered, the bound is %d", n, maxAskers)
	}
}

// A proxy that shows itself by its answer has its flows marked that ended before.
func TestFlowsBeforeTheAnswerAreMarked(t *testing.T) {
	r, owner := newRelays(unknownProcess), sensor.OwnerRef{Process: holder}
	opened := observed{o: rules.Observation{Direction: rules.Outbound, FlowID: "own"}, owner: owner, last: true}
	other := observed{o: rules.Observation{Direction: rules.Outbound, FlowID: "other's"}, owner: sensor.OwnerRef{Process: another}, last: true}
	r.ended(&opened)
	r.ended(&other)
	if len(r.belated()) != 0 {
		t.Fatal("judged again before anything is known")
	}
	r.mark(&rules.Observation{Direction: rules.Inbound, Hidden: &rules.Hidden{Host: "x.example", By: "http_proxy"}}, owner)
	late := r.belated()
	if len(late) != 1 || late[0].o.FlowID != "own" || late[0].last {
		t.Fatalf("to be judged again: %+v", late)
	}
	r.mark(&late[0].o, late[0].owner)
	if late[0].o.Owner.Intermediary != relayProxy || len(r.belated()) != 0 {
		t.Errorf("marked %q", late[0].o.Owner.Intermediary)
	}
	for range maxRecent + 5 {
		r.ended(&other)
	}
	if n := len(r.recent); n != maxRecent {
		t.Errorf("%d flows are remembered, the bound is %d", n, maxRecent)
	}
}

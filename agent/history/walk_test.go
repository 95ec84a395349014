package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/rules"
	"sallyport/rules/sigma"
)

func TestWalk(t *testing.T) {
	h := newHistory(t, nil)
	for i := range 5 {
		h.Add(flow(fmt.Sprint(i), fmt.Sprintf("192.0.2.%d:443", i+1), 60*i))
	}
	flush(t, h)
	var got []string
	err := h.Walk(t.Context(), true, func(p Past) bool {
		got = append(got, p.Observation.Remote.Addr.String())
		return true
	})
	if diff := cmp.Diff([]string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	n := 0
	if err := h.Walk(t.Context(), false, func(Past) bool { n++; return n < 2 }); err != nil || n != 2 {
		t.Errorf("had enough after %d: %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n = 0
	err = h.Walk(ctx, false, func(Past) bool { n++; cancel(); return true })
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("cancelled after %d: %v", n, err)
	}
}

// TestWritingGoesOnDuringAWalk holds that the file is not kept open from the
// first hour to the last.
func TestWritingGoesOnDuringAWalk(t *testing.T) {
	h := newHistory(t, nil)
	const hours = 1000
	for i := range hours {
		h.Add(flow(fmt.Sprint(i), fmt.Sprintf("192.0.%d.%d:443", i/200, i%200+1), 60*(i-hours)))
	}
	flush(t, h)
	written, walked := make(chan error, 1), 0
	err := h.Walk(t.Context(), false, func(Past) bool {
		if walked++; walked == 1 {
			h.Add(flow("new", "192.0.2.99:443", 60*10))
			go func() { written <- h.Flush() }()
		}
		time.Sleep(2 * time.Millisecond) // long enough for a mutex to be handed on (package sync)
		return len(written) == 0
	})
	if err != nil {
		t.Fatal(err)
	}
	if walked == hours {
		t.Error("nothing could be written while the history was walked")
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// TestKeeps holds the lists to what a row gives back: a field that is kept reads
// as it did, one that is not does not.
func TestKeeps(t *testing.T) {
	for _, direction := range []rules.Direction{rules.Outbound, rules.Inbound, rules.DirectionUnknown} {
		h := newHistory(t, nil)
		live, other := fullFlow(direction), fullFlow(direction)
		other.FlowID, other.Owner.Process.PID = "other", 99
		h.Add(other) // of the same row
		h.Add(live)
		flush(t, h)
		var past *rules.Observation
		if err := h.Query(t.Context(), Filter{}, func(p Past) bool { past = &p.Observation; return true }); err != nil || past == nil {
			t.Fatal(err)
		}
		for _, section := range rules.FieldSections {
			if section.Title == "Match" {
				continue
			}
			for _, f := range section.Fields {
				before, had := f.Get(live, nil)
				after, has := f.Get(past, nil)
				if !had && f.Name != "owner.intermediary" && direction != rules.DirectionUnknown {
					t.Errorf("%s: the test's flow has no %s", direction, f.Name)
				}
				if same := had == has && cmp.Equal(spelt(before), spelt(after)); same != Keeps(f.Name, direction) {
					t.Errorf("%s flow: %s was %v and is %v, kept: %t", direction, f.Name, spelt(before), spelt(after), Keeps(f.Name, direction))
				}
			}
		}
	}
	for name := range maps.Keys(notKept) {
		if _, ok := rules.FieldByName(name); !ok {
			t.Errorf("%s is no field", name)
		}
	}
}

// spelt is a value as text; the order and number of a list's texts say nothing.
func spelt(v sigma.Value) string {
	list := slices.Sorted(slices.Values(v.List))
	return fmt.Sprint(v.Text, v.Num, v.Bool, v.Addr, slices.Compact(list))
}

func fullFlow(direction rules.Direction) *rules.Observation {
	o := flow("full", "192.0.2.1:443", 0)
	o.Direction, o.Local = direction, rules.Endpoint{Addr: netip.MustParseAddr("2001:db8::9"), Port: 3389}
	o.Query = "asked.example"
	o.Owner.Parents = []rules.Process{{PID: 7, Executable: "/bin/sh", Args: []string{"sh"}}}
	o.Owner.Process.Name, o.Owner.Process.User = "app", "alice"
	o.Owner.Container = &rules.Container{ID: "c1", Runtime: "containerd", PodUID: "u", Pod: "p", Namespace: "n", Workload: "w", Image: "i"}
	o.Identification = rules.Identification{Protocol: "rdp", State: "confirmed", Product: "FreeRDP", Evidence: "x", Source: "packets"}
	o.Names = []rules.Name{{Name: "named.example", Source: "dns", At: base}, {Name: "asked.example", Source: "dns_query", At: base}}
	o.Hidden = &rules.Hidden{By: "http_connect", Host: "hidden.example", Port: 443}
	o.TLS = &rules.TLSFacts{SNI: "sni.example", ALPN: []string{"h2"}, Version: "TLS 1.3", JA3: strings.Repeat("a1", 16), JA4: "t13d1516h2_8daaf6152771_b186095e22b6", ECH: true,
		Certificates: []rules.CertificateFact{{SHA1: strings.Repeat("a1", 20), SHA256: strings.Repeat("b2", 32), Subject: "CN=s", Issuer: "CN=i"}}}
	o.SSH = &rules.SSHFacts{ClientVersion: "SSH-2.0-a", ServerVersion: "SSH-2.0-b", HASSH: strings.Repeat("c3", 16), HASSHServer: strings.Repeat("d4", 16)}
	o.Geo = &rules.Geo{Country: "NL", City: "Delft", ASN: 64500, Organisation: "O"}
	o.Notes = []string{"a note"}
	return o
}

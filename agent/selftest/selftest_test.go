package selftest

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

func TestContactMakesARealConnection(t *testing.T) {
	testenv.Privileged(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := contact(ctx, netip.AddrPortFrom(remoteAddr.Addr(), 3389)); err != nil {
		t.Fatal(err)
	}
}

type fixed []rules.Finding

func (f fixed) Findings(context.Context) ([]rules.Finding, error) { return f, nil }

func TestAwait(t *testing.T) {
	remote := netip.MustParseAddrPort("203.0.113.10:3389")
	now := time.Now()
	good := rules.Finding{Test: true, Observation: rules.Observation{
		Last: now, Direction: rules.Outbound,
		Remote:         rules.Endpoint{Addr: remote.Addr(), Port: remote.Port()},
		Identification: rules.Identification{Protocol: "rdp", State: "confirmed"},
		Owner:          rules.Owner{Process: &rules.Process{PID: uint32(os.Getpid())}},
	}}
	change := func(f func(*rules.Finding)) rules.Finding {
		c := good
		f(&c)
		return c
	}
	tests := []struct {
		name  string
		found rules.Finding
		want  error
	}{
		{"right", good, nil},
		{"not a test", change(func(f *rules.Finding) { f.Test = false }), ErrNoFinding},
		{"older run", change(func(f *rules.Finding) { f.Observation.Last = now.Add(-time.Hour) }), ErrNoFinding},
		{"suspected only", change(func(f *rules.Finding) { f.Observation.Identification.State = "suspected" }), ErrNoFinding},
		{"other owner", change(func(f *rules.Finding) { f.Observation.Owner.Process = &rules.Process{PID: 1} }), ErrNoFinding},
		{"owner unknown", change(func(f *rules.Finding) { f.Observation.Owner.Process = nil }), ErrNoFinding},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := await(ctx, fixed{test.found}, remote, now); !errors.Is(err, test.want) {
				t.Errorf("await: %v, want %v", err, test.want)
			}
		})
	}
}

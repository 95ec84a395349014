package doctor

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"sallyport/agent/sensor"
)

// fake is a sensor without a kernel behind it.
type fake struct {
	err   error
	hooks []sensor.HookState
}

func (fake) Name() string { return "fake" }
func (f fake) Run(ctx context.Context, _ sensor.Handler, ready func()) error {
	if f.err != nil {
		return f.err
	}
	ready()
	<-ctx.Done()
	return nil
}
func (fake) SetPrefixes([]netip.Prefix) (sensor.PrefixReport, error) {
	return sensor.PrefixReport{}, nil
}
func (fake) Done(sensor.FlowKey)                                 {}
func (f fake) Hooks() []sensor.HookState                         { return f.hooks }
func (fake) Counters() sensor.Counters                           { return sensor.Counters{} }
func (fake) Process(sensor.ProcessRef) (sensor.Process, bool)    { return sensor.Process{}, false }
func (fake) Tunnel(sensor.ProcessRef) (sensor.TunnelFacts, bool) { return sensor.TunnelFacts{}, false }

func TestSensors(t *testing.T) {
	up := sensor.HookState{Name: "egress", Attached: true, Canary: true}
	silent := sensor.HookState{Name: "exec", Attached: true}
	absent := sensor.HookState{Name: "seed", Error: "not supported", Consequence: "older sockets have no owner"}
	tests := []struct {
		name   string
		sensor fake
		worst  Level
		checks int
	}{
		{"all up", fake{hooks: []sensor.HookState{up}}, OK, 1},
		{"silent is no fault", fake{hooks: []sensor.HookState{up, silent}}, OK, 2},
		{"absent is degraded", fake{hooks: []sensor.HookState{up, absent}}, Degraded, 2},
		{"cannot run", fake{err: errors.New("no cgroup v2")}, Failed, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := Sensors(t.Context(), test.sensor)
			if len(got) != test.checks || Worst(got) != test.worst {
				t.Errorf("%+v: want %d checks, the worst %s", got, test.checks, test.worst)
			}
			for _, c := range got {
				if c.Level == Degraded && c.Consequence == "" {
					t.Errorf("%+v names no consequence", c)
				}
			}
		})
	}
}

func TestSystemLooksAtEverything(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range System(t.TempDir()) {
		if c.Name == "" || c.Level == "" || c.Found == "" {
			t.Errorf("an empty check: %+v", c)
		}
		if seen[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		seen[c.Name] = true
	}
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// fakeSensor attaches at once, or fails, and remembers what was asked of it.
type fakeSensor struct {
	name  string
	fails error
	alone bool
	ran   chan bool // whether it stood alone when it ran
}

func (f *fakeSensor) Name() string { return f.name }
func (f *fakeSensor) StandAlone()  { f.alone = true }
func (f *fakeSensor) Run(ctx context.Context, _ sensor.Handler, ready func()) error {
	if f.fails != nil {
		return f.fails
	}
	f.ran <- f.alone
	ready()
	<-ctx.Done()
	return nil
}

func (f *fakeSensor) SetPrefixes([]netip.Prefix) (sensor.PrefixReport, error) {
	return sensor.PrefixReport{}, nil
}
func (f *fakeSensor) Done(sensor.FlowKey)       {}
func (f *fakeSensor) Hooks() []sensor.HookState { return nil }
func (f *fakeSensor) Counters() sensor.Counters { return sensor.Counters{} }
func (f *fakeSensor) Process(sensor.ProcessRef) (sensor.Process, bool) {
	return sensor.Process{}, false
}
func (f *fakeSensor) Tunnel(sensor.ProcessRef) (facts sensor.TunnelFacts, _ bool) {
	return facts, false
}

func TestLinkSensorStandsInForTheSocketSensor(t *testing.T) {
	broken := errors.New("permission denied")
	tests := []struct {
		name   string
		fails  error
		single bool
		alone  bool
		want   error
	}{
		{"both run", nil, false, false, nil},
		{"the kernel cannot", fmt.Errorf("%w: too old", sensor.ErrUnsupported), false, true, nil},
		{"nothing stands in", sensor.ErrUnsupported, true, false, sensor.ErrUnsupported},
		{"the agent may not", broken, false, false, broken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			socket := &fakeSensor{name: "socket", fails: test.fails, ran: make(chan bool, 1)}
			link := &fakeSensor{name: "link", ran: make(chan bool, 1)}
			a := &Agent{log: hclog.NewNullLogger(), live: rules.NewLive(&rules.Set{}), ready: make(chan struct{}), pipeline: &pipeline{}}
			a.systems.Store(&systems{})
			if a.sensors = []sensor.Sensor{socket, link}; test.single {
				a.sensors = a.sensors[:1]
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			g, failed := errgroup.WithContext(ctx)
			a.runSensors(g, failed)
			if test.want == nil {
				select {
				case <-a.ready:
				case <-failed.Done():
					t.Fatalf("not ready: %v", context.Cause(failed))
				}
				if alone := <-link.ran; alone != test.alone {
					t.Errorf("the link sensor stands alone: %t, want %t", alone, test.alone)
				}
				cancel()
			}
			if err := g.Wait(); !errors.Is(err, test.want) {
				t.Errorf("ended with %v, want %v", err, test.want)
			}
		})
	}
}

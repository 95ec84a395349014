package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"sallyport/agent/capture"
	"sallyport/agent/sensor"
)

// runSensors starts each sensor with a decoder of its own: the socket sensor
// first, for where this host cannot carry it the others stand in for it.
func (a *Agent) runSensors(g *errgroup.Group, ctx context.Context) {
	left := make(chan struct{}, len(a.sensors))
	settled, alone := make(chan struct{}), false
	for i, s := range a.sensors {
		h := &feed{pipeline: a.pipeline, from: s, decoder: capture.NewDecoder(), process: a.pipeline.process}
		a.givePrefixes(s)
		ready := sync.OnceFunc(func() { left <- struct{}{} })
		if i == 0 {
			ready = sync.OnceFunc(func() { left <- struct{}{}; close(settled) })
		}
		g.Go(func() error {
			if i > 0 {
				select {
				case <-settled:
				case <-ctx.Done():
					return nil
				}
				if other, ok := s.(standIn); ok && alone {
					other.StandAlone()
				}
			}
			err := s.Run(ctx, h, ready)
			if i == 0 && errors.Is(err, sensor.ErrUnsupported) && a.stoodFor() {
				a.log.Error("the other sensors stand alone; see sallyport doctor", "error", err)
				alone = true
				ready()
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s sensor: %w", s.Name(), err)
			}
			return nil
		})
	}
	g.Go(func() error {
		for range a.sensors {
			select {
			case <-left:
			case <-ctx.Done():
				return nil
			}
		}
		close(a.ready)
		if err := a.manager.tell(notifyReady); err != nil {
			a.log.Warn("the service manager does not know that the agent is ready", "error", err)
		}
		debug.FreeOSMemory() // loading took a multiple of what stays
		a.log.Info("watching", "entities_from", a.live.Set().PackNames(), "indicators", a.live.Set().Len())
		return nil
	})
}

// standIn is a sensor that can take more where the socket sensor does not run.
type standIn interface{ StandAlone() }

// stoodFor says whether a sensor is there that can take the socket sensor's place.
func (a *Agent) stoodFor() bool {
	return slices.ContainsFunc(a.sensors[1:], func(s sensor.Sensor) bool {
		_, can := s.(standIn)
		return can
	})
}

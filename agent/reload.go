package agent

import (
	"context"
	"fmt"
)

// Reload reads the rules of the configuration again and puts them in force
// without a pause: entities, detections, allow-list and approved tools. It says
// what changed. Nothing changes when something cannot be read.
func (a *Agent) Reload(ctx context.Context) (string, error) {
	judge, set, err := loadJudge(a.cfg.Rules, a.cfg.Host, a.version)
	if err != nil {
		return "", err
	}
	before := a.live.Set()
	if err := a.live.Swap(set, false); err != nil {
		return "", err
	}
	a.court.judge.Store(judge)
	for _, s := range a.sensors {
		report, err := s.SetPrefixes(prefixesOf(set))
		if err != nil {
			a.log.Warn("attributed prefixes not given to the sensor", "sensor", s.Name(), "error", err)
			continue
		}
		if report.Loaded < report.Given {
			a.log.Warn("the kernel takes only a part of the attributed prefixes; the rest is matched in user space", "sensor", s.Name(), "given", report.Given, "loaded", report.Loaded)
		}
	}
	fresh := set.New(before)
	if len(fresh) > 0 {
		select {
		case a.fresh <- fresh:
		case <-ctx.Done():
			return "", fmt.Errorf("match new indicators against the history: %w", ctx.Err())
		}
	}
	return fmt.Sprintf("%d indicators in force, %d before; %d values are new and are matched against the history", set.Len(), before.Len(), len(fresh)), nil
}

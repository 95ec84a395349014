package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// burstKey is one indicator met by one rule.
type burstKey struct{ rule, indicator string }

func indicatorKey(i rules.IndicatorRef) string { return i.Type + ":" + i.Value }

// Note takes findings that came, and notes which agents report what.
func (w *Watcher) Note(ctx context.Context, entries []stream.Entry) error {
	if w.cfg.BurstAgents == 0 {
		return nil
	}
	var list []store.Sighting
	seen := map[store.Sighting]bool{}
	for i := range entries {
		e := &entries[i]
		if e.Rejected != "" || e.Kind != "" || e.Agent == stream.Collector {
			continue
		}
		var f struct {
			State      string            `json:"state"`
			Test       bool              `json:"test"`
			Suppressed *rules.Suppressed `json:"suppressed"`
			Rule       rules.RuleRef     `json:"rule"`
			Matches    []rules.Match     `json:"matches"`
		}
		if err := json.Unmarshal(e.Finding, &f); err != nil {
			return fmt.Errorf("read finding %s of %s: %w", e.ID, e.Agent, err)
		}
		if f.State != rules.StateOpened || f.Test || f.Suppressed != nil {
			continue
		}
		for _, m := range f.Matches {
			s := store.Sighting{Rule: f.Rule.ID, Indicator: indicatorKey(m.Indicator), Agent: e.Agent}
			if !seen[s] {
				seen[s] = true
				s.At = e.Received
				list = append(list, s)
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return w.store.AddSightings(ctx, list)
}

// Held says whether exporters leave a finding out: it is one of many about an
// indicator that bursts, and the finding about the burst stands for them.
func (w *Watcher) Held(f *rules.Finding) bool {
	bursts := *w.bursts.Load()
	if len(bursts) == 0 || f.Test || f.OfAgent() {
		return false
	}
	for _, m := range f.Matches {
		if bursts[burstKey{f.Rule.ID, indicatorKey(m.Indicator)}] {
			return true
		}
	}
	return false
}

// checkBursts opens, renews and closes the findings about bursts.
func (w *Watcher) checkBursts(ctx context.Context, now time.Time) error {
	if w.cfg.BurstAgents == 0 {
		return nil
	}
	list, err := w.store.Bursts(ctx, now.Add(-w.cfg.BurstWindow), w.cfg.BurstAgents)
	if err != nil {
		return err
	}
	active, open := map[burstKey]bool{}, map[string]bool{}
	for _, b := range list {
		c, err := w.burst(ctx, b)
		if err != nil {
			return err
		}
		// First the finding, then the silence of those it stands for.
		if err := w.reconcile(ctx, c, now); err != nil {
			return err
		}
		active[burstKey{b.Rule, b.Indicator}], open[c.id()] = true, true
	}
	w.bursts.Store(&active)
	return w.endBursts(ctx, open, now)
}

func (w *Watcher) burst(ctx context.Context, b store.Burst) (condition, error) {
	c := condition{
		rule: RuleBurst, host: stream.Collector, about: b.Rule + "\x00" + b.Indicator, holds: true, severity: rules.SeverityHigh,
		title: fmt.Sprintf("%d or more agents report %s", w.cfg.BurstAgents, b.Indicator),
		why: []string{
			fmt.Sprintf("%d agents reported %s by rule %s within %s", b.Agents, b.Indicator, b.Rule, w.cfg.BurstWindow),
			"their findings are in the store and in the record; exporters send this one instead while it lasts",
		},
	}
	page, err := w.store.Findings(ctx, store.Query{Rule: b.Rule, Limit: 100})
	if err != nil {
		return c, err
	}
	for _, x := range page.Findings {
		for _, m := range x.Finding.Matches {
			if indicatorKey(m.Indicator) == b.Indicator {
				c.matches, c.severity = []rules.Match{m}, x.Finding.Severity
				return c, nil
			}
		}
	}
	return c, nil
}

// endBursts closes the findings about bursts that are over.
func (w *Watcher) endBursts(ctx context.Context, open map[string]bool, now time.Time) error {
	var errs []error
	for _, state := range []string{rules.StateOpened, rules.StateUpdated} {
		page, err := w.store.Findings(ctx, store.Query{Agent: stream.Collector, Rule: RuleBurst, State: state})
		if err != nil {
			return err
		}
		for i := range page.Findings {
			f := &page.Findings[i].Finding
			if open[f.ID] {
				continue
			}
			c := condition{rule: RuleBurst, host: stream.Collector}
			e, err := entryOf(closed(c, f, w.version, now), now)
			if err == nil {
				err = w.stream.Append(ctx, []stream.Entry{e})
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// closed is the last revision of a finding whose condition is known by it alone.
func closed(c condition, f *rules.Finding, version string, now time.Time) rules.Finding {
	out := c.finding(f, version, now)
	out.ID = f.ID
	return out
}

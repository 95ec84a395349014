package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport/collector/store"
	"sallyport/rules"
)

// epochFresh is how long a sequence that began anew is reported.
const epochFresh = time.Hour

// Reasons of a loss that the collector itself sees, beside the agent's own.
const (
	lostSequence = "sequence" // numbers that never came
	lostRefused  = "refused"  // lines refused for good
)

func silent(a Agent) condition {
	return condition{
		rule: RuleSilent, host: a.Name, about: a.Name, title: "agent " + a.Name + " is silent", severity: rules.SeverityMedium,
		holds: a.State == StateSilent,
		why:   []string{"its last sign of life came on " + latest(a.Heard, a.LastFinding).UTC().Format(time.RFC3339) + "; nothing is known of its host since"},
	}
}

func skew(a Agent) condition {
	return condition{
		rule: RuleSkew, host: a.Name, about: a.Name, title: "the clock of agent " + a.Name + " is wrong", severity: rules.SeverityMedium,
		holds: a.SkewLarge && a.State == StateReporting,
		why:   []string{fmt.Sprintf("off by about %s; the event times of its findings are off as much", a.Skew.Round(time.Second))},
	}
}

// tampered looks for what an intruder does to an agent, and what an operator does
// as well: hooks that were attached and are not, and a sequence begun anew.
func tampered(a Agent, gone []string, now time.Time) condition {
	c := condition{
		rule: RuleTampered, host: a.Name, about: a.Name, title: "agent " + a.Name + " may have been tampered with", severity: rules.SeverityHigh,
	}
	for _, hook := range gone {
		c.why = append(c.why, "hook "+hook+" was attached and is not any more")
	}
	if a.State == StateReporting && beganAnew(a.Sequences, now) {
		c.why = append(c.why, "its spool was begun anew: what waited in the old one will not come")
	}
	c.holds = len(c.why) > 0 && a.State != StateRevoked
	return c
}

// beganAnew says whether a sequence began a short time ago after another.
func beganAnew(list []store.Sequence, now time.Time) bool {
	for _, s := range list {
		if s.Begun.IsZero() || now.Sub(s.Begun) > epochFresh {
			continue
		}
		for _, other := range list {
			if other.Epoch != s.Epoch && other.Begun.Before(s.Begun) {
				return true
			}
		}
	}
	return false
}

// lost compares what an agent has lost in all with what the last finding about it
// said.
func lost(a Agent, missing uint64, prev *rules.Finding, quiet time.Duration, now time.Time) condition {
	totals := map[string]uint64{}
	if a.Heartbeat != nil {
		maps.Copy(totals, a.Heartbeat.Lost)
	}
	totals[lostSequence], totals[lostRefused] = missing, a.Rejected
	maps.DeleteFunc(totals, func(_ string, n uint64) bool { return n == 0 })
	var said map[string]uint64
	if prev != nil && prev.Loss != nil {
		said = prev.Loss.Lost
	}
	var why []string
	for _, reason := range slices.Sorted(maps.Keys(totals)) {
		before := said[reason]
		if totals[reason] < before {
			before = 0 // the agent was started again, and counts anew
		}
		if n := totals[reason] - before; n > 0 {
			why = append(why, fmt.Sprintf("%d more: %s", n, lossText(reason)))
		}
	}
	c := condition{
		rule: RuleLost, host: a.Name, about: a.Name, title: "agent " + a.Name + " loses what it should report", severity: rules.SeverityMedium,
		holds: len(why) > 0, why: why,
	}
	if len(totals) > 0 {
		c.loss = &rules.Loss{Lost: totals}
	}
	if len(why) == 0 && prev != nil && prev.State != rules.StateClosed && now.Sub(prev.Last) < quiet {
		c.holds, c.why = true, prev.Why // it may go on
	}
	return c
}

func lossText(reason string) string {
	switch reason {
	case lostSequence:
		return "numbered reports that never came"
	case lostRefused:
		return "reports refused for good"
	}
	return strings.ReplaceAll(reason, "_", " ") + ", lost on the host"
}

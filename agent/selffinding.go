package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"sallyport/agent/deliver"
	"sallyport/rules"
)

// selfRule is the prefix of the rules under which the agent reports on itself.
const selfRule = "sallyport.agent."

// ofSelf makes the finding for something that happened to the agent's own spool
// or delivery: a gap in what can be proved is reported like anything else.
func (a *Agent) ofSelf(e deliver.Event) rules.Finding {
	at := e.At
	if at.IsZero() {
		at = time.Now().UTC()
	}
	why := e.Detail
	if e.Findings > 0 {
		why = fmt.Sprintf("%s (%d findings)", why, e.Findings)
	}
	return a.selfFinding(e.Kind, "", why, at)
}

// selfFinding makes a finding about the agent itself. about tells two of a kind
// apart.
func (a *Agent) selfFinding(kind, about, why string, at time.Time) rules.Finding {
	key := selfRule + kind + "\x00" + a.cfg.Host
	if about != "" {
		key += "\x00" + about
	}
	sum := sha256.Sum256([]byte(key))
	title := "the agent reports on itself: " + kind
	return rules.Finding{
		Version: rules.FindingVersion, ID: hex.EncodeToString(sum[:16]), Revision: 1, State: rules.StateOpened,
		Agent: a.info(), Rule: rules.RuleRef{ID: selfRule + kind, Title: title}, Title: title,
		Severity: severityOfSelf(kind), Confidence: "high", Why: []string{why},
		Observation: rules.Observation{
			Host: a.cfg.Host, Sensor: rules.SensorAgent, Direction: rules.DirectionUnknown, First: at, Last: at, Closed: true,
			Owner:          rules.Owner{Attribution: rules.AttributionUnknown},
			Identification: rules.Identification{Protocol: "none"},
		},
		First: at, Last: at, Count: 1, Created: at,
	}
}

// severityOfSelf: what may have cost findings is graver than what only delays
// them.
func severityOfSelf(kind string) rules.Severity {
	switch kind {
	case deliver.EventCorrupt, deliver.EventGivenUp, deliver.EventParked:
		return rules.SeverityHigh
	case deliver.EventDiskWrites:
		return rules.SeverityInfo
	}
	return rules.SeverityMedium
}

// reportSelf turns what the spool reports of itself into findings until ctx
// ends.
func (a *Agent) reportSelf(ctx context.Context, events <-chan deliver.Event) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			if err := a.ledger.Observe(ctx, a.ofSelf(e)); err != nil {
				a.log.Error("cannot report on the spool yet; it is tried again", "kind", e.Kind, "error", err)
			}
		}
	}
}

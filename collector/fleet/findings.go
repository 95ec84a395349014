package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"sallyport/collector/stream"
	"sallyport/rules"
)

// Rules under which the collector reports on agents.
const (
	RuleSilent   = "sallyport.fleet.silent"
	RuleLost     = "sallyport.fleet.lost"
	RuleTampered = "sallyport.fleet.tampered"
	RuleSkew     = "sallyport.fleet.skew"
	RuleBurst    = "sallyport.fleet.burst"
)

// condition is something that may be wrong, now.
type condition struct {
	rule     string
	host     string // the agent's name, or none of a whole fleet
	about    string // what tells two conditions of one rule apart
	title    string
	severity rules.Severity
	holds    bool
	why      []string
	loss     *rules.Loss
	matches  []rules.Match
}

// id of the finding, which stays the same however often the condition comes.
func (c condition) id() string {
	sum := sha256.Sum256([]byte(c.rule + "\x00" + c.about))
	return hex.EncodeToString(sum[:16])
}

// finding makes the next revision after prev, which is nil for the first.
func (c condition) finding(prev *rules.Finding, version string, now time.Time) rules.Finding {
	f := rules.Finding{
		Version: rules.FindingVersion, ID: c.id(), Revision: 1, State: rules.StateOpened,
		Agent: rules.AgentInfo{Name: stream.Collector, Version: version},
		Rule:  rules.RuleRef{ID: c.rule, Title: ruleTitles[c.rule]}, Title: c.title, Severity: c.severity, Confidence: "high",
		Why: c.why, Loss: c.loss, Matches: c.matches,
		Observation: rules.Observation{
			Host: c.host, Sensor: rules.SensorAgent, Direction: rules.DirectionUnknown, First: now, Last: now, Closed: !c.holds,
			Owner: rules.Owner{Attribution: rules.AttributionUnknown}, Identification: rules.Identification{Protocol: "none"},
		},
		First: now, Last: now, Count: 1, Created: now,
	}
	if prev == nil {
		return f
	}
	f.Revision, f.Count = prev.Revision+1, prev.Count
	switch {
	case !c.holds:
		f.State, f.First, f.Why, f.Loss, f.Matches = rules.StateClosed, prev.First, append([]string{"over since " + now.Format(time.RFC3339)}, prev.Why...), prev.Loss, prev.Matches
		f.Title, f.Severity, f.Last = prev.Title, prev.Severity, prev.Last
	case prev.State == rules.StateClosed: // it came again
		f.Count++
	default:
		f.State, f.First = rules.StateUpdated, prev.First
	}
	f.Observation.First, f.Observation.Last = f.First, f.Last
	return f
}

var ruleTitles = map[string]string{
	RuleSilent:   "an agent is silent",
	RuleLost:     "an agent loses what it should report",
	RuleTampered: "an agent may have been tampered with",
	RuleSkew:     "an agent's clock is wrong",
	RuleBurst:    "one indicator bursts across the fleet",
}

func entryOf(f rules.Finding, now time.Time) (stream.Entry, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return stream.Entry{}, fmt.Errorf("encode finding: %w", err)
	}
	return stream.Entry{Agent: stream.Collector, ID: f.MessageID(), Received: now, Finding: text}, nil
}

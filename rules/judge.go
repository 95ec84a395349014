package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Judge turns an observation and its matches into findings. It keeps no state;
// revisions and counts are its caller's. Call it when a flow's identification
// is settled, and again when it closes: a flow judged before its protocol is
// known reads as a mere contact.
type Judge struct {
	Detections []Detection
	Allow      *AllowList     // nil: nothing is allowed
	Approved   *ApprovedTools // nil: no tool is approved
	Agent      AgentInfo
}

// Findings drafts a finding for every detection and entity that meet: opened,
// revision 1, count 1. Suppressed ones are among them, marked: suppression
// silences a finding, never the record. Most flows yield nil.
//
// A detection that fires without the matches is about the flow and yields one
// finding; one that needs them yields one for each entity.
func (j *Judge) Findings(o *Observation, matches []Match, now time.Time) []Finding {
	var out []Finding
	groups := byEntity(matches)
	spoken := make([]bool, len(groups))
	for _, fallback := range []bool{false, true} {
		for _, d := range j.Detections {
			if d.Fallback() == fallback && d.Detects(o, matches) {
				out = append(out, j.detected(o, groups, spoken, d, now)...)
			}
		}
	}
	return out
}

// detected drafts the findings of one detection that fired.
func (j *Judge) detected(o *Observation, groups [][]Match, spoken []bool, d Detection, now time.Time) []Finding {
	if d.Detects(o, nil) {
		return []Finding{j.draft(o, nil, d, now)}
	}
	var out []Finding
	for i, group := range groups {
		if (d.Fallback() && spoken[i]) || !d.Detects(o, group) {
			continue
		}
		spoken[i] = true
		out = append(out, j.draft(o, group, d, now))
	}
	return out
}

// byEntity splits matches by entity, in the order in which entities come. What
// a tool shows is no sign by itself; it goes with every entity that is met.
func byEntity(matches []Match) [][]Match {
	var out [][]Match
	var tools []Match
	at := map[string]int{}
	for _, m := range matches {
		if isTool(&m) {
			tools = append(tools, m)
			continue
		}
		i, ok := at[m.Entity.ID]
		if !ok {
			i = len(out)
			at[m.Entity.ID] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], m)
	}
	for i := range out {
		out[i] = append(out[i], tools...)
	}
	return out
}

func isTool(m *Match) bool { return m.Entity.Kind == KindTool || m.Indicator.Scope == ScopeTool }

func (j *Judge) draft(o *Observation, matches []Match, d Detection, now time.Time) Finding {
	f := Finding{
		Version: FindingVersion, Revision: 1, State: StateOpened,
		Agent: j.Agent, Rule: d.Ref(), Title: d.Ref().Title,
		Matches: matches, Observation: *o,
		First: o.First, Last: o.Last, Count: 1, Created: now,
	}
	if o.Closed {
		f.State = StateClosed
	}
	grade := gradeAlone(o, f.Rule.Level)
	if len(matches) > 0 {
		f.Test = matches[0].Entity.Test
		f.Title = f.Rule.Title + ": " + matches[0].Entity.Name
		grade = gradeMatches(o, matches, d.Class(), now)
	}
	f.Severity, f.Confidence, f.Why = grade.Severity, string(grade.Confidence), grade.Why
	f.ID = FindingID(f.Rule.ID, matches, o)
	f.Suppressed = j.suppressed(o, matches, now)
	return f
}

// gradeAlone takes the level that a rule about any flow gives itself, whoever
// wrote it, and says so. Sigma's levels are ours but for the least.
func gradeAlone(o *Observation, level string) Grade {
	g := grader{level: slices.Index(severities, SeverityMedium), confidence: 1}
	why := "the rule's own level is " + level
	switch level {
	case "informational":
		g.level = 0
	case "low", "medium", "high", "critical":
		g.level = slices.Index(severities, Severity(level))
	default:
		why = "the rule states no level, which counts as medium"
	}
	g.why = append(g.why, why+"; no indicator is part of this")
	if !o.Outcome.Established() && o.Direction == Inbound {
		g.atMost(SeverityLow, "an inbound attempt that did not come through")
	}
	return Grade{severities[g.level], Confidence(confidences[g.confidence]), g.why}
}

// gradeMatches takes the gravest of the matches: each alone might be the true
// one, and an address and a certificate together are no weaker than either.
func gradeMatches(o *Observation, matches []Match, class Class, now time.Time) Grade {
	nameOnly := !slices.ContainsFunc(matches, func(m Match) bool { return !isName(m.Field) && !isTool(&m) })
	if onlyAsked(matches) {
		class = ClassQuery
	}
	var worst Grade
	for i := range matches {
		g := GradeOf(CircumstancesOf(o, &matches[i], class, nameOnly, now))
		if i == 0 || slices.Index(severities, g.Severity) > slices.Index(severities, worst.Severity) {
			worst = g
		}
	}
	for i := range matches {
		worst.Why = append(worst.Why, matches[i].Statement)
	}
	return worst
}

// onlyAsked says that no remote was met: names were asked for.
func onlyAsked(matches []Match) bool {
	return !slices.ContainsFunc(matches, func(m Match) bool { return m.Field != FieldQuery && !isTool(&m) })
}

func isName(field string) bool {
	switch field {
	case FieldName, FieldQuery, FieldSNI, FieldHiddenHost:
		return true
	}
	return false
}

// CircumstancesOf reads the circumstances of one match. nameOnly says that no
// match of the entity rests on more than a name.
func CircumstancesOf(o *Observation, m *Match, class Class, nameOnly bool, now time.Time) Circumstances {
	in := &m.Indicator
	scope := in.Scope
	if isTool(m) {
		scope = ScopeTool
	}
	return Circumstances{
		Class: class, Outcome: o.Outcome, Direction: o.Direction,
		Suspected: o.Identification.State == "suspected" && class != ClassContact && class != ClassQuery,
		Type:      IndicatorType(in.Type), Confidence: Confidence(in.Confidence), ActorConfidence: in.ActorConfidence,
		Scope: scope, HolderUnlisted: in.Holder != nil && !in.Holder.Listed,
		NameOnly: nameOnly, OtherPort: m.OtherPort,
		Seized: in.Seized != "" && !o.Last.Before(Date(in.Seized).Start()),
		Age:    Age(in.Age), Legal: legalOf(m, o.Last, now),
	}
}

// legalOf reads the designations as of the flow and as of now.
func legalOf(m *Match, flow, now time.Time) Legal {
	if m.Entity.Kind == KindTool {
		return LegalListed // a tool is capped by its scope
	}
	if len(m.Designations) == 0 {
		return LegalNone
	}
	lifted, laterOn := true, true
	for _, d := range m.Designations {
		if d.Lifted != "" && !now.Before(Date(d.Lifted).Start()) {
			continue
		}
		lifted = false
		if d.Designated == "" || !flow.Before(Date(d.Designated).Start()) {
			laterOn = false
		}
	}
	switch {
	case lifted:
		return LegalLifted
	case laterOn:
		return LegalLater
	case len(m.Ownership) > 0:
		return LegalOwned
	}
	return LegalListed
}

// FindingID is the stable id of a finding: what it is about, never when, and
// never a process id. The first match stands for the indicator.
func FindingID(rule string, matches []Match, o *Observation) string {
	parts := []string{rule}
	if len(matches) > 0 {
		m := &matches[0]
		parts = append(parts, m.Indicator.Type, m.Indicator.Value, m.Entity.ID)
	} else {
		parts = append(parts, o.Identification.Protocol, o.Remote.Addr.String())
	}
	parts = append(parts, o.Host)
	parts = append(parts, ownerParts(&o.Owner)...)
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// ownerParts is the owner as executable, workload and user.
func ownerParts(o *Owner) []string {
	var executable, user, workload string
	if p := o.Process; p != nil {
		executable = p.Executable
		if executable == "" {
			executable = p.Name
		}
		user = strconv.FormatUint(uint64(p.UID), 10)
	}
	if c := o.Container; c != nil {
		workload = c.Namespace + "/" + c.Workload
		if c.Workload == "" {
			workload = c.Namespace + "/" + c.Pod
		}
		if workload == "/" {
			workload = c.ID
		}
	}
	return []string{executable, workload, user}
}

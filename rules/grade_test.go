package rules

import (
	"strings"
	"testing"
)

// strong is an established, confirmed RDP flow that met a current, strong
// indicator of a listed entity.
func strong() Circumstances {
	return Circumstances{
		Class: ClassRemoteDesktop, Outcome: OutcomeData, Direction: Outbound, Type: TypeIP,
		Confidence: ConfidenceHigh, Age: AgeCurrent, Legal: LegalListed,
	}
}

func TestGradeOf(t *testing.T) {
	tests := []struct {
		name       string
		edit       func(*Circumstances)
		severity   Severity
		confidence Confidence
		why        string
	}{
		{"strong RDP", func(*Circumstances) {}, SeverityCritical, ConfidenceHigh, "an established RDP flow"},
		{"handshake alone", func(c *Circumstances) { c.Outcome = OutcomeEstablished }, SeverityCritical, ConfidenceHigh, "established"},
		{"VPN", func(c *Circumstances) { c.Class = ClassVPN }, SeverityCritical, ConfidenceHigh, "VPN"},
		{"remote access", func(c *Circumstances) { c.Class = ClassRemoteAccess }, SeverityCritical, ConfidenceHigh, "remote-access"},
		{"inbound and established", func(c *Circumstances) { c.Direction = Inbound }, SeverityCritical, ConfidenceHigh, ""},
		{"certificate", func(c *Circumstances) { c.Type = TypeTLSSHA256 }, SeverityCritical, ConfidenceHigh, ""},
		{"contact", func(c *Circumstances) { c.Class = ClassContact }, SeverityHigh, ConfidenceHigh, "no protocol that gives control"},
		{"query", func(c *Circumstances) { c.Class = ClassQuery }, SeverityMedium, ConfidenceHigh, "asked for"},
		{"inbound attempt", func(c *Circumstances) { c.Direction, c.Outcome = Inbound, OutcomeAttempted }, SeverityLow, ConfidenceHigh, "inbound attempt"},
		{"inbound refused", func(c *Circumstances) { c.Direction, c.Outcome = Inbound, OutcomeRefused }, SeverityLow, ConfidenceHigh, "refused"},
		{"inbound blocked", func(c *Circumstances) { c.Direction, c.Outcome = Inbound, OutcomeBlocked }, SeverityLow, ConfidenceHigh, "blocked"},
		{"outbound attempt", func(c *Circumstances) { c.Outcome = OutcomeAttempted }, SeverityMedium, ConfidenceHigh, "nothing was established"},
		{"outbound blocked", func(c *Circumstances) { c.Outcome = OutcomeBlocked }, SeverityMedium, ConfidenceHigh, "blocked"},
		{"direction unknown", func(c *Circumstances) { c.Direction = DirectionUnknown }, SeverityHigh, ConfidenceHigh, "which side"},
		{"suspected", func(c *Circumstances) { c.Suspected = true }, SeverityHigh, ConfidenceHigh, "one side only"},
		{"medium confidence", func(c *Circumstances) { c.Confidence = ConfidenceMedium }, SeverityHigh, ConfidenceMedium, "medium confidence"},
		{"low confidence", func(c *Circumstances) { c.Confidence = ConfidenceLow }, SeverityMedium, ConfidenceLow, "low confidence"},
		{"no confidence", func(c *Circumstances) { c.Confidence = "" }, SeverityMedium, ConfidenceLow, "low confidence"},
		{"actor medium", func(c *Circumstances) { c.ActorConfidence = ConfidenceMedium }, SeverityHigh, ConfidenceMedium, "link from the actor"},
		{"actor low", func(c *Circumstances) { c.ActorConfidence = ConfidenceLow }, SeverityMedium, ConfidenceLow, "link from the actor"},
		{"autonomous system", func(c *Circumstances) { c.Type = TypeASN }, SeverityMedium, ConfidenceMedium, "many parties"},
		{"prefix", func(c *Circumstances) { c.Type = TypeCIDR }, SeverityHigh, ConfidenceHigh, "prefix"},
		{"fingerprint", func(c *Circumstances) { c.Type = TypeJA4 }, SeverityLow, ConfidenceLow, "names software"},
		{"name alone", func(c *Circumstances) { c.NameOnly = true }, SeverityHigh, ConfidenceMedium, "a name alone"},
		{"other port", func(c *Circumstances) { c.OtherPort = true }, SeverityHigh, ConfidenceHigh, "other ports"},
		{"tool", func(c *Circumstances) { c.Scope = ScopeTool }, SeverityLow, ConfidenceLow, "implies no entity"},
		{"victim", func(c *Circumstances) { c.Scope = ScopeVictim }, SeverityLow, ConfidenceLow, "implies no entity"},
		{"sinkhole", func(c *Circumstances) { c.Scope = ScopeSinkhole }, SeverityLow, ConfidenceLow, "implies no entity"},
		{"holder unlisted", func(c *Circumstances) { c.HolderUnlisted = true }, SeverityInfo, ConfidenceLow, "review only"},
		{"seized", func(c *Circumstances) { c.Seized = true }, SeverityMedium, ConfidenceHigh, "seized"},
		{"lifted", func(c *Circumstances) { c.Legal = LegalLifted }, SeverityLow, ConfidenceHigh, "lifted"},
		{"designated later", func(c *Circumstances) { c.Legal = LegalLater }, SeverityHigh, ConfidenceHigh, "after the flow"},
		{"owned", func(c *Circumstances) { c.Legal = LegalOwned }, SeverityHigh, ConfidenceHigh, "possibly blocked by ownership"},
		{"not designated", func(c *Circumstances) { c.Legal = LegalNone }, SeverityMedium, ConfidenceHigh, "no designation"},
		{"undated", func(c *Circumstances) { c.Age = AgeUndated }, SeverityMedium, ConfidenceMedium, "no source dates"},
		{"undated and old", func(c *Circumstances) { c.Age = AgeOld }, SeverityLow, ConfidenceMedium, "newest source is old"},
		{"stale", func(c *Circumstances) { c.Age = AgeStale }, SeverityHigh, ConfidenceMedium, "stale"},
		{"stale contact", func(c *Circumstances) { c.Age, c.Class = AgeStale, ClassContact }, SeverityMedium, ConfidenceMedium, "stale"},
		{"expired", func(c *Circumstances) { c.Age = AgeExpired }, SeverityMedium, ConfidenceLow, "expired"},
		{"early", func(c *Circumstances) { c.Age = AgeEarly }, SeverityMedium, ConfidenceLow, "not yet valid"},
		{"expired inbound attempt", func(c *Circumstances) { c.Age, c.Direction, c.Outcome = AgeExpired, Inbound, OutcomeAttempted }, SeverityInfo, ConfidenceLow, "expired"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := strong()
			tt.edit(&c)
			got := GradeOf(c)
			if got.Severity != tt.severity || got.Confidence != tt.confidence {
				t.Errorf("got %s, confidence %s; want %s, %s (%q)", got.Severity, got.Confidence, tt.severity, tt.confidence, got.Why)
			}
			if !strings.Contains(strings.Join(got.Why, "\n"), tt.why) || len(got.Why) == 0 {
				t.Errorf("why %q does not say %q", got.Why, tt.why)
			}
		})
	}
}

// TestGradeHolds walks every combination: critical always has an established
// flow and strong, current evidence, and an inbound attempt is never above low.
func TestGradeHolds(t *testing.T) {
	for _, class := range classes {
		for _, outcome := range outcomes {
			for _, direction := range directions {
				for _, confidence := range confidences {
					for _, age := range []Age{AgeCurrent, AgeStale, AgeExpired, AgeEarly, AgeUndated, AgeOld} {
						for _, kind := range indicatorTypes {
							c := Circumstances{
								Class: class, Outcome: outcome, Direction: direction, Confidence: Confidence(confidence),
								Age: age, Type: IndicatorType(kind), Legal: LegalListed,
							}
							checkGrade(t, c, GradeOf(c))
						}
					}
				}
			}
		}
	}
}

func checkGrade(t *testing.T, c Circumstances, g Grade) {
	t.Helper()
	if g.Severity == SeverityCritical && (!c.Outcome.Established() || c.Confidence != ConfidenceHigh || c.Age != AgeCurrent || c.Type == TypeASN || c.Type == TypeCIDR) {
		t.Errorf("%+v is critical", c)
	}
	if c.Direction == Inbound && !c.Outcome.Established() && c.Class != ClassQuery && g.Severity != SeverityLow && g.Severity != SeverityInfo {
		t.Errorf("%+v is %s", c, g.Severity)
	}
	if (c.Age == AgeUndated || c.Age == AgeOld) && (g.Severity == SeverityCritical || g.Severity == SeverityHigh) {
		t.Errorf("%+v is %s", c, g.Severity)
	}
}

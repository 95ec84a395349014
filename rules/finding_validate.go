package rules

import (
	"errors"
	"fmt"
	"slices"
)

// Bounds on a finding that another host sends.
const (
	maxFindingMatches = 256
	maxFindingList    = 1024
	maxFindingText    = 16 << 10
	maxFindingPCAPNG  = 4 << 20
	maxFindingWord    = 64 // of a list that is not known yet
)

var (
	directions   = []Direction{Outbound, Inbound, DirectionUnknown}
	outcomes     = []Outcome{OutcomeBlocked, OutcomeAttempted, OutcomeRefused, OutcomeEstablished, OutcomeData}
	attributions = []Attribution{AttributionExact, AttributionInherited, AttributionSeeded, AttributionTunnel, AttributionUnknown}
	states       = []string{StateOpened, StateUpdated, StateClosed}
)

// NewestFinding is the newest version that is taken from another host. An agent
// is updated before its collector now and then, and its findings must not be
// refused for good: of a version that is not known yet the words of lists may be
// new ones, the bounds stay. Such a document is kept and sent on as it came.
const NewestFinding = FindingVersion + 1

// ErrInvalidFinding is wrapped by every error of Validate.
var ErrInvalidFinding = errors.New("invalid finding")

// Validate checks what a finding must hold, and its bounds, before it is taken
// from another host. The error wraps ErrInvalidFinding.
func (f *Finding) Validate() error {
	for _, check := range []func() error{f.checkHead, f.checkTimes, f.checkObservation, f.checkMatches, f.checkEvidence} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalidFinding, err)
		}
	}
	return nil
}

func (f *Finding) checkHead() error {
	switch {
	case f.Version < 1 || f.Version > NewestFinding:
		return fmt.Errorf("version %d is not one of 1 to %d; a collector takes findings of agents one version newer, so update it first", f.Version, NewestFinding)
	case f.ID == "" || len(f.ID) > 128 || !printable(f.ID):
		return errors.New("id is missing, too long or not printable ASCII")
	case f.Revision == 0:
		return errors.New("revision is 0; the first is 1")
	case unknown(f, states, f.State):
		return fmt.Errorf("state %q is unknown", f.State)
	case unknown(f, severities, f.Severity):
		return fmt.Errorf("severity %q is unknown", f.Severity)
	case unknown(f, confidences, f.Confidence):
		return fmt.Errorf("confidence %q is unknown", f.Confidence)
	case f.Rule.ID == "" || f.Title == "" || f.Agent.Name == "":
		return errors.New("rule.id, title or agent.name is missing")
	case f.Count == 0:
		return errors.New("count is 0")
	case len(f.Why) > maxFindingList || len(f.Rule.Tags) > maxFindingList:
		return errors.New("a list is too long")
	}
	return bounded(append([]string{f.Rule.ID, f.Rule.Title, f.Title, f.Agent.Name, f.Agent.Pack}, f.Why...)...)
}

func (f *Finding) checkTimes() error {
	switch {
	case f.First.IsZero() || f.Last.IsZero() || f.Created.IsZero():
		return errors.New("first, last or created is missing")
	case f.Last.Before(f.First):
		return errors.New("last is before first")
	}
	return nil
}

func (f *Finding) checkObservation() error {
	o := &f.Observation
	if o.Host == "" {
		return errors.New("observation.host is missing")
	}
	if f.OfAgent() {
		return bounded(o.Host) // there is no flow
	}
	switch {
	case o.Transport == "":
		return errors.New("observation.transport is missing")
	case unknown(f, directions, o.Direction):
		return fmt.Errorf("observation.direction %q is unknown", o.Direction)
	case unknown(f, outcomes, o.Outcome):
		return fmt.Errorf("observation.outcome %q is unknown", o.Outcome)
	case o.Owner.Attribution != "" && unknown(f, attributions, o.Owner.Attribution):
		return fmt.Errorf("observation.owner.attribution %q is unknown", o.Owner.Attribution)
	case len(o.Names) > maxFindingList || len(o.Notes) > maxFindingList || len(o.Owner.Parents) > maxFindingList:
		return errors.New("a list of the observation is too long")
	}
	return bounded(o.Host, string(o.Transport), o.Identification.Evidence, o.Query)
}

func (f *Finding) checkMatches() error {
	if len(f.Matches) > maxFindingMatches {
		return fmt.Errorf("%d matches, more than %d", len(f.Matches), maxFindingMatches)
	}
	for i := range f.Matches {
		m := &f.Matches[i]
		if m.Field == "" || m.Entity.ID == "" || m.Indicator.Type == "" || m.Indicator.Value == "" {
			return fmt.Errorf("match %d lacks its field, entity or indicator", i)
		}
		if i == 0 && m.Entity.Test != f.Test {
			return errors.New("the finding and its first match differ on being a test")
		}
		if len(m.Designations) > maxFindingList || len(m.Indicator.Sources) > maxFindingList || len(m.Ownership) > maxFindingList {
			return fmt.Errorf("a list of match %d is too long", i)
		}
		if err := bounded(m.Field, m.Value, m.Entity.ID, m.Entity.Name, m.Indicator.Value, m.Statement); err != nil {
			return err
		}
	}
	return nil
}

func (f *Finding) checkEvidence() error {
	if f.Evidence != nil && len(f.Evidence.PCAPNG) > maxFindingPCAPNG {
		return fmt.Errorf("evidence has %d bytes, more than %d", len(f.Evidence.PCAPNG), maxFindingPCAPNG)
	}
	return nil
}

// unknown says whether a word is none of the list's, and cannot be one of a newer
// version's either.
func unknown[T ~string](f *Finding, list []T, word T) bool {
	if slices.Contains(list, word) {
		return false
	}
	return f.Version <= FindingVersion || len(word) == 0 || len(word) > maxFindingWord || !printable(string(word))
}

func bounded(list ...string) error {
	for _, s := range list {
		if len(s) > maxFindingText {
			return fmt.Errorf("a text has %d bytes, more than %d", len(s), maxFindingText)
		}
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"sallyport/collector/store"
	"sallyport/rules"
)

var (
	epochs   = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)
	findings = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
)

// checkFinding says why a finding is refused for good.
func checkFinding(env rules.Envelope, agent string) error {
	var f rules.Finding
	if err := json.Unmarshal(env.Finding, &f); err != nil {
		return fmt.Errorf("not a finding: %w", err)
	}
	switch {
	case f.Version < 1:
		return errors.New("finding has no version")
	case !findings.MatchString(f.ID):
		return errors.New("finding id must be 1 to 128 letters, digits, or . _ : -")
	case f.Revision == 0 || f.Revision > 1<<62:
		return errors.New("finding revision is out of range")
	case env.ID != f.MessageID():
		return errors.New("envelope id is not the finding's")
	case f.Agent.Name != agent:
		return fmt.Errorf("finding is of agent %q", cut(f.Agent.Name))
	case store.Rank(f.Severity) == 0:
		return fmt.Errorf("severity %q is unknown", cut(string(f.Severity)))
	case f.State != rules.StateOpened && f.State != rules.StateUpdated && f.State != rules.StateClosed:
		return fmt.Errorf("state %q is unknown", cut(f.State))
	case f.Rule.ID == "":
		return errors.New("finding names no rule")
	case f.First.IsZero() || f.Last.Before(f.First):
		return errors.New("finding's first and last are not in order")
	}
	return nil
}

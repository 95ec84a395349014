package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"sallyport/rules"
)

var epochs = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

// maxRevision is what the store's signed numbers can hold.
const maxRevision = 1 << 62

// checkFinding says why a finding is refused for good.
func checkFinding(env rules.Envelope, agent string) error {
	var f rules.Finding
	if err := json.Unmarshal(env.Finding, &f); err != nil {
		return fmt.Errorf("not a finding: %w", err)
	}
	switch {
	case f.Agent.Name != agent:
		return fmt.Errorf("finding is of agent %q", cut(f.Agent.Name))
	case env.ID != f.MessageID():
		return errors.New("envelope id is not the finding's")
	case f.Revision > maxRevision:
		return errors.New("revision is out of range")
	}
	return f.Validate()
}

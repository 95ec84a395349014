package rules

import (
	"encoding/json"
	"fmt"
)

// WithoutPackets removes evidence.pcapng from a finding's document and leaves
// everything else, fields that this version does not know among them.
func WithoutPackets(document []byte) ([]byte, error) {
	return editEvidence(document, func(evidence map[string]json.RawMessage) error {
		delete(evidence, "pcapng")
		return nil
	})
}

// WithPackets puts packets into a finding's document that WithoutPackets took
// out. A document without evidence stays as it is.
func WithPackets(document, pcapng []byte) ([]byte, error) {
	return editEvidence(document, func(evidence map[string]json.RawMessage) error {
		text, err := json.Marshal(pcapng)
		evidence["pcapng"] = text
		return err
	})
}

func editEvidence(document []byte, edit func(map[string]json.RawMessage) error) ([]byte, error) {
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(document, &whole); err != nil {
		return nil, fmt.Errorf("read finding: %w", err)
	}
	var evidence map[string]json.RawMessage
	if text := whole["evidence"]; len(text) > 0 {
		if err := json.Unmarshal(text, &evidence); err != nil {
			return nil, fmt.Errorf("read finding's evidence: %w", err)
		}
	}
	if evidence == nil {
		return document, nil
	}
	if err := edit(evidence); err != nil {
		return nil, fmt.Errorf("edit finding's evidence: %w", err)
	}
	text, err := json.Marshal(evidence)
	if err != nil {
		return nil, fmt.Errorf("write finding's evidence: %w", err)
	}
	whole["evidence"] = text
	return json.Marshal(whole)
}

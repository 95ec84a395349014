// Package stream is the collector's durable log: NATS JetStream, embedded or of
// an existing cluster. What it has taken survives kill -9 and power loss.
package stream

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Entry is what the stream carries: one line an agent sent, accepted or not.
// Rejected lines are carried without their finding, so that an agent's sequence
// has no hole where a line was refused.
type Entry struct {
	Agent    string          `json:"agent"`
	Epoch    string          `json:"epoch"`
	Seq      uint64          `json:"seq"`
	ID       string          `json:"id,omitempty"` // id and revision of the finding
	Received time.Time       `json:"received"`
	Rejected string          `json:"rejected,omitempty"` // why it was refused for good
	Finding  json.RawMessage `json:"finding,omitempty"`
	// Kind tells what is no finding, and comes from the collector itself; empty
	// for findings and what was refused. Document is what it says.
	Kind     string          `json:"kind,omitempty"`
	Document json.RawMessage `json:"document,omitempty"`
}

// Kinds of entries that are no findings: they go into the record only.
const (
	KindCoverage = "coverage" // a stretch of time that an agent covered
	KindDecision = "decision" // what a reviewer said of a finding
)

// Collector is the reporter of what the collector itself finds. No agent can have
// this name.
const Collector = "@collector"

// MessageID makes a repeat harmless. It begins with the agent's name, so that no
// agent can have another's finding dropped as a repeat.
func (e Entry) MessageID() string {
	if e.Rejected != "" {
		return e.Agent + "/rejected/" + e.Epoch + "/" + strconv.FormatUint(e.Seq, 10)
	}
	if e.Kind != "" {
		return e.Agent + "/" + e.Kind + "/" + e.ID + "/" + strconv.FormatUint(e.Seq, 10)
	}
	return e.Agent + "/" + e.ID
}

func decodeEntry(data []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(data, &e); err != nil {
		return Entry{}, fmt.Errorf("decode entry: %w", err)
	}
	if e.Agent == "" {
		return Entry{}, fmt.Errorf("decode entry: no agent")
	}
	return e, nil
}

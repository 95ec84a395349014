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
}

// MessageID makes a repeat harmless. It begins with the agent's name, so that no
// agent can have another's finding dropped as a repeat.
func (e Entry) MessageID() string {
	if e.Rejected != "" {
		return e.Agent + "/rejected/" + e.Epoch + "/" + strconv.FormatUint(e.Seq, 10)
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

package rules

import (
	"encoding/json"
	"strconv"
	"time"
)

// Envelope is one line of what an agent sends: newline-delimited JSON over
// HTTP/2, POST /v1/findings. The collector answers 200 with a Receipt only when
// every line is in its stream.
type Envelope struct {
	Agent   string          `json:"agent"`
	Seq     uint64          `json:"seq"` // without gaps per Epoch: a gap is a loss
	Epoch   string          `json:"epoch"`
	ID      string          `json:"id"` // Finding.MessageID
	Finding json.RawMessage `json:"finding"`
}

// Receipt is the collector's answer to a batch.
type Receipt struct {
	Accepted int      `json:"accepted"`
	Rejected []Reject `json:"rejected,omitempty"` // refused for good; the agent parks them
}

// Reject is one line the collector refuses for good.
type Reject struct {
	Seq    uint64 `json:"seq"`
	Reason string `json:"reason"`
}

// Heartbeat is what an agent says of itself: POST /v1/heartbeat, every minute.
type Heartbeat struct {
	Agent    string            `json:"agent"`
	Version  string            `json:"version"`
	Packs    []string          `json:"packs"`
	Kernel   string            `json:"kernel"`
	Started  time.Time         `json:"started"`
	At       time.Time         `json:"at"`
	Hooks    map[string]string `json:"hooks,omitempty"`    // hook to state, "ok" or the consequence of its absence
	Degraded []string          `json:"degraded,omitempty"` // named consequences
	Lost     map[string]uint64 `json:"lost,omitempty"`
	Dropped  map[string]uint64 `json:"dropped,omitempty"`
	Spool    SpoolState        `json:"spool"`
	Flows    uint64            `json:"flows"`
	Config   string            `json:"config,omitempty"` // the effective configuration, without secrets
}

// SpoolState is how much waits to be delivered.
type SpoolState struct {
	Findings uint64    `json:"findings"`
	Bytes    uint64    `json:"bytes"`
	Oldest   time.Time `json:"oldest,omitzero"`
	NextSeq  uint64    `json:"next_seq"`
}

func messageID(id string, revision uint64) string {
	return id + "." + strconv.FormatUint(revision, 10)
}

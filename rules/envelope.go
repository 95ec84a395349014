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

// Paths of the wire between agent and collector. All but PathEnrol ask for the
// agent's client certificate.
const (
	PathFindings  = "/v1/findings"  // POST, lines of Envelope, Content-Encoding: zstd or none
	PathHeartbeat = "/v1/heartbeat" // POST Heartbeat
	PathEnrol     = "/v1/enrol"     // POST EnrolRequest
	PathRenew     = "/v1/renew"     // POST RenewRequest
	PathPackRoot  = "/v1/pack-root" // GET the public key of the root that packs are signed under, PEM; 404: none
	PathPacks     = "/v1/packs"     // GET PackList; below it GET a pack's name: the signed archive. Both with ETag
)

// PackList is the packs that the collector offers an agent.
type PackList struct {
	Packs []PackOffer `json:"packs"`
}

// PackOffer is one of them. What it says is a hint: only the signed archive is
// believed.
type PackOffer struct {
	Name    string    `json:"name"`
	Version uint64    `json:"version"`
	SHA256  string    `json:"sha256"` // of the archive, lower-case hexadecimal; its ETag is the same in quotes
	Bytes   int64     `json:"bytes"`
	Expires time.Time `json:"expires"`
}

// EnrolRequest asks for the first client certificate, with a token of the
// collector's or, in Kubernetes, with the pod's own.
type EnrolRequest struct {
	Token string `json:"token,omitempty"` // Token.Secret, not the whole token
	CSR   string `json:"csr"`             // PEM "CERTIFICATE REQUEST", ECDSA P-256, common name = Name
	Name  string `json:"name"`            // the name the agent will report as

	ServiceAccountToken string `json:"service_account_token,omitempty"` // projected into the pod for the collector's audience; instead of Token
	Cluster             string `json:"cluster,omitempty"`               // which of the collector's clusters it is of
}

// EnrolResponse answers EnrolRequest and RenewRequest.
type EnrolResponse struct {
	Certificate string `json:"certificate"` // PEM, leaf first, then any intermediates
	CA          string `json:"ca"`          // PEM, every CA to trust: two while one takes over from the other
}

// RenewRequest asks for a certificate to follow the one the connection was
// authenticated with. The name stays.
type RenewRequest struct {
	CSR string `json:"csr"`
}

// Problem is the body of every answer that is not 2xx.
type Problem struct {
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"` // for a person
}

// Codes of a Problem. The agent keeps its spool whatever the code.
const (
	CodeRevoked      = "revoked"       // 403: the agent's certificate was revoked
	CodeExpired      = "expired"       // 403: the agent's certificate has run out
	CodeUnknownAgent = "unknown_agent" // 403: no such agent is enrolled
	CodeOtherAgent   = "other_agent"   // 403: an agent can only report as itself
	CodeTokenExpired = "token_expired" // 403: on enrolment
	CodeTokenSpent   = "token_spent"   // 403: no uses left
	CodeTokenRevoked = "token_revoked" // 403
	CodeTokenUnknown = "token_unknown" // 403
	CodeTokenRefused = "token_refused" // 403: a service-account token does not say what enrolment asks for
	CodeNameRefused  = "name_refused"  // 403: the token is bound to other names
	CodeNoPack       = "no_pack"       // 404: no pack of this name is offered to the agent
	CodeBadRequest   = "bad_request"   // 400
	CodeTooLarge     = "too_large"     // 413: send smaller batches
	CodeBusy         = "busy"          // 429 or 503, with Retry-After in seconds
	CodeNotAvailable = "not_available" // 503: the stream does not take findings now
)

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
	Relays   []string          `json:"relays,omitempty"` // intermediaries seen: the true clients of their flows are not known
	// PrivateDNS names who asks a resolver unseen: their flows have no names.
	PrivateDNS []string `json:"private_dns,omitempty"`
	Config     string   `json:"config,omitempty"` // the effective configuration, without secrets
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

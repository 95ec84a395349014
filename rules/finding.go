package rules

import "time"

// FindingVersion is the version of the finding document. It rises when a field
// changes its meaning or goes; new fields do not raise it.
const FindingVersion = 1

// Severity of a finding.
type Severity string

// Severities, least first.
const (
	SeverityInfo     Severity = "info"
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Finding states.
const (
	StateOpened  = "opened"
	StateUpdated = "updated"
	StateClosed  = "closed"
)

// Finding is what is reported: an observation, the match, the rule, the
// severity and why. It is a lead, never a verdict.
type Finding struct {
	Version     int         `json:"version"`
	ID          string      `json:"id"`       // stable: rule, indicator, host, owner (executable, workload, user)
	Revision    uint64      `json:"revision"` // rises by one with every change that is sent
	State       string      `json:"state"`
	Test        bool        `json:"test,omitempty"`  // from the self-test
	Retro       bool        `json:"retro,omitempty"` // matched in the host's history, after the fact
	Suppressed  *Suppressed `json:"suppressed,omitempty"`
	Agent       AgentInfo   `json:"agent"`
	Rule        RuleRef     `json:"rule"`
	Title       string      `json:"title"`
	Severity    Severity    `json:"severity"`
	Confidence  string      `json:"confidence"` // "high", "medium", "low"
	Why         []string    `json:"why"`        // each reason for the severity, in words
	Matches     []Match     `json:"matches,omitempty"`
	Observation Observation `json:"observation"`
	First       time.Time   `json:"first"`
	Last        time.Time   `json:"last"`
	Count       uint64      `json:"count"` // flows so far
	Loss        *Loss       `json:"loss,omitempty"`
	Evidence    *Evidence   `json:"evidence,omitempty"`
	Created     time.Time   `json:"created"` // of this revision
}

// AgentInfo says who reports.
type AgentInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Pack    string `json:"pack,omitempty"` // name and version of the packs in force
}

// RuleRef names the detection that fired.
type RuleRef struct {
	ID     string   `json:"id"`
	Title  string   `json:"title"`
	Level  string   `json:"level,omitempty"`
	Tags   []string `json:"tags,omitempty"` // ATT&CK techniques among them
	Source string   `json:"source,omitempty"`
}

// Match is an observation met by an indicator, with full provenance.
type Match struct {
	Field        string           `json:"field"` // what met it: "remote.addr", "remote_asked.addr", "name", "tls.sni", ...
	Value        string           `json:"value"` // the observation's own value
	Entity       EntityRef        `json:"entity"`
	Indicator    IndicatorRef     `json:"indicator"`
	Designations []DesignationRef `json:"designations,omitempty"`
	Ownership    []string         `json:"ownership,omitempty"`  // the chain, when "possibly blocked by ownership"
	OtherPort    bool             `json:"other_port,omitempty"` // the sources name ports, and this is none of them
	Statement    string           `json:"statement"`            // "a remote attributed to E, reported by S as used until D"
}

// EntityRef names an entity.
type EntityRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Kind Kind   `json:"kind,omitempty"`
	Test bool   `json:"test,omitempty"`
}

// IndicatorRef is an indicator's provenance. Dates are YYYY-MM-DD, "" unknown.
type IndicatorRef struct {
	Type            string      `json:"type"`
	Value           string      `json:"value"`
	Ports           []uint16    `json:"ports,omitempty"`
	Role            string      `json:"role,omitempty"`
	Scope           Scope       `json:"scope,omitempty"` // never implies the entity when set
	Actor           string      `json:"actor,omitempty"`
	ActorConfidence Confidence  `json:"actor_confidence,omitempty"`
	Holder          *Holder     `json:"holder,omitempty"`
	FirstSeen       string      `json:"first_seen,omitempty"` // earliest of the sources
	LastSeen        string      `json:"last_seen,omitempty"`  // latest of the sources
	Checked         string      `json:"last_checked,omitempty"`
	ValidFrom       string      `json:"valid_from,omitempty"`
	ValidTo         string      `json:"valid_to,omitempty"`
	Seized          string      `json:"seized,omitempty"`
	Confidence      string      `json:"confidence,omitempty"`
	Age             string      `json:"age,omitempty"` // when the flow happened
	TLP             string      `json:"tlp,omitempty"`
	Note            string      `json:"note,omitempty"`
	Sources         []SourceRef `json:"sources,omitempty"` // side by side, as each gives it
	Pack            string      `json:"pack,omitempty"`
}

// SourceRef is one source of an indicator, with what that source says.
type SourceRef struct {
	Name       string     `json:"name"`
	Date       string     `json:"date,omitempty"`
	Reference  string     `json:"reference,omitempty"`
	FirstSeen  string     `json:"first_seen,omitempty"`
	LastSeen   string     `json:"last_seen,omitempty"`
	Confidence Confidence `json:"confidence,omitempty"`
	Note       string     `json:"note,omitempty"`
}

// DesignationRef is the legal act. Dates are YYYY-MM-DD.
type DesignationRef struct {
	Authority  string `json:"authority"`
	List       string `json:"list,omitempty"`
	Programme  string `json:"programme,omitempty"`
	LegalBasis string `json:"legal_basis,omitempty"`
	ListID     string `json:"list_id,omitempty"`
	Designated string `json:"designated,omitempty"`
	Lifted     string `json:"lifted,omitempty"`
	Reference  string `json:"reference,omitempty"`
	Confidence string `json:"confidence,omitempty"` // in what is said of the act
	Note       string `json:"note,omitempty"`
}

// Suppressed says why a finding is silent. The record keeps it all the same.
type Suppressed struct {
	By     string `json:"by"` // "allow_list" or "approved_tool"
	Reason string `json:"reason"`
	Author string `json:"author"`
	Until  string `json:"until"`
}

// Loss is what was not seen in the finding's window.
type Loss struct {
	Lost     map[string]uint64 `json:"lost,omitempty"`    // by reason: the kernel could not give it
	Dropped  map[string]uint64 `json:"dropped,omitempty"` // by reason: we chose not to keep it
	Degraded []string          `json:"degraded,omitempty"`
}

// Evidence is the first packets as pcapng, with the process in a comment.
type Evidence struct {
	PCAPNG  []byte `json:"pcapng"` // base64 in JSON
	Packets int    `json:"packets"`
	Content bool   `json:"content"` // false: headers and handshake only
	SHA256  string `json:"sha256"`
}

// SensorAgent is the sensor of findings in which an agent or a collector reports
// on itself: their observation has a host and a time, and no flow.
const SensorAgent = "agent"

// RuleCheckpoint is the rule of the finding that carries a signed checkpoint of
// the collector's record. Every exporter sends it, whatever its filter.
const RuleCheckpoint = "sallyport.record.checkpoint"

// OfAgent says that the finding is about Sallyport itself, not about a flow.
func (f *Finding) OfAgent() bool { return f.Observation.Sensor == SensorAgent }

// MessageID is the id of this revision: what makes a repeat harmless.
func (f *Finding) MessageID() string { return messageID(f.ID, f.Revision) }

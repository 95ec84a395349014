package rules

// Entity is a listed person or organisation, or a tool that such entities use,
// with everything that is known of it. One YAML file holds one entity; an
// imported file may hold several, as YAML documents.
type Entity struct {
	ID           string        `yaml:"id"`
	Name         string        `yaml:"name"`
	Kind         Kind          `yaml:"kind"`
	Test         bool          `yaml:"test,omitempty"` // documentation addresses only; findings say test
	Note         string        `yaml:"note,omitempty"`
	Sources      []Source      `yaml:"sources,omitempty"` // cited below by id
	Aliases      []Alias       `yaml:"aliases,omitempty"`
	Designations []Designation `yaml:"designations,omitempty"`
	Actors       []Actor       `yaml:"actors,omitempty"`
	Owners       []Stake       `yaml:"owners,omitempty"`
	Indicators   []Indicator   `yaml:"indicators,omitempty"`
}

// Kind says what an entity is.
type Kind string

// Kinds of entity. A tool is no listed party; what matches it never implies one.
const (
	KindOrganisation Kind = "organisation"
	KindPerson       Kind = "person"
	KindTool         Kind = "tool"
)

// Confidence in a claim.
type Confidence string

// Confidences, least first.
const (
	ConfidenceLow    Confidence = "low"
	ConfidenceMedium Confidence = "medium"
	ConfidenceHigh   Confidence = "high"
)

// Source is a document that claims are taken from.
type Source struct {
	ID        string `yaml:"id"`
	Name      string `yaml:"name"`
	Date      Date   `yaml:"date,omitempty"` // of the document
	Reference string `yaml:"reference,omitempty"`
	Note      string `yaml:"note,omitempty"` // how it was read, what it lacks
}

// Alias is another name of the entity.
type Alias struct {
	Name       string     `yaml:"name"`
	Confidence Confidence `yaml:"confidence"`
	Sources    []string   `yaml:"sources"`
}

// Designation is the legal act that lists an entity.
type Designation struct {
	Authority  string     `yaml:"authority"`
	List       string     `yaml:"list,omitempty"`
	Programme  string     `yaml:"programme,omitempty"`
	LegalBasis string     `yaml:"legal_basis,omitempty"`
	ListID     string     `yaml:"list_id,omitempty"`
	Designated Date       `yaml:"designated,omitempty"`
	Lifted     Date       `yaml:"lifted,omitempty"`
	Reference  string     `yaml:"reference,omitempty"`
	Confidence Confidence `yaml:"confidence"`
	Sources    []string   `yaml:"sources"`
	Note       string     `yaml:"note,omitempty"`
}

// Actor is an intrusion group that someone ties to the entity. The link is a
// claim: its confidence caps the severity of what rests on it.
type Actor struct {
	Name       string     `yaml:"name"`
	Confidence Confidence `yaml:"confidence"`
	Sources    []string   `yaml:"sources"`
	Note       string     `yaml:"note,omitempty"`
}

// Stake is a share of the entity that another holds.
type Stake struct {
	Entity  string   `yaml:"entity,omitempty"` // id of the owning entity, where it has a file
	Name    string   `yaml:"name,omitempty"`   // of an owner without a file
	Percent float64  `yaml:"percent"`
	Sources []string `yaml:"sources"`
}

// IndicatorType says what an indicator's value is.
type IndicatorType string

// Types of indicator.
const (
	TypeIP        IndicatorType = "ip"
	TypeCIDR      IndicatorType = "cidr"
	TypeASN       IndicatorType = "asn"      // "AS210644"
	TypeDomain    IndicatorType = "domain"   // the name and every name below it
	TypeURLHost   IndicatorType = "url_host" // this name alone
	TypeTLSSHA1   IndicatorType = "tls_cert_sha1"
	TypeTLSSHA256 IndicatorType = "tls_cert_sha256"
	TypeJA3       IndicatorType = "ja3"
	TypeJA4       IndicatorType = "ja4"
	TypeHASSH     IndicatorType = "hassh"
)

// Scope says whose an indicator is, when it is not the entity's own. None of
// these ever implies the entity.
type Scope string

// Scopes. The empty scope is the entity's own infrastructure.
const (
	ScopeOwn      Scope = ""
	ScopeTool     Scope = "tool"     // others use the same tool
	ScopeVictim   Scope = "victim"   // a compromised third party
	ScopeSinkhole Scope = "sinkhole" // now answered by a defender or an authority
)

// Indicator ties a value that a flow can show to the entity.
type Indicator struct {
	Type       IndicatorType `yaml:"type"`
	Value      string        `yaml:"value"`
	Provenance `yaml:",inline"`
}

// Provenance is all of an indicator but its value.
type Provenance struct {
	Ports       []uint16   `yaml:"ports,omitempty"` // where a source names them; elsewhere the tie is weaker
	Role        string     `yaml:"role,omitempty"`
	Scope       Scope      `yaml:"scope,omitempty"`
	Actor       string     `yaml:"actor,omitempty"`  // one of the entity's actors
	Holder      *Holder    `yaml:"holder,omitempty"` // of an autonomous system or prefix
	ValidFrom   Date       `yaml:"valid_from,omitempty"`
	ValidTo     Date       `yaml:"valid_to,omitempty"`
	LastChecked Date       `yaml:"last_checked,omitempty"`
	Seized      Date       `yaml:"seized,omitempty"` // from then on an authority answers
	Confidence  Confidence `yaml:"confidence"`
	TLP         string     `yaml:"tlp,omitempty"`
	Note        string     `yaml:"note,omitempty"`
	Sources     []Claim    `yaml:"sources"` // side by side, never merged
}

// Holder is who a registry says holds an autonomous system or prefix.
type Holder struct {
	Name   string `yaml:"name" json:"name"`
	Listed bool   `yaml:"listed" json:"listed"` // false: review only
}

// Claim is what one source says of an indicator.
type Claim struct {
	Source     string     `yaml:"source"` // id in the entity's sources
	FirstSeen  Date       `yaml:"first_seen,omitempty"`
	LastSeen   Date       `yaml:"last_seen,omitempty"`
	Confidence Confidence `yaml:"confidence,omitempty"`
	Note       string     `yaml:"note,omitempty"`
}

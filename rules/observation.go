package rules

import (
	"net/netip"
	"time"
)

// Transport is what carries a flow: "tcp", "udp", or an IP protocol number in
// decimal ("50" for ESP, RFC 4303).
type Transport string

// Transports with a name of their own.
const (
	TCP Transport = "tcp"
	UDP Transport = "udp"
)

// Direction says which side opened the flow, as the host sees it.
type Direction string

// Directions of a flow.
const (
	Outbound         Direction = "outbound"
	Inbound          Direction = "inbound"
	DirectionUnknown Direction = "unknown"
)

// Attribution says how the owner of a flow is known.
type Attribution string

// Attributions, strongest first.
const (
	AttributionExact     Attribution = "exact"     // the process was seen at its own system call
	AttributionInherited Attribution = "inherited" // taken from the listening socket
	AttributionSeeded    Attribution = "seeded"    // the socket is older than the agent; found through the process's files
	AttributionTunnel    Attribution = "tunnel"    // the process that configured the kernel tunnel
	AttributionUnknown   Attribution = "unknown"
)

// Outcome is how far a flow came.
type Outcome string

// Outcomes, from least to most.
const (
	OutcomeBlocked     Outcome = "blocked"        // stopped on this host before it left
	OutcomeAttempted   Outcome = "attempted"      // sent, no answer seen
	OutcomeRefused     Outcome = "refused"        // answered by a reset or an ICMP error
	OutcomeEstablished Outcome = "established"    // handshake complete
	OutcomeData        Outcome = "data_both_ways" // payload went both ways
)

// Endpoint is one end of a flow. Port is 0 for transports without ports.
type Endpoint struct {
	Addr netip.Addr `json:"addr"`
	Port uint16     `json:"port,omitempty"`
}

// Identification is the protocol found in a flow, and how it was found.
type Identification struct {
	Protocol string `json:"protocol"`           // a category of docs/protocols.md, or "none"
	State    string `json:"state,omitempty"`    // "suspected" (one side) or "confirmed" (both sides)
	Product  string `json:"product,omitempty"`  // where the bytes or the host name one
	Evidence string `json:"evidence,omitempty"` // for a person to read
	Source   string `json:"source,omitempty"`   // "packets" or "host"; "history" of a past flow
}

// Name is a name bound to the remote.
type Name struct {
	Name   string    `json:"name"`
	Source string    `json:"source"` // "dns", "sni", "quic_sni", "certificate", "connect", "socks", "dns_query"
	At     time.Time `json:"at"`
}

// Process is one process of the owner's line.
type Process struct {
	PID        uint32    `json:"pid"`
	Start      time.Time `json:"start"`
	Executable string    `json:"executable,omitempty"`
	Name       string    `json:"name,omitempty"`
	Args       []string  `json:"args,omitempty"` // redacted of known secret forms
	UID        uint32    `json:"uid"`
	User       string    `json:"user,omitempty"`
}

// Container is where the owner runs, when it runs in one.
type Container struct {
	ID        string `json:"id,omitempty"`
	Runtime   string `json:"runtime,omitempty"` // "containerd", "cri-o", "docker", "podman"
	PodUID    string `json:"pod_uid,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Workload  string `json:"workload,omitempty"`
	Image     string `json:"image,omitempty"`
	Cgroup    string `json:"cgroup,omitempty"` // path below the cgroup root
}

// Owner is the process, container and pod a flow belongs to.
type Owner struct {
	Attribution  Attribution `json:"attribution"`
	Process      *Process    `json:"process,omitempty"`
	Parents      []Process   `json:"parents,omitempty"` // nearest first
	Container    *Container  `json:"container,omitempty"`
	Intermediary string      `json:"intermediary,omitempty"` // "proxy", "resolver", ...: relays for a client that is unknown
}

// Geo is what the MaxMind databases say of the remote.
type Geo struct {
	Country      string `json:"country,omitempty"` // ISO 3166-1 alpha-2
	City         string `json:"city,omitempty"`
	ASN          uint32 `json:"asn,omitempty"`
	Organisation string `json:"organisation,omitempty"`
}

// TLSFacts is what a TLS or QUIC handshake shows in the clear.
type TLSFacts struct {
	SNI          string            `json:"sni,omitempty"`
	ALPN         []string          `json:"alpn,omitempty"`
	Version      string            `json:"version,omitempty"` // negotiated, else highest offered: "TLS 1.2"
	JA3          string            `json:"ja3,omitempty"`     // MD5, hexadecimal
	JA4          string            `json:"ja4,omitempty"`
	ECH          bool              `json:"ech,omitempty"` // encrypted_client_hello present (RFC 9849)
	Certificates []CertificateFact `json:"certificates,omitempty"`
}

// CertificateFact is one certificate the server showed (TLS 1.2 and older only).
type CertificateFact struct {
	SHA1    string    `json:"sha1"`   // of the DER, lower-case hexadecimal
	SHA256  string    `json:"sha256"` // of the DER, lower-case hexadecimal
	Subject string    `json:"subject,omitempty"`
	Issuer  string    `json:"issuer,omitempty"`
	Names   []string  `json:"names,omitempty"`
	Until   time.Time `json:"until,omitzero"`
}

// SSHFacts is what an SSH version and key exchange shows in the clear.
type SSHFacts struct {
	ClientVersion string `json:"client_version,omitempty"`
	ServerVersion string `json:"server_version,omitempty"`
	HASSH         string `json:"hassh,omitempty"`        // MD5, hexadecimal
	HASSHServer   string `json:"hassh_server,omitempty"` // MD5, hexadecimal
}

// Observation is one enriched flow.
type Observation struct {
	FlowID         string         `json:"flow_id"`
	Host           string         `json:"host"`
	Sensor         string         `json:"sensor"` // "socket", "link", "capture", "history", SensorAgent
	Capture        string         `json:"capture,omitempty"`
	Netns          uint64         `json:"netns,omitempty"` // inode of the network namespace
	Transport      Transport      `json:"transport"`
	Direction      Direction      `json:"direction"`
	Local          Endpoint       `json:"local"`
	Remote         Endpoint       `json:"remote"`                 // as the packets left or came
	RemoteAsked    *Endpoint      `json:"remote_asked,omitempty"` // as the owner asked for, where NAT or a redirect changed it
	Hidden         *Hidden        `json:"hidden,omitempty"`       // the true remote named inside a proxy request
	Outcome        Outcome        `json:"outcome"`
	First          time.Time      `json:"first"`
	Last           time.Time      `json:"last"`
	Closed         bool           `json:"closed,omitempty"`
	BytesOut       uint64         `json:"bytes_out"` // IP bytes
	BytesIn        uint64         `json:"bytes_in"`
	PacketsOut     uint64         `json:"packets_out"`
	PacketsIn      uint64         `json:"packets_in"`
	Owner          Owner          `json:"owner"`
	Identification Identification `json:"identification"`
	Names          []Name         `json:"names,omitempty"`
	Query          string         `json:"query,omitempty"` // the name asked for, on a DNS query
	TLS            *TLSFacts      `json:"tls,omitempty"`
	SSH            *SSHFacts      `json:"ssh,omitempty"`
	Geo            *Geo           `json:"geo,omitempty"`
	Notes          []string       `json:"notes,omitempty"` // what a reader must know: "split by NAT", "client unknown"
}

// Hidden is the true remote that a proxy request or PROXY header names.
type Hidden struct {
	Host string     `json:"host,omitempty"` // a name, when it was a name
	Addr netip.Addr `json:"addr,omitzero"`
	Port uint16     `json:"port,omitempty"`
	By   string     `json:"by"` // "http_connect", "http_proxy", "socks4", "socks4a", "socks5", "proxy_header"
}

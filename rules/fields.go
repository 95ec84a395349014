package rules

import (
	"strings"

	"sallyport/rules/sigma"
)

// FieldType says what a rule can ask of a field.
type FieldType string

// Types of a field.
const (
	FieldText    FieldType = "text"
	FieldNumber  FieldType = "number"
	FieldBoolean FieldType = "boolean"
	FieldAddress FieldType = "address"
	FieldList    FieldType = "list of texts" // a condition holds when it holds for one of them
)

// Field is one row of the field table: what rules, documents and exporters call
// a fact of an observation. Get returns false when the observation has not got it.
type Field struct {
	Name string
	Type FieldType
	Get  func(o *Observation, m []Match) (sigma.Value, bool)
	Doc  string
}

// FieldSections is the field table. A new field is one row. Names are Sigma's,
// then ECS's, where they have one.
var FieldSections = []struct {
	Title  string
	Fields []Field
}{
	{"Sigma: network_connection", []Field{
		{"Image", FieldText, process(func(p *Process) string { return p.Executable }), "executable of the owner"},
		{"CommandLine", FieldText, process(commandLine), "arguments of the owner, joined by spaces, secrets redacted"},
		{"ProcessId", FieldNumber, processNumber(func(p *Process) float64 { return float64(p.PID) }), "process id of the owner"},
		{"User", FieldText, process(userName), "user of the owner, or the number when it has no name"},
		{"ParentImage", FieldText, parent(func(p *Process) string { return p.Executable }), "executable of the owner's parent"},
		{"ParentCommandLine", FieldText, parent(commandLine), "arguments of the owner's parent"},
		{"ParentProcessId", FieldNumber, parentNumber(func(p *Process) float64 { return float64(p.PID) }), "process id of the owner's parent"},
		{"Initiated", FieldBoolean, initiated, "true when this host opened the flow; absent when unknown"},
		{"Protocol", FieldText, text(func(o *Observation) string { return string(o.Transport) }), "transport, as Sigma means it: `tcp`, `udp`, or an IP protocol number; see network.protocol"},
		{"SourceIp", FieldAddress, sourceIP, "address of the side that opened the flow (the local one when unknown)"},
		{"SourcePort", FieldNumber, sourcePort, "its port"},
		{"SourceHostname", FieldList, sourceNames, "its names"},
		{"SourceIsIpv6", FieldBoolean, isIPv6(sourceIP), "true when SourceIp is IPv6"},
		{"DestinationIp", FieldAddress, destinationIP, "address of the other side; as the owner asked for it, where NAT changed it"},
		{"DestinationPort", FieldNumber, destinationPort, "its port"},
		{"DestinationHostname", FieldList, destinationNames, "its names, and the name inside a proxy request"},
		{"DestinationIsIpv6", FieldBoolean, isIPv6(destinationIP), "true when DestinationIp is IPv6"},
	}},
	{"Sigma: dns, firewall, zeek", []Field{
		{"query", FieldText, text(func(o *Observation) string { return o.Query }), "name a DNS question asks for"},
		{"QueryName", FieldText, text(func(o *Observation) string { return o.Query }), "the same, as Sysmon calls it"},
		{"src_ip", FieldAddress, sourceIP, "SourceIp"},
		{"src_port", FieldNumber, sourcePort, "SourcePort"},
		{"dst_ip", FieldAddress, destinationIP, "DestinationIp"},
		{"dst_port", FieldNumber, destinationPort, "DestinationPort"},
		{"action", FieldText, action, "`accept` once established, `block` when stopped on this host, absent in between"},
		{"blocked", FieldBoolean, blocked, "true when the flow was stopped on this host"},
		{"id.orig_h", FieldAddress, sourceIP, "SourceIp"},
		{"id.orig_p", FieldNumber, sourcePort, "SourcePort"},
		{"id.resp_h", FieldAddress, destinationIP, "DestinationIp"},
		{"id.resp_p", FieldNumber, destinationPort, "DestinationPort"},
	}},
	{"Match", []Field{
		{"attributed", FieldBoolean, attributed, "true when an indicator ties the remote itself; a DNS question alone does not"},
		{"match.field", FieldList, matches(func(m *Match) string { return m.Field }), "what met an indicator: `remote.addr`, `dns.query`, `tls.sni`, ..."},
		{"entity.id", FieldList, matches(func(m *Match) string { return m.Entity.ID }), "entities the indicators are tied to"},
		{"entity.name", FieldList, matches(func(m *Match) string { return m.Entity.Name }), "their names"},
		{"indicator.type", FieldList, matches(func(m *Match) string { return m.Indicator.Type }), "types of the indicators"},
		{"indicator.value", FieldList, matches(func(m *Match) string { return m.Indicator.Value }), "values of the indicators"},
		{"indicator.role", FieldList, matches(func(m *Match) string { return m.Indicator.Role }), "roles of the indicators"},
		{"indicator.actor", FieldList, matches(func(m *Match) string { return m.Indicator.Actor }), "actors the indicators are tied to"},
		{"indicator.confidence", FieldList, matches(func(m *Match) string { return m.Indicator.Confidence }), "`high`, `medium`, `low`"},
		{"indicator.age", FieldList, matches(func(m *Match) string { return m.Indicator.Age }), "`current`, `stale`, `undated`, `old` (undated, from an old source), `expired`, `early` (not yet valid)"},
		{"designation.authority", FieldList, designationFacts(func(d *DesignationRef) string { return d.Authority }), "authorities that listed the entities"},
		{"designation.programme", FieldList, designationFacts(func(d *DesignationRef) string { return d.Programme }), "their programmes"},
	}},
	{"Flow", []Field{
		{"network.direction", FieldText, text(func(o *Observation) string { return string(o.Direction) }), "`outbound`, `inbound`, `unknown`"},
		{"network.transport", FieldText, text(func(o *Observation) string { return string(o.Transport) }), "the same as Protocol"},
		{"network.protocol", FieldText, text(func(o *Observation) string { return o.Identification.Protocol }), "protocol found in the flow: `rdp`, `openvpn`, ..., `none`"},
		{"protocol.class", FieldText, text(func(o *Observation) string { return string(ClassOf(o.Identification.Protocol)) }), "class of that protocol: `rdp`, `vpn`, `remote_access`, `contact`"},
		{"protocol.state", FieldText, text(func(o *Observation) string { return o.Identification.State }), "`suspected` (one side), `confirmed` (both sides)"},
		{"protocol.product", FieldText, text(func(o *Observation) string { return o.Identification.Product }), "product, where the bytes or the host name one"},
		{"protocol.evidence", FieldText, text(func(o *Observation) string { return o.Identification.Evidence }), "how the protocol was found, in words"},
		{"protocol.source", FieldText, text(func(o *Observation) string { return o.Identification.Source }), "`packets` or `host`; `history` for a flow of the past"},
		{"outcome", FieldText, text(func(o *Observation) string { return string(o.Outcome) }), "`blocked`, `attempted`, `refused`, `established`, `data_both_ways`"},
		{"local.ip", FieldAddress, address(func(o *Observation) Endpoint { return o.Local }), "local address"},
		{"local.port", FieldNumber, port(func(o *Observation) Endpoint { return o.Local }), "local port"},
		{"remote.ip", FieldAddress, address(func(o *Observation) Endpoint { return o.Remote }), "remote address, as the packets had it"},
		{"remote.port", FieldNumber, port(func(o *Observation) Endpoint { return o.Remote }), "remote port, as the packets had it"},
		{"remote.names", FieldList, remoteNames, "names bound to the remote, from any source"},
		{"hidden.host", FieldText, hidden(func(h *Hidden) string { return h.Host }), "name inside a proxy request"},
		{"hidden.by", FieldText, hidden(func(h *Hidden) string { return h.By }), "`http_connect`, `http_proxy`, `socks5`, ..."},
		{"bytes.out", FieldNumber, number(func(o *Observation) uint64 { return o.BytesOut }), "IP bytes sent"},
		{"bytes.in", FieldNumber, number(func(o *Observation) uint64 { return o.BytesIn }), "IP bytes received"},
		{"sensor", FieldText, text(func(o *Observation) string { return o.Sensor }), "`socket`, `link`, `capture`; `history` for a flow of the past"},
		{"host.name", FieldText, text(func(o *Observation) string { return o.Host }), "this host"},
		{"notes", FieldList, func(o *Observation, _ []Match) (sigma.Value, bool) { return listOf(o.Notes) }, "what a reader must know of the observation"},
	}},
	{"Owner", []Field{
		{"owner.attribution", FieldText, text(func(o *Observation) string { return string(o.Owner.Attribution) }), "how the owner is known: `exact`, `inherited`, `seeded`, `tunnel`, `unknown`"},
		{"owner.intermediary", FieldText, text(func(o *Observation) string { return o.Owner.Intermediary }), "`proxy`, `resolver`, ...: the owner relays for others"},
		{"process.name", FieldText, process(func(p *Process) string { return p.Name }), "short name of the owner"},
		{"user.id", FieldNumber, processNumber(func(p *Process) float64 { return float64(p.UID) }), "numeric user of the owner"},
		{"container.id", FieldText, container(func(c *Container) string { return c.ID }), "container of the owner"},
		{"container.runtime", FieldText, container(func(c *Container) string { return c.Runtime }), "`containerd`, `cri-o`, `docker`, `podman`"},
		{"container.image.name", FieldText, container(func(c *Container) string { return c.Image }), "its image"},
		{"kubernetes.pod.name", FieldText, container(func(c *Container) string { return c.Pod }), "pod"},
		{"kubernetes.pod.uid", FieldText, container(func(c *Container) string { return c.PodUID }), "uid of the pod"},
		{"kubernetes.namespace", FieldText, container(func(c *Container) string { return c.Namespace }), "namespace of the pod"},
		{"kubernetes.workload", FieldText, container(func(c *Container) string { return c.Workload }), "what the pod belongs to"},
	}},
	{"TLS, SSH, place", []Field{
		{"tls.client.server_name", FieldText, tls(func(t *TLSFacts) string { return t.SNI }), "server name asked for"},
		{"tls.client.ja3", FieldText, tls(func(t *TLSFacts) string { return t.JA3 }), "JA3 of the client"},
		{"tls.client.ja4", FieldText, tls(func(t *TLSFacts) string { return t.JA4 }), "JA4 of the client"},
		{"tls.version", FieldText, tls(func(t *TLSFacts) string { return t.Version }), "version agreed, else the highest offered"},
		{"tls.alpn", FieldList, alpn, "application protocols offered"},
		{"tls.ech", FieldBoolean, ech, "true when the true name is encrypted (ECH)"},
		{"tls.server.hash.sha1", FieldList, certificates(func(c *CertificateFact) string { return c.SHA1 }), "SHA-1 of the certificates"},
		{"tls.server.hash.sha256", FieldList, certificates(func(c *CertificateFact) string { return c.SHA256 }), "SHA-256 of the certificates"},
		{"tls.server.subject", FieldList, certificates(func(c *CertificateFact) string { return c.Subject }), "subjects of the certificates"},
		{"tls.server.issuer", FieldList, certificates(func(c *CertificateFact) string { return c.Issuer }), "issuers of the certificates"},
		{"ssh.client.version", FieldText, ssh(func(s *SSHFacts) string { return s.ClientVersion }), "version line of the client"},
		{"ssh.server.version", FieldText, ssh(func(s *SSHFacts) string { return s.ServerVersion }), "version line of the server"},
		{"ssh.hassh", FieldText, ssh(func(s *SSHFacts) string { return s.HASSH }), "HASSH of the client"},
		{"ssh.hassh_server", FieldText, ssh(func(s *SSHFacts) string { return s.HASSHServer }), "HASSH of the server"},
		{"geo.country_iso_code", FieldText, geo(func(g *Geo) string { return g.Country }), "country of the remote, by MaxMind"},
		{"geo.city_name", FieldText, geo(func(g *Geo) string { return g.City }), "city of the remote"},
		{"as.number", FieldNumber, asNumber, "autonomous system of the remote"},
		{"as.organization.name", FieldText, geo(func(g *Geo) string { return g.Organisation }), "its organisation"},
	}},
}

// fieldsByName is the table by name.
var fieldsByName = indexFields()

func indexFields() map[string]*Field {
	out := map[string]*Field{}
	for _, s := range FieldSections {
		for i := range s.Fields {
			out[s.Fields[i].Name] = &s.Fields[i]
		}
	}
	return out
}

// FieldByName returns a row of the table.
func FieldByName(name string) (*Field, bool) {
	f, ok := fieldsByName[name]
	return f, ok
}

func commandLine(p *Process) string { return strings.Join(p.Args, " ") }

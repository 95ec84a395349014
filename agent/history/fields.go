package history

import "sallyport/rules"

// Fields of the field table that a past flow has not got, or not as the live one
// had them (bytes are of an hour). A detection that asks for one would take its
// absence for an answer.
var (
	notKept = names("CommandLine", "ProcessId", "ParentImage", "ParentCommandLine", "ParentProcessId",
		"protocol.evidence", "protocol.source", "local.ip", "bytes.out", "bytes.in", "sensor", "notes",
		"tls.version", "tls.alpn", "tls.ech", "tls.server.subject", "tls.server.issuer", "ssh.client.version", "ssh.server.version")

	// The near end of a flow that this host opened, and the far port of another.
	notKeptOutbound = names("SourceIp", "SourcePort", "SourceIsIpv6", "src_ip", "src_port", "id.orig_h", "id.orig_p", "local.port")
	notKeptInbound  = names("SourcePort", "src_port", "id.orig_p", "remote.port", "DestinationIp", "DestinationIsIpv6", "dst_ip", "id.resp_h")
)

func names(list ...string) map[string]bool {
	out := make(map[string]bool, len(list))
	for _, n := range list {
		out[n] = true
	}
	return out
}

// Keeps says whether a past flow of this direction still has what a rule calls
// by the name of a field.
func Keeps(field string, d rules.Direction) bool {
	if d == rules.Inbound {
		return !notKept[field] && !notKeptInbound[field]
	}
	return !notKept[field] && !notKeptOutbound[field]
}

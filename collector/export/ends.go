package export

import (
	"net/netip"
	"strconv"

	"sallyport/rules"
)

// end is one side of a flow.
type end struct {
	rules.Endpoint
	host    bool   // this end is the observing host
	bytes   uint64 // that it sent
	packets uint64 // that it sent
}

// ends maps the host's view to a source, which opened the flow, and a
// destination. Where nobody knows who opened it, the host is the source.
func ends(o *rules.Observation) (source, destination end) {
	local := end{o.Local, true, o.BytesOut, o.PacketsOut}
	remote := end{o.Remote, false, o.BytesIn, o.PacketsIn}
	if o.Direction == rules.Inbound {
		return remote, local
	}
	return local, remote
}

// hasFlow says that the finding is about a flow.
func hasFlow(f *rules.Finding) bool { return !f.OfAgent() && f.Observation.Remote.Addr.IsValid() }

// remoteName is the name bound to the remote; "" where none is known.
func remoteName(o *rules.Observation) string {
	if len(o.Names) > 0 {
		return o.Names[0].Name
	}
	return ""
}

// protocolNumber is the IANA number of the transport; false where it has none.
func protocolNumber(t rules.Transport) (int, bool) {
	switch t {
	case rules.TCP:
		return 6, true
	case rules.UDP:
		return 17, true
	}
	n, err := strconv.ParseUint(string(t), 10, 8)
	return int(n), err == nil
}

// protocolName is the transport's usual name.
func protocolName(t rules.Transport) string {
	switch t {
	case "1":
		return "icmp"
	case "47":
		return "gre"
	case "50":
		return "esp"
	case "51":
		return "ah"
	case "115":
		return "l2tp"
	}
	return string(t)
}

// identified is the protocol found in the flow, "" where none was.
func identified(o *rules.Observation) string {
	if o.Identification.Protocol == "none" {
		return ""
	}
	return o.Identification.Protocol
}

func version(a netip.Addr) int {
	if a.Unmap().Is4() {
		return 4
	}
	return 6
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

package export

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"sallyport/rules"
)

// hostile is what an attacker would put into a command line.
const hostile = "a|b=c\\d^e\tf\r\nCEF:0|x <14>1 - \x1b[2J \u202egnp.exe \xff \"q\", ]é "

var moment = time.Date(2026, 11, 27, 18, 40, 0, 123456789, time.UTC)

// samples are one finding of each kind that a format must tell apart.
func samples() []rules.Finding {
	return []rules.Finding{vpn(), desktop(), contact(), tunnelWithoutPorts(), aboutAgent()}
}

func finding(id string, o rules.Observation) rules.Finding {
	return rules.Finding{
		Version: rules.FindingVersion, ID: id, Revision: 1, State: rules.StateOpened,
		Agent: rules.AgentInfo{Name: "node-1", Version: "1.0.0", Pack: "vendor 7"},
		Rule: rules.RuleRef{
			ID: "attributed_vpn", Title: "VPN with an attributed remote", Level: "high", Source: "vendor",
			Tags: []string{"attack.command-and-control", "attack.t1219", "attack.t1090.003", "attack.g0001", "other"},
		},
		Title: "VPN with an attributed remote: Example Group, critical", Severity: rules.SeverityCritical, Confidence: "high",
		Why: []string{"data went both ways", "listed when the flow happened"}, Observation: o,
		First: moment, Last: moment.Add(90 * time.Second), Count: 3, Created: moment.Add(2 * time.Minute),
	}
}

func flow(transport rules.Transport, local, remote string) rules.Observation {
	end := func(s string) rules.Endpoint {
		if ap, err := netip.ParseAddrPort(s); err == nil {
			return rules.Endpoint{Addr: ap.Addr(), Port: ap.Port()}
		}
		return rules.Endpoint{Addr: netip.MustParseAddr(s)}
	}
	return rules.Observation{
		FlowID: "f-1", Host: "node-1", Sensor: "socket", Transport: transport, Direction: rules.Outbound,
		Local: end(local), Remote: end(remote), Outcome: rules.OutcomeData, First: moment, Last: moment.Add(time.Minute),
		BytesOut: 1000, BytesIn: 2000, PacketsOut: 10, PacketsIn: 20, Owner: rules.Owner{Attribution: rules.AttributionUnknown},
		Identification: rules.Identification{Protocol: "none"},
	}
}

// vpn has every field set.
func vpn() rules.Finding {
	o := flow(rules.TCP, "198.18.0.1:40000", "203.0.113.7:443")
	o.Closed = true
	o.RemoteAsked = &rules.Endpoint{Addr: netip.MustParseAddr("203.0.113.8"), Port: 8443}
	o.Hidden = &rules.Hidden{Host: "hidden.example", Addr: netip.MustParseAddr("203.0.113.9"), Port: 443, By: "http_connect"}
	o.Names = []rules.Name{{Name: "vpn.example", Source: "sni", At: moment}}
	o.Identification = rules.Identification{Protocol: "softether", State: "confirmed", Product: "SoftEther", Evidence: "watermark and answer", Source: "packets"}
	o.TLS = &rules.TLSFacts{
		SNI: "vpn.example", ALPN: []string{"http/1.1"}, Version: "TLS 1.2", JA3: "e7d705a3286e19ea42f587b344ee6865", JA4: "t12d190800_d83cc789557e_7af1ed941c26",
		Certificates: []rules.CertificateFact{{SHA1: "da39a3ee5e6b4b0d3255bfef95601890afd80709", SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Subject: "CN=vpn.example", Issuer: "CN=vpn.example", Until: moment}},
	}
	o.Geo = &rules.Geo{Country: "ZZ", City: "Nowhere", ASN: 64496, Organisation: "Example AS"}
	o.Notes = []string{"split by NAT"}
	o.Owner = rules.Owner{
		Attribution: rules.AttributionExact,
		Process:     &rules.Process{PID: 4711, Start: moment, Executable: "/usr/bin/vpnclient", Name: "vpnclient", Args: []string{"/usr/bin/vpnclient", "--to", "vpn.example"}, UID: 1000, User: "alice"},
		Parents:     []rules.Process{{PID: 1, Start: moment, Executable: "/usr/bin/bash", Name: "bash", UID: 1000, User: "alice"}},
		Container:   &rules.Container{ID: "0123456789ab", Runtime: "containerd", PodUID: "11111111-2222-3333-4444-555555555555", Pod: "web-0", Namespace: "shop", Workload: "StatefulSet/web", Image: "registry.example/web:1"},
	}
	f := finding("00112233445566778899aabbccddeeff", o)
	f.Matches = matches()
	f.Evidence = &rules.Evidence{PCAPNG: []byte("pcapng"), Packets: 4, SHA256: "ab"}
	f.Loss = &rules.Loss{Lost: map[string]uint64{"ring_full": 2}}
	return f
}

func matches() []rules.Match {
	return []rules.Match{{
		Field: "remote.addr", Value: "203.0.113.7", Entity: rules.EntityRef{ID: "example-group", Name: "Example Group", Kind: rules.KindOrganisation},
		Indicator: rules.IndicatorRef{
			Type: "ip", Value: "203.0.113.7", Role: "c2", Actor: "Example Actor", FirstSeen: "2024-01-01", LastSeen: "2026-10-01", ValidFrom: "2024-01-01",
			Confidence: "high", TLP: "AMBER+STRICT", Sources: []rules.SourceRef{{Name: "Example CERT", Date: "2026-10-02", Reference: "https://cert.example/1"}},
		},
		Designations: []rules.DesignationRef{{Authority: "OFAC", List: "SDN", Programme: "CYBER2", Designated: "2025-01-03", Reference: "https://ofac.example/1"}},
		Statement:    "a remote attributed to Example Group, reported by Example CERT as used until 2026-10-01",
	}, {
		Field: "name", Value: "vpn.example", Entity: rules.EntityRef{ID: "example-group", Name: "Example Group"},
		Indicator: rules.IndicatorRef{Type: "domain", Value: "example", Confidence: "low"},
	}}
}

// desktop is inbound, over IPv6, full of what must be escaped, and a later
// revision.
func desktop() rules.Finding {
	o := flow(rules.TCP, "[2001:db8:18::1]:3389", "[2001:db8::bad]:50000")
	o.Direction, o.Outcome = rules.Inbound, rules.OutcomeAttempted
	o.Identification = rules.Identification{Protocol: "rdp", State: "suspected", Evidence: hostile, Source: "packets"}
	o.Names = []rules.Name{{Name: hostile, Source: "dns", At: moment}}
	o.Owner = rules.Owner{Attribution: rules.AttributionInherited, Process: &rules.Process{PID: 9, Start: moment, Executable: "/opt/" + hostile, Name: hostile, Args: []string{"=cmd", hostile}, User: hostile}}
	f := finding("10112233445566778899aabbccddeeff", o)
	f.Revision, f.State, f.Severity, f.Confidence = 7, rules.StateUpdated, rules.SeverityLow, "low"
	f.Title, f.Rule.Title = hostile, hostile
	f.Why = []string{hostile, hostile}
	return f
}

// contact is closed, from history, suppressed, of a self-test, and of unknown
// direction.
func contact() rules.Finding {
	o := flow(rules.UDP, "198.18.0.1:5353", "203.0.113.53:53")
	o.Direction, o.Outcome, o.Query = rules.DirectionUnknown, rules.OutcomeRefused, "name.example"
	o.SSH = &rules.SSHFacts{HASSH: "ec7378c1a92f5a8dde7e8b7a1ddf33d1", HASSHServer: "b12d2871a1189eff20364cf5333619ee"}
	f := finding("20112233445566778899aabbccddeeff", o)
	f.State, f.Test, f.Retro, f.Severity = rules.StateClosed, true, true, rules.SeverityMedium
	f.Suppressed = &rules.Suppressed{By: "allow_list", Reason: "licensed", Author: "bob", Until: "2027-01-01"}
	return f
}

func tunnelWithoutPorts() rules.Finding {
	o := flow("50", "198.18.0.1", "203.0.113.50")
	o.Identification = rules.Identification{Protocol: "esp", State: "confirmed", Source: "packets"}
	f := finding("30112233445566778899aabbccddeeff", o)
	f.Severity = rules.SeverityHigh
	return f
}

func aboutAgent() rules.Finding {
	f := finding("40112233445566778899aabbccddeeff", rules.Observation{Host: "node-1", Sensor: rules.SensorAgent, First: moment, Last: moment})
	f.Rule = rules.RuleRef{ID: "sallyport_spool_full", Title: "The spool is full"}
	f.Title, f.Severity, f.Why = "The spool is full", rules.SeverityInfo, nil
	return f
}

func itemOf(t testing.TB, f rules.Finding) Item {
	t.Helper()
	raw, err := json.Marshal(&f)
	if err != nil {
		t.Fatal(err)
	}
	return Item{Finding: f, Raw: raw}
}

func items(t testing.TB) []Item {
	t.Helper()
	var list []Item
	for _, f := range samples() {
		list = append(list, itemOf(t, f))
	}
	return list
}

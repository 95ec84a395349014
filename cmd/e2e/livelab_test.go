package e2e

import (
	"fmt"
	"os"
	"testing"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// labEnv asks for the long list of real peers: make test-lab.
const labEnv = "SALLYPORT_TEST_LAB"

// labPeers are the peers beside those of TestPeers.
var labPeers = []struct {
	name string
	run  func(*lab) expectation
}{
	{"xrdp, negotiated", func(l *lab) expectation { return xrdpWith(l, 3389, "negotiate", "high", "tls") }},
	{"xrdp, RDP security", func(l *lab) expectation { return xrdpWith(l, 3389, "rdp", "fips", "rdp") }},
	{"xrdp, NLA refused", func(l *lab) expectation { return xrdpWith(l, 3389, "tls", "high", "nla") }},
	{"FreeRDP shadow, RDP security", labShadowRDP},
	{"FreeRDP shadow, NLA", func(l *lab) expectation { return labShadowNLA(l, 3389) }},
	{"FreeRDP shadow, NLA on another port", func(l *lab) expectation { return labShadowNLA(l, 8443) }},
	{"FreeRDP shadow, NLA with a wrong password", labShadowWrongPassword},
	{"RDP inside stunnel", labRDPInStunnel},
	{"TigerVNC", func(l *lab) expectation { return labVNC(l, 5900) }},
	{"SoftEther, eight connections", func(l *lab) expectation { return labSoftEther(l, 443, 8, false) }},
	{"SoftEther, UDP acceleration", func(l *lab) expectation { return labSoftEther(l, 443, 1, true) }},
	{"SoftEther on another port", func(l *lab) expectation { return labSoftEther(l, 8443, 1, false) }},
	{"SoftEther over DNS", labSoftEtherDNS},
	{"OpenVPN, tls-auth", func(l *lab) expectation { return labOpenVPN(l, "udp", "tls-auth") }},
	{"OpenVPN, tls-crypt", func(l *lab) expectation { return labOpenVPN(l, "udp", "tls-crypt") }},
	{"OpenVPN, tls-crypt over TCP", func(l *lab) expectation { return labOpenVPN(l, "tcp", "tls-crypt") }},
	{"OpenVPN, tls-crypt-v2", func(l *lab) expectation { return labOpenVPN(l, "udp", "tls-crypt-v2") }},
	{"OpenVPN, refused certificate", labOpenVPNRefused},
	{"OpenVPN, static key", labOpenVPNStatic},
	{"openconnect with DTLS", func(l *lab) expectation { return labOpenConnect(l, 443, true) }},
	{"openconnect without DTLS", func(l *lab) expectation { return labOpenConnect(l, 8443, false) }},
	{"SSTP", labSSTP},
	{"PPTP", labPPTP},
	{"L2TP", labL2TP},
	{"nebula", labNebula},
	{"tinc", labTinc},
	{"n2n", labN2N},
	{"OpenSSH on 443", func(l *lab) expectation { return openSSH(l, 443) }},
	{"ssh -D", labSSHSocks},
	{"dante", labDante},
}

func TestLab(t *testing.T) {
	if os.Getenv(labEnv) == "" {
		t.Skip("the long list of real peers runs with " + labEnv + "=1 (make test-lab)")
	}
	s := newSite(t, "")
	for i, p := range labPeers {
		t.Run(p.name, func(t *testing.T) {
			l := newLab(t, byte(i+1))
			p.run(l).check(t, s, l)
		})
	}
}

func labSoftEther(l *lab, port uint16, connections int, direct bool) expectation {
	vpn := newSoftEther(l, port)
	vpn.startClient("vpnclient")
	vpn.connect(connections, direct)
	l.traffic("192.168.30.1")
	// The server's NAT needs no device, so that its end is for the client to show.
	return expectation{protocol: "softether", client: "vpnclient", source: "host", transport: rules.TCP}
}

// labSoftEtherDNS: where nothing else comes through, SoftEther speaks to the
// server's UDP port 53.
func labSoftEtherDNS(l *lab) expectation {
	vpn := newSoftEther(l, 443)
	vpn.manage(true, "VpnOverIcmpDnsEnable", "/ICMP:no", "/DNS:yes")
	vpn.startClient("vpnclient")
	testenv.Tool(l.t, "nft")
	l.client.Run(l.t, "nft", fmt.Sprintf(`add table inet lab; add chain inet lab out { type filter hook output priority 0; };
add rule inet lab out ip daddr %[1]s tcp dport 443 drop; add rule inet lab out ip daddr %[1]s meta l4proto icmp drop;
add rule inet lab out ip daddr %[1]s udp dport { 5004, 40000-44999 } drop`, l.remote))
	vpn.connect(1, false)
	l.traffic("192.168.30.1")
	return expectation{protocol: "softether", client: "vpnclient", port: 53, transport: rules.UDP}
}

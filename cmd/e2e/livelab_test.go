package e2e

import (
	"os"
	"testing"
)

// labEnv asks for the long list of real peers: make test-lab.
const labEnv = "SALLYPORT_TEST_LAB"

// labPeer runs its own client and server and says what both ends must show.
type labPeer struct {
	name string
	run  func(*lab) expectation
}

// labPeers are the peers beside those of TestPeers.
var labPeers = []labPeer{
	{"xrdp, negotiated", func(l *lab) expectation { return xrdpWith(l, 3389, "negotiate", "high", "tls") }},
	{"xrdp, RDP security", func(l *lab) expectation { return xrdpWith(l, 3389, "rdp", "fips", "rdp") }},
	{"xrdp, NLA refused", func(l *lab) expectation { return xrdpWith(l, 3389, "tls", "high", "nla") }},
	{"rdesktop to xrdp", labRdesktop},
	{"FreeRDP shadow, RDP security", labShadowRDP},
	{"FreeRDP shadow, NLA", func(l *lab) expectation { return labShadowNLA(l, 3389) }},
	{"FreeRDP shadow, NLA on another port", func(l *lab) expectation { return labShadowNLA(l, 8443) }},
	{"FreeRDP shadow, NLA with a wrong password", labShadowWrongPassword},
	{"RDP inside stunnel, at rest", labRDPInStunnel},
	{"RDP inside stunnel, at work", labRDPAtWorkInStunnel},
	{"FreeRDP to a gateway", func(l *lab) expectation { return labGateway(l, "http") }},
	{"FreeRDP to a gateway, RPC", func(l *lab) expectation { return labGateway(l, "rpc") }},
	{"TigerVNC", func(l *lab) expectation { return labVNC(l, 5900) }},
	{"x11vnc", labX11VNC},
	{"TightVNC", labTightVNC},
	{"VNC of QEMU", labQEMUVNC},
	{"SPICE of QEMU", labSPICE},
	{"SoftEther", func(l *lab) expectation { return labSoftEther(l, 443, 1, false) }},
	{"SoftEther, eight connections", func(l *lab) expectation { return labSoftEther(l, 443, 8, false) }},
	{"SoftEther, UDP acceleration", func(l *lab) expectation { return labSoftEther(l, 443, 1, true) }},
	{"SoftEther on another port", func(l *lab) expectation { return labSoftEther(l, 8443, 1, false) }},
	{"SoftEther's page over TLS 1.2", labSoftEtherPage},
	{"SoftEther over DNS", labSoftEtherDNS},
	{"SoftEther, NAT traversal", labSoftEtherNATT},
	{"SoftEther, wrong password", labSoftEtherRefused},
	{"OpenVPN, tls-auth", func(l *lab) expectation { return labOpenVPN(l, "udp", "tls-auth") }},
	{"OpenVPN, tls-crypt", func(l *lab) expectation { return labOpenVPN(l, "udp", "tls-crypt") }},
	{"OpenVPN, tls-crypt over TCP", func(l *lab) expectation { return labOpenVPN(l, "tcp", "tls-crypt") }},
	{"OpenVPN, tls-crypt-v2", func(l *lab) expectation { return labOpenVPN(l, "udp", "tls-crypt-v2") }},
	{"OpenVPN, refused certificate", labOpenVPNRefused},
	{"OpenVPN, static key", labOpenVPNStatic},
	{"wireguard-go with a pre-shared key", func(l *lab) expectation { return wireGuard(l, "psk") }},
	{"wireguard-go with a wrong key", func(l *lab) expectation { return wireGuard(l, "wrong key") }},
	{"strongSwan, certificates", func(l *lab) expectation { return strongSwan(l, ike{version: 2, certificate: true}) }},
	{"strongSwan, wrong secret", func(l *lab) expectation { return strongSwan(l, ike{version: 2, wrongSecret: true}) }},
	{"strongSwan, aggressive mode", func(l *lab) expectation { return strongSwan(l, ike{version: 1, aggressive: true}) }},
	{"openconnect with DTLS", func(l *lab) expectation { return labOpenConnect(l, 443, true) }},
	{"openconnect without DTLS", func(l *lab) expectation { return labOpenConnect(l, 8443, false) }},
	{"openconnect to a GlobalProtect gateway", labGlobalProtect},
	{"openconnect to a FortiGate", labFortinet},
	{"openfortivpn to a FortiGate", labOpenFortiVPN},
	{"SSTP", labSSTP},
	{"SSTP to SoftEther", labSSTPSoftEther},
	{"PPTP", labPPTP},
	{"L2TP", labL2TP},
	{"Tailscale, direct", func(l *lab) expectation { return labTailscale(l, false) }},
	{"Tailscale over a relay", func(l *lab) expectation { return labTailscale(l, true) }},
	{"nebula", labNebula},
	{"tinc", labTinc},
	{"n2n", labN2N},
	{"OpenSSH on 443", func(l *lab) expectation { return openSSH(l, 443) }},
	{"Dropbear", labDropbear},
	{"Paramiko", labParamiko},
	{"PuTTY", labPlink},
	{"Go's SSH", labGoSSH},
	{"ssh -D", labSSHSocks},
	{"dante", func(l *lab) expectation { return labDante(l, "--socks5-hostname") }},
	{"dante, SOCKS 4a refused", func(l *lab) expectation { return labDante(l, "--socks4a") }},
	{"microsocks with a password", labMicrosocks},
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

package e2e

import (
	"fmt"
	"time"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// Inside the tunnel: the server's end, and the client's.
const (
	softEtherServerIP = "192.168.30.1"
	softEtherDevice   = "lab1" // the server's: "tap_" stands before it
)

// labSoftEther is a server whose hub ends in a device of its own, so that the
// host shows the tunnel at both ends.
func labSoftEther(l *lab, port uint16, connections int, direct bool) expectation {
	vpn := newSoftEther(l, port)
	vpn.bridge()
	vpn.startClient("vpnclient")
	vpn.connect(connections, direct)
	l.traffic(softEtherServerIP)
	if direct { // packets show what runs beside the TCP connection
		return expectation{protocol: "softether", client: "vpnclient", server: "vpnserver", source: "packets", transport: rules.UDP, eitherWay: true}
	}
	return expectation{protocol: "softether", client: "vpnclient", server: "vpnserver", source: "host", port: port, transport: rules.TCP}
}

// labSoftEtherPage: under TLS 1.2 the server's certificate is in the clear, and
// whoever asks for its page sees it.
func labSoftEtherPage(l *lab) expectation {
	newSoftEther(l, 443)
	l.client.Run(l.t, testenv.Tool(l.t, "curl"), "-sk", "--tls-max", "1.2", "-o", "/dev/null", "https://"+addr(l.remote, 443)+"/")
	return expectation{protocol: "softether", client: "curl", server: "vpnserver", port: 443, transport: rules.TCP, state: "suspected", source: "packets"}
}

// bridge ends the hub in a TAP device instead of the server's own NAT.
func (s *softEther) bridge() {
	s.t.Helper()
	s.hub("SecureNatDisable")
	s.manage(true, "BridgeCreate", "LAB", "/DEVICE:"+softEtherDevice, "/TAP:yes")
	for deadline := time.Now().Add(patience); s.server.Command("ip", "link", "show", "dev", "tap_"+softEtherDevice).Run() != nil; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the server makes no device within %s: %s", patience, s.server.Run(s.t, "ip", "link"))
		}
	}
	s.server.Run(s.t, "ip", "addr", "add", softEtherServerIP+"/24", "dev", "tap_"+softEtherDevice)
	s.server.Run(s.t, "ip", "link", "set", "tap_"+softEtherDevice, "up")
}

// labSoftEtherDNS: where nothing else comes through, SoftEther speaks to the
// server's UDP port 53.
func labSoftEtherDNS(l *lab) expectation {
	softEtherOver(l, "/ICMP:no", "/DNS:yes", "udp dport != 53")
	return expectation{protocol: "softether", client: "vpnclient", server: "vpnserver", port: 53, transport: rules.UDP}
}

// softEtherOver brings SoftEther up over DNS or ICMP; drop is what the client's
// host lets not through to the server.
func softEtherOver(l *lab, icmp, dns, drop string) {
	vpn := newSoftEther(l, 443)
	vpn.manage(true, "VpnOverIcmpDnsEnable", icmp, dns)
	vpn.startClient("vpnclient")
	testenv.Tool(l.t, "nft")
	rule := fmt.Sprintf("add table inet lab; add chain inet lab out { type filter hook output priority 0; }; add rule inet lab out ip daddr %s tcp dport 443 drop; add rule inet lab out ip daddr %s %s drop", l.remote, l.remote, drop)
	if icmp == "/ICMP:no" {
		rule += fmt.Sprintf("; add rule inet lab out ip daddr %s meta l4proto icmp drop", l.remote)
	}
	l.client.Run(l.t, "nft", rule)
	vpn.connect(1, false)
	l.traffic(softEtherServerIP)
}

// labSoftEtherNATT: a server that learns the addresses of SoftEther's rendezvous
// servers asks there for a token. The client's host stands in for these servers
// and does not answer: only the server's own words can be had.
func labSoftEtherNATT(l *lab) expectation {
	names := l.start(l.server, nil, testenv.Tool(l.t, "dnsmasq"), "-k", "-C", "/dev/null", "--no-hosts", "--no-resolv", "--listen-address=127.0.0.1",
		"--bind-interfaces", "--address=/#/"+l.caller.String(), "--pid-file=")
	names.listens(l.server, "u", 53)
	newSoftEther(l, 443)
	// The host on which SoftEther speaks first is the server's.
	l.remote, l.caller = l.caller, l.remote
	return expectation{protocol: "softether", client: "vpnserver", port: 5004, transport: rules.UDP, state: "suspected",
		oneEnd: "SoftEther's rendezvous servers cannot be had: nobody answers"}
}

// labSoftEtherRefused: the server does not take the password. Its TCP is TLS like
// any other and no device has traffic; but every client races UDP and ICMP beside
// it, and what it sends to port 53 gives it away.
func labSoftEtherRefused(l *lab) expectation {
	vpn := newSoftEther(l, 443)
	vpn.startClient("vpnclient")
	vpn.account("another", 1, false)
	return expectation{protocol: "softether", client: "vpnclient", port: 53, transport: rules.UDP, state: "suspected",
		oneEnd: "the server does not listen on port 53"}
}

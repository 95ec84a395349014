package e2e

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// expectation is what both ends of a peer's connection must show.
type expectation struct {
	protocol       string
	client, server string // executables' names
	port           uint16 // of the server; 0: several
	transport      rules.Transport
	state          string // "" is "confirmed"
	source         string // "" is any
	intermediary   string // of the client's owner
	hidden         uint16 // port of the true remote that is named inside
	eitherWay      bool   // both ends send unasked: who opened is chance
	atServer       end    // where the server's end shows other things
	oneEnd         string // why the server's end is not judged
}

// end is what one end shows that differs from the other.
type end struct{ protocol, state, source string }

// peers are the real programs of the list. Each runs its own client and
// server and says what both ends must show.
var peers = []struct {
	name string
	run  func(*lab) expectation
}{
	{"xrdp", func(l *lab) expectation { return xrdp(l, 3389) }},
	{"xrdp on another port", func(l *lab) expectation { return xrdp(l, 8443) }},
	{"FreeRDP shadow", func(l *lab) expectation { return shadow(l, 3390) }},
	{"OpenVPN over UDP", func(l *lab) expectation { return openVPN(l, "udp", 1194) }},
	{"OpenVPN over TCP on another port", func(l *lab) expectation { return openVPN(l, "tcp", 443) }},
	{"wireguard-go", func(l *lab) expectation { return wireGuard(l, "") }},
	{"strongSwan IKEv2", func(l *lab) expectation { return strongSwan(l, ike{version: 2}) }},
	{"strongSwan IKEv1", func(l *lab) expectation { return strongSwan(l, ike{version: 1}) }},
	{"OpenSSH", func(l *lab) expectation { return openSSH(l, 22) }},
	{"OpenSSH on another port", func(l *lab) expectation { return openSSH(l, 2222) }},
}

func TestPeers(t *testing.T) {
	s := newSite(t, "")
	for i, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			l := newLab(t, byte(i+1))
			p.run(l).check(t, s, l)
		})
	}
}

// check waits for both ends' findings. A peer without a server's name says why
// it has one end that can be judged.
func (e expectation) check(t *testing.T, s *site, l *lab) {
	t.Helper()
	if e.state == "" {
		e.state = "confirmed"
	}
	out := s.await(t, "the client's", e.met(rules.Outbound, l.remote, e.client))
	if e.port != 0 && out.Observation.Remote.Port != e.port {
		t.Errorf("remote port %d, want %d", out.Observation.Remote.Port, e.port)
	}
	checkFinding(t, &out)
	t.Logf("client's end: %s %s by %s: %s", out.Observation.Identification.State, out.Observation.Identification.Protocol,
		out.Observation.Identification.Source, out.Observation.Identification.Evidence)
	if e.server == "" {
		if e.oneEnd == "" {
			t.Error("the server's end is not judged, and nobody says why")
		}
		t.Logf("server's end: not judged: %s", e.oneEnd)
		return
	}
	e = e.other()
	in := s.await(t, "the server's", e.met(rules.Inbound, l.caller, e.server))
	if e.port != 0 && in.Observation.Local.Port != e.port {
		t.Errorf("local port %d, want %d", in.Observation.Local.Port, e.port)
	}
	t.Logf("server's end: %s %s by %s: %s", in.Observation.Identification.State, in.Observation.Identification.Protocol,
		in.Observation.Identification.Source, in.Observation.Identification.Evidence)
	checkFinding(t, &in)
}

// other is what the server's end must show.
func (e expectation) other() expectation {
	e.intermediary = ""
	if e.atServer.protocol != "" {
		e.protocol = e.atServer.protocol
	}
	if e.atServer.state != "" {
		e.state = e.atServer.state
	}
	if e.atServer.source != "" {
		e.source = e.atServer.source
	}
	return e
}

// met says whether a finding is the expected one at one end.
func (e expectation) met(d rules.Direction, remote netip.Addr, executable string) func(*rules.Finding) bool {
	return func(f *rules.Finding) bool {
		o := &f.Observation
		return (o.Direction == d || e.eitherWay) && o.Remote.Addr == remote && o.Transport == e.transport &&
			o.Identification.Protocol == e.protocol && o.Identification.State == e.state &&
			(e.source == "" || o.Identification.Source == e.source) && (e.intermediary == "" || o.Owner.Intermediary == e.intermediary) &&
			(e.hidden == 0 || o.Hidden != nil && o.Hidden.Port == e.hidden) &&
			executableOf(o) == executable
	}
}

// nobody is the owner of a UDP socket that has heard and never sent: the sensor
// learns who owns a socket from what it does.
const nobody = "nobody known"

func executableOf(o *rules.Observation) string {
	if o.Owner.Process == nil {
		return nobody
	}
	return filepath.Base(o.Owner.Process.Executable)
}

// checkFinding holds what every finding about the test entity must have.
func checkFinding(t *testing.T, f *rules.Finding) {
	t.Helper()
	if !f.Test {
		t.Error("a finding about a test entity is not marked as a test")
	}
	if f.Observation.Owner.Process != nil && f.Observation.Owner.Attribution != rules.AttributionExact {
		t.Errorf("attribution %s, want exact", f.Observation.Owner.Attribution)
	}
	if len(f.Why) == 0 || f.Severity == "" || f.Title == "" {
		t.Errorf("no reasons: severity %q, why %q, title %q", f.Severity, f.Why, f.Title)
	}
	if text := strings.ToLower(fmt.Sprint(f.Title, f.Why)); strings.Contains(text, "violation") {
		t.Errorf("a verdict: %s", text)
	}
	if f.Observation.Direction == rules.Inbound && f.Severity == rules.SeverityCritical {
		if o := f.Observation.Outcome; o == rules.OutcomeAttempted || o == rules.OutcomeRefused {
			t.Errorf("an inbound attempt is %s", f.Severity)
		}
	}
}

func xrdp(l *lab, port uint16) expectation { return xrdpWith(l, port, "tls", "high", "tls") }

// xrdpWith is xrdp with the security that the server and the client want.
func xrdpWith(l *lab, port uint16, layer, crypt, security string) expectation {
	l.xrdpServer(port, layer, crypt, xrdpAsks)
	l.freeRDP(l.remote.String(), port, security)
	return expectation{protocol: "rdp", client: "xfreerdp", server: "xrdp", port: port, transport: rules.TCP}
}

func (l *lab) freeRDP(address string, port uint16, security string) {
	l.start(l.client, []string{l.display(l.client)}, testenv.Tool(l.t, "xfreerdp"),
		fmt.Sprintf("/v:%s:%d", address, port), "/u:lab", "/p:not-a-secret", "/sec:"+security, "/cert:ignore", "/size:640x480")
}

func shadow(l *lab, port uint16) expectation {
	l.shadowServer(l.remote.String(), port, "-auth", "+sec-tls", "-sec-nla", "-sec-rdp")
	l.freeRDP(l.remote.String(), port, "tls")
	return expectation{protocol: "rdp", client: "xfreerdp", server: "freerdp-shadow-cli", port: port, transport: rules.TCP}
}

func (l *lab) shadowServer(address string, port uint16, security ...string) {
	server := l.start(l.server, []string{l.display(l.server)}, testenv.Tool(l.t, "freerdp-shadow-cli"),
		append([]string{fmt.Sprintf("/port:%d", port), "/bind-address:" + address}, security...)...)
	server.listens(l.server, "t", port)
}

func openVPN(l *lab, transport string, port uint16) expectation {
	kind := "u"
	if transport == "tcp" {
		kind = "t"
	}
	serverEnd, clientEnd := l.openVPNEnds(transport, l.remote.String(), port)
	l.start(l.server, nil, testenv.Tool(l.t, "openvpn"), serverEnd...).listens(l.server, kind, port)
	l.start(l.client, nil, testenv.Tool(l.t, "openvpn"), clientEnd...).says("Initialization Sequence Completed")
	return expectation{protocol: "openvpn", client: "openvpn", server: "openvpn", port: port, transport: rules.Transport(transport)}
}

// openVPNEnds are the arguments of both ends.
func (l *lab) openVPNEnds(transport, address string, port uint16) (server, client []string) {
	l.t.Helper()
	cert, key := l.certificate("vpn")
	// One certificate for both ends, self-signed and its own CA, is enough for a
	// handshake; each end names it by its fingerprint.
	print := strings.TrimSpace(strings.SplitN(l.run("openssl", "x509", "-in", cert, "-noout", "-fingerprint", "-sha256"), "=", 2)[1])
	common := []string{"--dev", "tun", "--disable-dco", "--cert", cert, "--key", key, "--peer-fingerprint", print, "--verb", "3"}
	serverProto, clientProto := "udp", "udp"
	if transport == "tcp" {
		serverProto, clientProto = "tcp-server", "tcp-client"
	}
	server = append([]string{"--proto", serverProto, "--port", fmt.Sprint(port), "--local", address,
		"--server", "10.9.0.0", "255.255.255.0", "--topology", "subnet", "--dh", "none", "--keepalive", "2", "20"}, common...)
	client = append([]string{"--client", "--nobind", "--proto", clientProto, "--remote", address, fmt.Sprint(port)}, common...)
	return server, client
}

// wireGuard is wireguard-go at both ends: with a key shared beforehand ("psk"),
// or with a client that the server does not know ("wrong key").
func wireGuard(l *lab, how string) expectation {
	program, wg := testenv.Tool(l.t, "wireguard-go"), testenv.Tool(l.t, "wg")
	const port = 51820
	// The control sockets lie in the file system that namespaces share, and are
	// named after the interface.
	names := map[string]string{"server": "wgs" + l.server.Name[len(l.server.Name)-4:], "client": "wgc" + l.client.Name[len(l.client.Name)-4:]}
	keys, public := map[string]string{}, map[string]string{}
	for _, end := range []string{"server", "client"} {
		keys[end] = l.write(end+".key", l.run("wg", "genkey"))
		public[end] = strings.TrimSpace(l.run("sh", "-c", "wg pubkey < "+keys[end]))
	}
	for end, n := range map[string]testenv.Netns{"server": l.server, "client": l.client} {
		p := l.start(n, nil, program, "-f", names[end])
		p.until("has its device", func() bool { return n.Command(wg, "show", names[end]).Run() == nil })
	}
	known, shared := public["client"], []string(nil)
	switch how {
	case "psk":
		shared = []string{"preshared-key", l.write("psk", l.run("wg", "genpsk"))}
	case "wrong key":
		l.write("other.key", l.run("wg", "genkey"))
		known = strings.TrimSpace(l.run("sh", "-c", "wg pubkey < other.key"))
	}
	l.server.Run(l.t, wg, append([]string{"set", names["server"], "listen-port", fmt.Sprint(port), "private-key", keys["server"],
		"peer", known, "allowed-ips", "10.8.0.2/32"}, shared...)...)
	l.client.Run(l.t, wg, append([]string{"set", names["client"], "private-key", keys["client"], "peer", public["server"], "allowed-ips", "10.8.0.1/32",
		"endpoint", fmt.Sprintf("%s:%d", l.remote, port), "persistent-keepalive", "1"}, shared...)...)
	for end, n := range map[string]testenv.Netns{"server": l.server, "client": l.client} {
		addr := map[string]string{"server": "10.8.0.1/24", "client": "10.8.0.2/24"}[end]
		n.Run(l.t, "ip", "addr", "add", addr, "dev", names[end])
		n.Run(l.t, "ip", "link", "set", names[end], "up")
	}
	want := expectation{protocol: "wireguard", client: "wireguard-go", server: "wireguard-go", port: port, transport: rules.UDP}
	if how == "wrong key" {
		want.state, want.server = "suspected", nobody // nothing answers
	}
	return want
}

func openSSH(l *lab, port uint16) expectation {
	l.sshServer(port)
	l.start(l.client, nil, testenv.Tool(l.t, "ssh"), "-F", "none", "-i", l.path("user"), "-p", fmt.Sprint(port),
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "root@"+l.remote.String(), "sleep 5")
	return expectation{protocol: "ssh", client: "ssh", server: "sshd", port: port, transport: rules.TCP}
}

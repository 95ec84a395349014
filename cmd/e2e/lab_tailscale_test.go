package e2e

import (
	"os"
	"path/filepath"
	"strings"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// tailscaleEnv is a folder with the programs of testdata/peers/tailscale, which
// Debian does not have: make test-lab builds them.
const tailscaleEnv = "SALLYPORT_TEST_TAILSCALE"

// labTailscale is two nodes, a control server and a relay, the last two at the
// server's end. relayed keeps the nodes from one another, so that all goes over
// the relay.
func labTailscale(l *lab, relayed bool) expectation {
	dir := os.Getenv(tailscaleEnv)
	if dir == "" {
		l.t.Fatalf("%s names no folder with Tailscale's programs: make test-lab builds them", tailscaleEnv)
	}
	program := func(name string) string { return filepath.Join(dir, name) }
	ip := l.remote.String()
	l.run("sh", "-c", "mkdir certs && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN="+ip+
		" -addext subjectAltName=IP:"+ip+" -keyout certs/"+ip+".key -out certs/"+ip+".crt")
	// The nodes must meet under the addresses of the test entity, or not at all.
	testenv.Tool(l.t, "nft")
	for _, n := range []testenv.Netns{l.client, l.server} {
		closed := "ip daddr 198.18.0.0/15 meta l4proto udp drop; add rule inet lab out meta nfproto ipv6 drop"
		if relayed && n == l.client {
			closed = "udp dport != { 53, 3478 } drop"
		}
		n.Run(l.t, "nft", "add table inet lab; add chain inet lab out { type filter hook output priority 0; }; add rule inet lab out "+closed)
	}
	// Of a control server without TLS whose address is not private a node asks for
	// TLS on port 443 whenever it has to dial again.
	const control = "10.99.0.1"
	l.server.Run(l.t, "ip", "addr", "add", control+"/32", "dev", "lo")
	l.start(l.server, nil, program("tailscale-control"), "-address", control+":8080", "-relay", ip).listens(l.server, "t", 8080)
	l.start(l.server, nil, program("derper"), "-c", l.path("derper.json"), "-a", ip+":443", "-hostname", ip,
		"-certmode", "manual", "-certdir", l.path("certs"), "-http-port", "-1", "-stun").listens(l.server, "t", 443)
	for _, end := range []struct {
		name, port string
		netns      testenv.Netns
	}{{"server", "41642", l.server}, {"client", "41641", l.client}} {
		socket := l.path(end.name + ".sock")
		node := l.start(end.netns, []string{"TS_DEBUG_FIREWALL_MODE=off", "TS_NO_LOGS_NO_SUPPORT=true"}, program("tailscaled"), "--tun=userspace-networking",
			"--statedir="+l.path(end.name), "--socket="+socket, "--port="+end.port, "--no-logs-no-support")
		node.until("takes commands", func() bool { _, err := os.Stat(socket); return err == nil })
		end.netns.Run(l.t, "timeout", "60", program("tailscale"), "--socket="+socket, "up", "--login-server=http://"+control+":8080", "--hostname="+end.name, "--accept-dns=false")
	}
	inside := strings.Fields(l.server.Run(l.t, program("tailscale"), "--socket="+l.path("server.sock"), "ip", "-4"))[0]
	l.start(l.client, nil, program("tailscale"), "--socket="+l.path("client.sock"), "ping", "-c", "60", "--until-direct=false", inside).says("pong from")
	if relayed {
		// TLS to the relay. Neither end has a device: what their executables carry
		// is all that shows it.
		return expectation{protocol: "tailscale", client: "tailscaled", server: "derper", port: 443, transport: rules.TCP, source: "host", state: "suspected"}
	}
	return expectation{protocol: "tailscale", client: "tailscaled", server: "tailscaled", transport: rules.UDP}
}

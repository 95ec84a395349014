package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// labOpenVPN is OpenVPN whose control channel a shared key hides or signs.
func labOpenVPN(l *lab, transport, how string) expectation {
	serverEnd, clientEnd := l.openVPNEnds(transport, l.remote.String(), 1194)
	switch how {
	case "tls-crypt-v2":
		l.run("openvpn", "--genkey", "tls-crypt-v2-server", "v2s.key")
		l.run("openvpn", "--tls-crypt-v2", "v2s.key", "--genkey", "tls-crypt-v2-client", "v2c.key")
		serverEnd, clientEnd = append(serverEnd, "--tls-crypt-v2", l.path("v2s.key")), append(clientEnd, "--tls-crypt-v2", l.path("v2c.key"))
	default:
		l.run("openvpn", "--genkey", "secret", "ta.key")
		serverEnd, clientEnd = append(serverEnd, "--"+how, l.path("ta.key")), append(clientEnd, "--"+how, l.path("ta.key"))
		if how == "tls-auth" {
			serverEnd, clientEnd = append(serverEnd, "0"), append(clientEnd, "1")
		}
	}
	l.openVPNServer(transport, serverEnd)
	l.start(l.client, nil, testenv.Tool(l.t, "openvpn"), clientEnd...).says("Initialization Sequence Completed")
	return expectation{protocol: "openvpn", client: "openvpn", server: "openvpn", port: 1194, transport: rules.Transport(transport)}
}

func (l *lab) openVPNServer(transport string, args []string) {
	l.t.Helper()
	kind := "u"
	if transport == "tcp" {
		kind = "t"
	}
	l.start(l.server, nil, testenv.Tool(l.t, "openvpn"), args...).listens(l.server, kind, 1194)
}

// labOpenVPNRefused: the client does not take the server's certificate.
func labOpenVPNRefused(l *lab) expectation {
	serverEnd, clientEnd := l.openVPNEnds("tcp", l.remote.String(), 1194)
	for i, arg := range clientEnd {
		if arg == "--peer-fingerprint" {
			clientEnd[i+1] = strings.Repeat("00:", 31) + "00"
		}
	}
	l.openVPNServer("tcp", serverEnd)
	l.start(l.client, nil, testenv.Tool(l.t, "openvpn"), clientEnd...).says("certificate hash verification failed")
	return expectation{protocol: "openvpn", client: "openvpn", server: "openvpn", port: 1194, transport: rules.TCP}
}

// labOpenVPNStatic: with a static key every byte is noise; the host shows it.
func labOpenVPNStatic(l *lab) expectation {
	l.run("openvpn", "--genkey", "secret", "static.key")
	common := []string{"--dev", "tun", "--proto", "udp", "--secret", l.path("static.key"), "--cipher", "AES-256-CBC", "--disable-dco", "--verb", "3"}
	l.openVPNServer("udp", append([]string{"--port", "1194", "--ifconfig", "10.9.0.1", "10.9.0.2", "--keepalive", "2", "20"}, common...))
	l.start(l.client, nil, testenv.Tool(l.t, "openvpn"), append([]string{"--nobind", "--remote", l.remote.String(), "1194",
		"--ifconfig", "10.9.0.2", "10.9.0.1", "--keepalive", "2", "20"}, common...)...).says("Initialization Sequence Completed")
	l.traffic("10.9.0.1")
	return expectation{protocol: "openvpn", client: "openvpn", server: "openvpn", port: 1194, transport: rules.UDP, source: "host"}
}

const ocservConf = `auth = "plain[passwd=%[1]s]"
tcp-port = %[2]d
udp-port = %[2]d
run-as-user = root
run-as-group = root
socket-file = %[3]s
server-cert = %[4]s
server-key = %[5]s
isolate-workers = false
max-clients = 4
keepalive = 30
dpd = 10
try-mtu-discovery = false
device = vpns
predictable-ips = true
ipv4-network = 10.6.0.0
ipv4-netmask = 255.255.255.0
route = 10.6.0.0/24
cisco-client-compat = true
dtls-legacy = true
auth-timeout = 40
cookie-timeout = 60
rekey-time = 172800
use-occtl = false
pid-file = %[6]s
`

func labOpenConnect(l *lab, port uint16, dtls bool) expectation {
	cert, key := l.certificate("vpn.example")
	l.run("sh", "-c", "printf 'not-a-secret\\nnot-a-secret\\n' | ocpasswd -c passwd u1")
	conf := l.write("ocserv.conf", fmt.Sprintf(ocservConf, l.path("passwd"), port, l.path("oc.sock"), cert, key, l.path("oc.pid")))
	l.start(l.server, nil, testenv.Tool(l.t, "ocserv"), "-f", "-d", "1", "-c", conf).listens(l.server, "t", port)
	pin, script := l.pinOf(cert), l.vpncScript()
	noDTLS := ""
	if !dtls {
		noDTLS = "--no-dtls"
	}
	client := l.start(l.client, nil, "sh", "-c", fmt.Sprintf("echo not-a-secret | exec %s --non-inter -v --user u1 --passwd-on-stdin --servercert %s %s -s %s %s:%d",
		testenv.Tool(l.t, "openconnect"), pin, noDTLS, script, l.remote, port))
	client.until("has its address", func() bool {
		out, err := l.client.Command("ip", "-o", "addr").Output()
		return err == nil && strings.Contains(string(out), "inet 10.6.")
	})
	l.traffic("10.6.0.1")
	if dtls {
		// ocserv hears the first datagram on the socket that hears everyone, and
		// connects that one to the client.
		return expectation{protocol: "anyconnect-dtls", client: "openconnect", server: "ocserv", port: port, transport: rules.UDP}
	}
	return expectation{protocol: "openconnect", client: "openconnect", server: "ocserv-worker", port: port, transport: rules.TCP, source: "host"}
}

func labNebula(l *lab) expectation {
	program := testenv.Tool(l.t, "nebula")
	const port = 4242
	l.run("nebula-cert", "ca", "-name", "lab")
	for i, end := range []struct {
		name  string
		netns testenv.Netns
	}{{"server", l.server}, {"client", l.client}} {
		l.run("nebula-cert", "sign", "-name", end.name, "-ip", fmt.Sprintf("10.1.0.%d/24", i+1))
		lighthouse, listen, hosts := true, port, ""
		if end.name == "client" {
			lighthouse, listen, hosts = false, 0, `"10.1.0.1"`
		}
		conf := l.write(end.name+".yml", fmt.Sprintf(`pki: {ca: %[1]s, cert: %[2]s.crt, key: %[2]s.key}
static_host_map: {"10.1.0.1": ["%[3]s:%[4]d"]}
lighthouse: {am_lighthouse: %[5]t, interval: 5, hosts: [%[6]s]}
listen: {host: 0.0.0.0, port: %[7]d}
punchy: {punch: true}
tun: {dev: nebula0}
firewall: {outbound: [{port: any, proto: any, host: any}], inbound: [{port: any, proto: any, host: any}]}
`, l.path("ca.crt"), l.path(end.name), l.remote, port, lighthouse, hosts, listen))
		p := l.start(end.netns, nil, program, "-config", conf)
		if lighthouse {
			p.listens(end.netns, "u", port)
		}
	}
	l.traffic("10.1.0.1")
	return expectation{protocol: "nebula", client: "nebula", server: "nebula", port: port, transport: rules.UDP}
}

func labTinc(l *lab) expectation {
	program := testenv.Tool(l.t, "tincd")
	for i, name := range []string{"server", "client"} {
		connect, host := "", ""
		if name == "client" {
			connect = "ConnectTo=server\n"
		} else {
			host = fmt.Sprintf("Address=%s 655\n", l.remote)
		}
		l.write(name+"/tinc.conf", "Name="+name+"\nInterface=tinc0\nPort=655\n"+connect)
		l.write(name+"/hosts/"+name, host+fmt.Sprintf("Subnet=10.3.0.%d/32\n", i+1))
		l.executable(name+"/tinc-up", fmt.Sprintf("#!/bin/sh\nip link set $INTERFACE up\nip addr add 10.3.0.%d/24 dev $INTERFACE\n", i+1))
		l.run("sh", "-c", fmt.Sprintf("yes '' | %s -c %s -K2048", program, l.path(name)))
	}
	for from, to := range map[string]string{"server": "client", "client": "server"} {
		data, err := os.ReadFile(filepath.Join(l.path(from), "hosts", from))
		if err != nil {
			l.t.Fatal(err)
		}
		l.write(to+"/hosts/"+from, string(data))
	}
	l.start(l.server, nil, program, "-D", "-d3", "-c", l.path("server"), "--pidfile="+l.path("server.pid")).listens(l.server, "t", 655)
	l.start(l.client, nil, program, "-D", "-d3", "-c", l.path("client"), "--pidfile="+l.path("client.pid"))
	l.traffic("10.3.0.1")
	return expectation{protocol: "tinc", client: "tincd", server: "tincd", port: 655, transport: rules.TCP}
}

func labN2N(l *lab) expectation {
	const port = 7654
	l.start(l.server, nil, testenv.Tool(l.t, "supernode"), "-l", fmt.Sprint(port)).listens(l.server, "u", port)
	edge := testenv.Tool(l.t, "edge")
	for i, n := range []testenv.Netns{l.server, l.client} {
		l.start(n, nil, edge, "-d", "n2n0", "-a", fmt.Sprintf("10.2.0.%d", i+1), "-c", "lab", "-k", "not-a-secret", "-u", "0", "-g", "0",
			"-l", fmt.Sprintf("%s:%d", l.remote, port))
	}
	l.traffic("10.2.0.1")
	return expectation{protocol: "n2n", client: "edge", server: "supernode", transport: rules.UDP}
}

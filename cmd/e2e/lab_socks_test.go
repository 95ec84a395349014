package e2e

import (
	"fmt"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// hiddenPort is where the page lies that the proxies are asked for.
const hiddenPort = 8081

// labDante: the flow to the proxy is SOCKS, and names its true remote. Dante
// refuses SOCKS 4, which is an answer all the same.
func labDante(l *lab, how string) expectation {
	const port = 1080
	serveHTTP(l.t, l.server, fmt.Sprintf("127.0.0.1:%d", hiddenPort))
	conf := l.write("danted.conf", fmt.Sprintf(`logoutput: stderr
internal: %s port = %d
external: lo
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`, l.remote, port))
	l.start(l.server, nil, testenv.Tool(l.t, "danted"), "-f", conf, "-p", l.path("danted.pid")).listens(l.server, "t", port)
	l.start(l.client, nil, testenv.Tool(l.t, "curl"), "-s", "-o", "/dev/null", how, addr(l.remote, port), fmt.Sprintf("http://localhost:%d/", hiddenPort))
	return expectation{protocol: "socks", client: "curl", server: "danted", port: port, transport: rules.TCP, hidden: hiddenPort}
}

// labSSHSocks: ssh is a proxy for others on its own host, and its flow is marked
// so.
func labSSHSocks(l *lab) expectation {
	serveHTTP(l.t, l.server, fmt.Sprintf("127.0.0.1:%d", hiddenPort))
	want := openSSH(l, 22)
	l.start(l.client, nil, testenv.Tool(l.t, "ssh"), "-F", "none", "-i", l.path("user"), "-p", "22", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-N", "-D", "127.0.0.1:1080", "root@"+l.remote.String()).listens(l.client, "t", 1080)
	l.client.Run(l.t, testenv.Tool(l.t, "curl"), "-s", "-o", "/dev/null", "--socks5-hostname", "127.0.0.1:1080", fmt.Sprintf("http://127.0.0.1:%d/", hiddenPort))
	want.intermediary = "proxy"
	return want
}

// labMicrosocks: a SOCKS server that takes names and passwords only (RFC 1929).
func labMicrosocks(l *lab) expectation {
	const port = 1081
	serveHTTP(l.t, l.server, fmt.Sprintf("127.0.0.1:%d", hiddenPort))
	l.start(l.server, nil, testenv.Tool(l.t, "microsocks"), "-i", l.remote.String(), "-p", fmt.Sprint(port), "-u", "lab", "-P", "not-a-secret").listens(l.server, "t", port)
	l.client.Run(l.t, testenv.Tool(l.t, "curl"), "-s", "-o", "/dev/null", "--proxy-user", "lab:not-a-secret", "--socks5-hostname", addr(l.remote, port),
		fmt.Sprintf("http://127.0.0.1:%d/", hiddenPort))
	return expectation{protocol: "socks", client: "curl", server: "microsocks", port: port, transport: rules.TCP, hidden: hiddenPort}
}

package e2e

import (
	"fmt"
	"strings"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

func labShadowRDP(l *lab) expectation {
	l.shadowServer(l.remote.String(), 3389, "-auth", "+sec-rdp", "-sec-nla", "-sec-tls")
	l.freeRDP(l.remote.String(), 3389, "rdp")
	return expectation{protocol: "rdp", client: "xfreerdp", server: "freerdp-shadow-cli", port: 3389, transport: rules.TCP}
}

func labShadowNLA(l *lab, port uint16) expectation {
	l.shadowServer(l.remote.String(), port, l.nla("not-a-secret")...)
	l.freeRDP(l.remote.String(), port, "nla")
	return expectation{protocol: "rdp", client: "xfreerdp", server: "freerdp-shadow-cli", port: port, transport: rules.TCP}
}

// labShadowWrongPassword: the server takes another password than the client has.
func labShadowWrongPassword(l *lab) expectation {
	l.shadowServer(l.remote.String(), 3389, l.nla("another")...)
	l.freeRDP(l.remote.String(), 3389, "nla")
	return expectation{protocol: "rdp", client: "xfreerdp", server: "freerdp-shadow-cli", port: 3389, transport: rules.TCP}
}

// nla is network level authentication against a file of one user, whose password
// is kept as NTLM has it: MD4 of UTF-16 ([MS-NLMP] section 3.3.1).
func (l *lab) nla(password string) []string {
	l.t.Helper()
	l.write("password", strings.Join(strings.Split(password, ""), "\x00")+"\x00")
	out := l.run("openssl", "dgst", "-md4", "-provider", "legacy", "-provider", "default", "-r", "password")
	sum, _, _ := strings.Cut(out, " ")
	return []string{"+auth", "+sec-nla", "-sec-tls", "-sec-rdp", "/sam-file:" + l.write("sam", "lab:::"+sum+":::\n")}
}

// labRDPInStunnel: on the wire only TLS; the host shows what stunnel passes on.
// The picture does not change, so that nothing rises with anything.
func labRDPInStunnel(l *lab) expectation {
	l.shadowServer("127.0.0.1", 3389, l.nla("not-a-secret")...)
	l.stunnels(443, 3389, 13389)
	l.freeRDP("127.0.0.1", 13389, "nla")
	return expectation{protocol: "rdp", client: "stunnel4", server: "stunnel4", port: 443, transport: rules.TCP, state: "suspected", source: "host", intermediary: "tunnel relay"}
}

func labVNC(l *lab, port uint16) expectation {
	l.run("sh", "-c", "printf 'not-a-se\\n' | vncpasswd -f > vnc.pass && chmod 600 vnc.pass")
	l.start(l.server, nil, testenv.Tool(l.t, "Xtigervnc"), "-displayfd", "1", "-geometry", "640x480", "-depth", "16", "-rfbport", fmt.Sprint(port),
		"-PasswordFile", l.path("vnc.pass"), "-SecurityTypes", "VncAuth", "-localhost", "no").listens(l.server, "t", port)
	l.start(l.client, []string{l.display(l.client)}, testenv.Tool(l.t, "xtigervncviewer"), "-passwd", l.path("vnc.pass"), "-SecurityTypes", "VncAuth",
		fmt.Sprintf("%s::%d", l.remote, port))
	return expectation{protocol: "vnc", client: "xtigervncviewer", server: "Xtigervnc", port: port, transport: rules.TCP}
}

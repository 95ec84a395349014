package e2e

import (
	"fmt"
	"strings"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// behindTLS is where the fake servers listen, on the server's loopback.
const behindTLS = 8080

// pinOf is a certificate's key as openconnect takes it.
func (l *lab) pinOf(cert string) string {
	l.t.Helper()
	return "pin-sha256:" + strings.TrimSpace(l.run("sh", "-c",
		"openssl x509 -in "+cert+" -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"))
}

// vpncScript configures the device that openconnect made.
func (l *lab) vpncScript() string {
	l.t.Helper()
	return l.executable("vpnc-script", "#!/bin/sh\n[ \"$reason\" = connect ] || exit 0\nip link set dev $TUNDEV up mtu $INTERNAL_IP4_MTU\nip addr add $INTERNAL_IP4_ADDRESS/24 dev $TUNDEV\n")
}

// openconnectAs has openconnect speak another product's protocol to a fake server
// of that, in a session that is logged in already.
func (l *lab) openconnectAs(protocol, cookie string, answer fake) expectation {
	l.t.Helper()
	l.serveFake(behindTLS, answer)
	pin := l.pinOf(l.terminated(443, behindTLS))
	client := l.start(l.client, nil, testenv.Tool(l.t, "openconnect"), "--protocol="+protocol, "--non-inter", "-v", "--no-dtls", "--servercert", pin,
		"--cookie", cookie, "-s", l.vpncScript(), addr(l.remote, 443))
	client.until("has its address", func() bool {
		out, err := l.client.Command("ip", "-o", "addr").Output()
		return err == nil && strings.Contains(string(out), "inet 10.6.")
	})
	l.traffic("10.6.0.1")
	return expectation{protocol: "openconnect", client: "openconnect", server: "stunnel4", port: 443, transport: rules.TCP, source: "host"}
}

// labGlobalProtect: the client's program is known, and what it speaks where TLS
// is taken off.
func labGlobalProtect(l *lab) expectation {
	want := l.openconnectAs("gp", "authcookie=lab&portal=lab&user=lab&domain=lab&computer=lab&preferred-ip=", fakeGlobalProtect)
	want.atServer.protocol = "globalprotect"
	return want
}

func labFortinet(l *lab) expectation {
	want := l.openconnectAs("fortinet", "SVPNCOOKIE=lab", fakeFortiGate)
	want.atServer.protocol = "fortivpn"
	return want
}

// pppd stands in for the real one, whose kernel part this host may lack: it
// sends frames until it is stopped.
func (l *lab) pppd(frames string) string {
	l.t.Helper()
	file := l.write("lcp", frames)
	return l.executable("pppd", fmt.Sprintf("#!/bin/sh\nstty raw -echo 2>/dev/null\ncat >/dev/null <&0 &\nwhile cat %s; do sleep 0.2; done\n", file))
}

// smallFrames are some that sstpc passes on one by one.
func smallFrames() string { return strings.Repeat(string(lcpFrame(1))+string(lcpFrame(2)), 8) }

// withPPPD starts a program that runs pppd by its path.
func (l *lab) withPPPD(command, frames string) {
	l.t.Helper()
	l.start(l.client, nil, "unshare", "-m", "--propagation", "private", "sh", "-c", fmt.Sprintf("mount --bind %s /usr/sbin/pppd && exec %s", l.pppd(frames), command))
}

// labOpenFortiVPN: the client's device would be pppd's, so that its program is
// all that the host shows of it.
func labOpenFortiVPN(l *lab) expectation {
	l.serveFake(behindTLS, fakeFortiGate)
	cert := l.terminated(443, behindTLS)
	digest := strings.Fields(l.run("sh", "-c", "openssl x509 -in "+cert+" -outform der | sha256sum"))[0]
	l.withPPPD(fmt.Sprintf("%s %s -c /dev/null --cookie=SVPNCOOKIE=lab --trusted-cert %s --no-routes --no-dns --pppd-no-peerdns -v",
		testenv.Tool(l.t, "openfortivpn"), addr(l.remote, 443), digest), string(lcpFrame(1))+strings.Repeat(string(lcpEcho(600)), 3))
	return expectation{protocol: "fortivpn", client: "openfortivpn", server: "stunnel4", port: 443, transport: rules.TCP, source: "host", state: "suspected",
		atServer: end{state: "confirmed"}}
}

// labSSTP: as with openfortivpn, the client's device would be pppd's.
func labSSTP(l *lab) expectation {
	l.serveFake(behindTLS, fakeSSTP)
	l.terminated(443, behindTLS)
	l.withPPPD(fmt.Sprintf("%s --log-level 5 --log-stderr --cert-warn --user u1 --password not-a-secret %s noauth", testenv.Tool(l.t, "sstpc"), addr(l.remote, 443)), smallFrames())
	return expectation{protocol: "sstp", client: "sstpc", server: "stunnel4", port: 443, transport: rules.TCP, source: "host", state: "suspected",
		atServer: end{state: "confirmed"}}
}

// labSSTPSoftEther: SoftEther's server of this build never answers sstpc. Under
// TLS 1.3 nothing shows, and the flow is over before the host tells: a contact
// with its owner.
func labSSTPSoftEther(l *lab) expectation {
	newSoftEther(l, 443)
	l.withPPPD(fmt.Sprintf("%s --log-level 5 --log-stderr --cert-warn --user u1 --password not-a-secret %s noauth", testenv.Tool(l.t, "sstpc"), addr(l.remote, 443)), smallFrames())
	return expectation{protocol: "tls", client: "sstpc", server: "vpnserver", port: 443, transport: rules.TCP}
}

// labGateway: FreeRDP asks a gateway of the test's own for a host behind it, over
// HTTP or over RPC over HTTP.
func labGateway(l *lab, transport string) expectation {
	l.serveFake(behindTLS, fakeRDGateway)
	l.terminated(443, behindTLS)
	l.start(l.client, []string{l.display(l.client)}, testenv.Tool(l.t, "xfreerdp"), "/v:10.0.0.5", "/u:lab", "/p:not-a-secret",
		"/g:"+addr(l.remote, 443), "/gu:lab", "/gp:not-a-secret", "/gt:"+transport, "/cert:ignore", "/size:640x480", "/timeout:60000")
	return expectation{protocol: "rdp", client: "xfreerdp", server: "stunnel4", port: 443, transport: rules.TCP, source: "host", state: "suspected"}
}

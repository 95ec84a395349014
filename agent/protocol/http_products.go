package protocol

import (
	"bytes"
	"strings"
)

// httpProduct asks the rules that name a product by what it says in plain
// HTTP: behind a TLS terminator, on loopback, or where TLS is off. State
// Unknown: ordinary HTTP, or a scanner's question for a product that the server
// is not.
func httpProduct(e exchange) Result {
	if e.refused() {
		return Result{}
	}
	for _, rule := range [...]func(exchange) Result{
		sstpHTTP,
		softetherHTTP,
		openconnectHTTP,
		globalprotectHTTP,
		fortiHTTP,
		netsupportHTTP,
		meshHTTP,
		teamviewerHTTP,
	} {
		if answer := rule(e); answer.State != Unknown {
			return answer
		}
	}
	return Result{}
}

// sstpHTTP: the method of [MS-SSTP], as SoftEtherVPN src/Cedar/Proto_SSTP.h has it.
func sstpHTTP(e exchange) Result {
	if string(e.method) != "SSTP_DUPLEX_POST" {
		return Result{}
	}
	answer := Result{State: Suspected, Label: "sstp", Evidence: "SSTP_DUPLEX_POST in plain HTTP"}
	if e.status == 200 {
		answer.State = Confirmed
		answer.Evidence += ", accepted by the server"
	}
	return answer
}

// softetherHTTP: the client's start (SoftEtherVPN src/Cedar/Protocol.c
// ClientUploadSignature, src/Mayaqua/HTTP.h): a POST to connect.cgi with the
// water mark, a GIF89a, or the word VPNCONNECT; and its test for such a server.
func softetherHTTP(e exchange) Result {
	answer := Result{Label: "softether", Product: "SoftEther VPN", State: e.answered()}
	switch {
	case string(e.method) == "POST" && starts(e.target, "/vpnsvc/"):
		answer.Evidence = "POST to " + clip(string(e.target)) + " in plain HTTP"
	case e.whole && e.field("X-VPN") == "1" && string(e.method) == "GET":
		answer.State = Suspected
		answer.Evidence = "HTTP GET with X-VPN: 1, SoftEther's test for its own server"
	default:
		return Result{}
	}
	if starts(e.body, "GIF89a") || starts(e.body, "VPNCONNECT") {
		answer.Evidence += ", with SoftEther's water mark"
	}
	return answer
}

// openconnectHTTP: the tunnel request of AnyConnect's CSTP
// (draft-mavrogiannopoulos-openconnect, the primary TCP channel) and the XML
// authentication that comes before it.
func openconnectHTTP(e exchange) Result {
	answer := Result{Label: "openconnect", State: e.answered()}
	switch {
	case string(e.method) == "CONNECT" && starts(e.target, "/CSCOSSLC/tunnel"):
		answer.Evidence = "CONNECT /CSCOSSLC/tunnel in plain HTTP"
	case string(e.method) == "POST" && e.whole && (e.field("X-Aggregate-Auth") != "" || e.field("X-AnyConnect-Platform") != "" || e.field("X-Transcend-Version") != ""):
		answer.Evidence = "AnyConnect's XML authentication in plain HTTP"
	default:
		return Result{}
	}
	return answer
}

// globalprotectHTTP: the tunnel request of GlobalProtect with its user's cookie,
// answered with START_TUNNEL, and what its client asks the gateway before
// (openconnect gpst.c and auth-globalprotect.c describe both). Scanners ask for
// the same paths without cookie and under other names.
func globalprotectHTTP(e exchange) Result {
	answer := Result{Label: "globalprotect", State: e.answered()}
	switch {
	case starts(e.target, "/ssl-tunnel-connect.sslvpn?") && bytes.Contains(e.target, []byte("authcookie=")):
		answer.Evidence = "GET /ssl-tunnel-connect.sslvpn in plain HTTP"
		if starts(e.server, gpStart) {
			answer.State = Confirmed
			answer.Evidence += ", answered with START_TUNNEL"
		}
	case starts(e.target, "/ssl-vpn/") && bytes.Contains(e.target, []byte(".esp")) && strings.HasPrefix(e.field("User-Agent"), "PAN GlobalProtect"):
		answer.Evidence = "GlobalProtect gateway request " + clip(string(e.target)) + " in plain HTTP"
	default:
		return Result{}
	}
	return answer
}

// fortiHTTP: the tunnel request of FortiGate's SSL VPN, with the cookie that its
// login gave, answered with PPP frames instead of HTTP (openconnect fortinet.c;
// openfortivpn src/http.c); a scanner has none.
func fortiHTTP(e exchange) Result {
	if !strings.Contains(e.field("Cookie"), "SVPNCOOKIE=") {
		return Result{}
	}
	for _, path := range [...]string{"/remote/sslvpn-tunnel", "/remote/fortisslvpn"} {
		if !starts(e.target, path) {
			continue
		}
		answer := Result{State: e.answered(), Label: "fortivpn", Evidence: "request of FortiGate's SSL VPN, " + path + ", in plain HTTP"}
		if fortiFrame(e.server) {
			answer.State = Confirmed
			answer.Evidence += ", answered with PPP frames"
		}
		return answer
	}
	return Result{}
}

// netsupportHTTP: NetSupport Manager's gateway protocol (User-Agent and Server
// name it; commands stand in the body as CMD=).
func netsupportHTTP(e exchange) Result {
	if string(e.method) != "POST" {
		return Result{}
	}
	agent := e.field("User-Agent")
	if !strings.HasPrefix(agent, "NetSupport Manager/") {
		return Result{}
	}
	return Result{State: e.answered(), Label: otherRemote, Product: "NetSupport Manager", Evidence: "HTTP POST by " + clip(agent)}
}

// meshHTTP: the WebSockets of MeshCentral's agent and relay
// (Ylianst/MeshAgent meshcore/agentcore.c, Ylianst/MeshCentral webserver.js).
func meshHTTP(e exchange) Result {
	if string(e.method) != "GET" || !(starts(e.target, "/agent.ashx") || starts(e.target, "/meshrelay.ashx")) ||
		!strings.EqualFold(e.field("Upgrade"), "websocket") {
		return Result{}
	}
	answer := Result{State: Suspected, Label: otherRemote, Product: "MeshCentral", Evidence: "WebSocket to MeshCentral's " + clip(string(e.target))}
	if e.status == 101 {
		answer.State = Confirmed
	}
	return answer
}

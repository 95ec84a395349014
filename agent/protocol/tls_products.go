package protocol

import (
	"bytes"
	"net/netip"
	"strings"
)

// tlsProduct asks the rules that name a product by its TLS handshake. Most
// handshakes are nobody's: State Unknown. A rule says confirmed only where the
// bytes of both sides, or a name that only the product's own ends use, show it.
func tlsProduct(f *Flow) Result {
	t := f.Facts.TLS
	if t == nil || t.QUIC {
		return Result{}
	}
	for _, rule := range [...]func(*TLS) Result{
		anydeskTLS,
		softetherTLS,
		teamviewerTLS,
		tailscaleTLS,
		otherRemoteTLS,
		rdpTLS,
	} {
		if answer := rule(t); answer.State != Unknown {
			return answer
		}
	}
	return Result{}
}

// under says whether host is domain or a name below it.
func under(host, domain string) bool {
	n := len(host) - len(domain)
	return n >= 0 && strings.EqualFold(host[n:], domain) && (n == 0 || host[n-1] == '.')
}

// agreed gives Confirmed when the server answered the handshake, else Suspected.
func agreed(t *TLS) State {
	if t.ServerHello {
		return Confirmed
	}
	return Suspected
}

// leaf gives the first certificate of a chain.
func leaf(chain [][]byte) (certificate, bool) {
	if len(chain) == 0 {
		return certificate{}, false
	}
	return parseCertificate(chain[0])
}

// anydeskTLS: AnyDesk names itself in its certificates, in its ALPN and in its
// relays' names (nDPI src/lib/protocols/tls.c). Its JA4 is that of the OpenSSL
// 1.0.2 it is linked with, and proves nothing.
func anydeskTLS(t *TLS) Result {
	answer := Result{Label: "anydesk", Product: "AnyDesk"}
	switch {
	case anydeskCertificate(t.Certificates), anydeskCertificate(t.ClientCertificates):
		answer.Evidence = "TLS certificate of AnyDesk (CN=AnyDesk Client or O=philandro Software GmbH)"
	case len(t.ALPN) > 0 && strings.HasPrefix(t.ALPN[0], "anydesk/"):
		answer.Evidence = "TLS ClientHello with ALPN " + clip(t.ALPN[0])
	case under(t.SNI, "net.anydesk.com"):
		answer.Evidence = "TLS to AnyDesk's relay " + clip(t.SNI)
	default:
		return Result{}
	}
	answer.State = agreed(t)
	if t.JA4 == "" {
		answer.State = Suspected
	}
	return answer
}

func anydeskCertificate(chain [][]byte) bool {
	c, ok := leaf(chain)
	return ok && (string(attribute(c.subject, oidCommonName)) == "AnyDesk Client" ||
		string(attribute(c.issuer, oidOrganization)) == "philandro Software GmbH")
}

// softetherTLS: the certificate that a SoftEther server makes on its first
// start is self-signed with CN = O = OU = the host's name, C = US and ends with
// 2037 (SoftEtherVPN src/Cedar/Server.c SiGenerateDefaultCertEx); the JA4 of
// its client as published (FoxIO-LLC/ja4 ja4plus-mapping.csv); names of its own
// relay and dynamic DNS (src/Cedar/AzureClient.h, DDNS.h).
func softetherTLS(t *TLS) Result {
	client := t.JA4 == "t13d880900_fcb5b95cb75a_b0d3b4ac2a14" || t.JA4 == "t13i880900_fcb5b95cb75a_b0d3b4ac2a14"
	answer := Result{State: Suspected, Label: "softether", Product: "SoftEther VPN"}
	switch {
	case softetherCertificate(t.Certificates):
		answer.Evidence = "TLS server certificate as a SoftEther VPN server makes it: self-signed, CN = O = OU, C=US, valid to the end of 2037"
		if client {
			answer.State = Confirmed
			answer.Evidence += "; client with SoftEther's JA4"
		}
	case t.JA3 == softetherJA3 && isAddress(t.SNI) && len(t.ALPN) == 0:
		answer.Evidence = "TLS ClientHello as SoftEther 5's client on OpenSSL 3 sends it: default cipher suites, no session ticket, no ALPN, and the server's address in place of a name"
	case client:
		answer.Evidence = "TLS ClientHello with the JA4 of the SoftEther VPN client: 88 cipher suites, 9 extensions, no ALPN"
	case under(t.SNI, "vpnazure.net"), under(t.SNI, "softether.net"), under(t.SNI, "softether-network.net"):
		answer.Evidence = "TLS to a name of SoftEther's relay or dynamic DNS: " + clip(t.SNI)
	default:
		return Result{}
	}
	return answer
}

// softetherJA3 is that of SoftEther 5.01's client on Debian 12, captured by the
// project. By itself it is that of OpenSSL 3 where session tickets are off, which
// others may be too; together with an address as SNI, which RFC 6066 section 3
// forbids and SoftEther sends, it is rare enough to be suspected.
const softetherJA3 = "55ed5da8a9fd9dfe64815f295dbb9f87"

// isAddress says whether a name is an IP address as text.
func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

func softetherCertificate(chain [][]byte) bool {
	c, ok := leaf(chain)
	if !ok || !c.selfSigned() || attributes(c.subject) < 4 {
		return false
	}
	name := attribute(c.subject, oidCommonName)
	end := strings.TrimPrefix(c.notAfter, "20")
	return len(name) > 0 && bytes.Equal(name, attribute(c.subject, oidOrganization)) &&
		bytes.Equal(name, attribute(c.subject, oidUnit)) && string(attribute(c.subject, oidCountry)) == "US" &&
		(strings.HasPrefix(end, "371231") || strings.HasPrefix(end, "380101"))
}

// teamviewerTLS: router and master servers of TeamViewer's network, which no
// web page is served from.
func teamviewerTLS(t *TLS) Result {
	if !under(t.SNI, "teamviewer.com") {
		return Result{}
	}
	name, _, _ := strings.Cut(strings.ToLower(t.SNI), ".")
	for _, role := range [...]string{"router", "master", "server"} {
		if digits, ok := strings.CutPrefix(name, role); ok && digits != "" && strings.Trim(digits, "0123456789") == "" ||
			strings.Contains(name, "-"+role+"-") || strings.HasPrefix(name, role+"-") {
			return Result{State: agreed(t), Label: "teamviewer", Product: "TeamViewer",
				Evidence: "TLS to TeamViewer's " + role + " server " + clip(t.SNI)}
		}
	}
	return Result{}
}

// tailscaleTLS: relays and coordination server of Tailscale's network, which only
// its own client speaks to (tailscale.com/derp/derphttp; ipn/prefs.go
// DefaultControlURL). The site and its console have other names.
func tailscaleTLS(t *TLS) Result {
	name, found := strings.CutSuffix(strings.ToLower(t.SNI), ".tailscale.com")
	if !found {
		return Result{}
	}
	answer := Result{State: agreed(t), Label: "tailscale", Product: "Tailscale"}
	relay, isRelay := strings.CutPrefix(name, "derp")
	switch {
	case name == "controlplane":
		answer.Evidence = "TLS to Tailscale's coordination server"
	case isRelay && relay != "" && only([]byte(strings.TrimRight(relay, "abcdefghijklmnopqrstuvwxyz-")), "0123456789"):
		answer.Evidence = "TLS to Tailscale's relay " + clip(t.SNI)
	default:
		return Result{}
	}
	return answer
}

// remoteNames are the names of relays that only the product's agents use.
var remoteNames = [...]struct{ domain, product string }{
	{"screenconnect.com", "ScreenConnect"},
	{"relay.splashtop.com", "Splashtop"},
	{"remotedesktop.google.com", ""}, // the web page, not the session
	{"logmein-gateway.com", "LogMeIn"},
	{"nxcloud.nomachine.com", "NoMachine"},
	{"hydra.getscreen.me", "Getscreen.me"},
}

func otherRemoteTLS(t *TLS) Result {
	if t.SNI == "" {
		return Result{}
	}
	for _, n := range remoteNames {
		if n.product == "" || !under(t.SNI, n.domain) {
			continue
		}
		if n.product == "ScreenConnect" && !strings.Contains(strings.ToLower(t.SNI), "-relay.") {
			continue // the web console of the same domain
		}
		return Result{State: agreed(t), Label: otherRemote, Product: n.product,
			Evidence: "TLS to a relay of " + n.product + ": " + clip(t.SNI)}
	}
	return Result{}
}

// rdpTLS: RDP that starts with TLS ("direct approach", [MS-RDPBCGR] 5.4.2.2)
// shows nothing but the certificate that Windows makes for its Remote Desktop
// service: self-signed, CN alone, half a year, key usage key and data
// encipherment (0x30), extended key usage server authentication.
func rdpTLS(t *TLS) Result {
	c, ok := leaf(t.Certificates)
	if !ok || !c.selfSigned() || attributes(c.subject) != 1 || len(attribute(c.subject, oidCommonName)) == 0 {
		return Result{}
	}
	const keyAndData = "\x03\x02\x04\x30"                                 // BIT STRING, 4 unused bits
	const serverAuth = "\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01" // 1.3.6.1.5.5.7.3.1
	if string(c.extension(oidKeyUsage)) != keyAndData || string(c.extension(oidExtKeyUsage)) != serverAuth ||
		!halfYear(c.notBefore, c.notAfter) {
		return Result{}
	}
	return Result{State: Suspected, Label: "rdp", Evidence: "TLS server certificate as Windows makes it for Remote Desktop: " +
		"self-signed, CN only, half a year, key and data encipherment"}
}

// halfYear says whether two UTC times (YYMMDD...) lie six months apart.
func halfYear(from, to string) bool {
	a, okA := month(from)
	b, okB := month(to)
	return okA && okB && b-a == 6 && len(from) == len(to) && from[4:6] == to[4:6]
}

// month counts the months of a UTCTime.
func month(t string) (int, bool) {
	if len(t) != 13 {
		return 0, false
	}
	for i := range 4 {
		if t[i] < '0' || t[i] > '9' {
			return 0, false
		}
	}
	return (int(t[0]-'0')*10+int(t[1]-'0'))*12 + int(t[2]-'0')*10 + int(t[3]-'0'), true
}

// clip keeps hostile text in evidence short and printable.
func clip(s string) string {
	const most = 80
	out := make([]byte, 0, most)
	for i := 0; i < len(s) && i < most; i++ {
		if c := s[i]; c > ' ' && c < 0x7f {
			out = append(out, c)
		} else {
			out = append(out, '?')
		}
	}
	return string(out)
}

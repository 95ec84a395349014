package e2e

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// relayPort is where each relay listens, targetPort where the page lies that is
// asked for through it.
const (
	relayPort  = 3128
	targetPort = 8081
)

// relay is a real program that passes on what others ask it for, in the client's
// namespace, so that all three flows are seen: the client's to the relay, both
// its ends, and the relay's own.
type relay struct {
	name string
	by   string // how the flow names its true remote
	run  func(l *lab) (executable string)
	ask  func(l *lab, target string) []string // curl's arguments
}

var relayPrograms = []relay{
	{"squid, CONNECT", "http_connect", runSquid, func(_ *lab, target string) []string {
		return []string{"--proxytunnel", "--proxy", fmt.Sprintf("http://127.0.0.1:%d", relayPort), target}
	}},
	{"squid, absolute target", "http_proxy", runSquid, func(_ *lab, target string) []string {
		return []string{"--proxy", fmt.Sprintf("http://127.0.0.1:%d", relayPort), target}
	}},
	{"tinyproxy, CONNECT", "http_connect", runTinyproxy, func(_ *lab, target string) []string {
		return []string{"--proxytunnel", "--proxy", fmt.Sprintf("http://127.0.0.1:%d", relayPort), target}
	}},
	{"tinyproxy, absolute target", "http_proxy", runTinyproxy, func(_ *lab, target string) []string {
		return []string{"--proxy", fmt.Sprintf("http://127.0.0.1:%d", relayPort), target}
	}},
	{"dante, SOCKS 5", "socks5", runDante, func(_ *lab, target string) []string {
		return []string{"--socks5", fmt.Sprintf("127.0.0.1:%d", relayPort), target}
	}},
	{"dante, SOCKS 4", "socks4", runDante, func(_ *lab, target string) []string {
		return []string{"--socks4", fmt.Sprintf("127.0.0.1:%d", relayPort), target}
	}},
}

func runSquid(l *lab) string {
	conf := l.write("squid.conf", fmt.Sprintf(`http_port 127.0.0.1:%d
http_access allow all
cache deny all
access_log none
cache_log stdio:%[2]s/cache.log
pid_filename %[2]s/squid.pid
coredump_dir %[2]s
shutdown_lifetime 1 seconds
pinger_enable off
server_persistent_connections off
cache_effective_user proxy
`, relayPort, l.dir))
	l.run("chown", "proxy", l.dir)
	l.start(l.client, nil, testenv.Tool(l.t, "squid"), "-N", "-f", conf).listens(l.client, "t", relayPort)
	return "squid"
}

func runTinyproxy(l *lab) string {
	conf := l.write("tinyproxy.conf", fmt.Sprintf("Port %d\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nLogLevel Connect\n", relayPort))
	l.start(l.client, nil, testenv.Tool(l.t, "tinyproxy"), "-d", "-c", conf).listens(l.client, "t", relayPort)
	return "tinyproxy"
}

func runDante(l *lab) string {
	conf := l.write("danted.conf", fmt.Sprintf(`logoutput: stderr
internal: 127.0.0.1 port = %d
external: %s
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`, relayPort, l.caller))
	l.start(l.client, nil, testenv.Tool(l.t, "danted"), "-f", conf, "-p", l.path("danted.pid")).listens(l.client, "t", relayPort)
	return "danted"
}

// TestRelays: behind a relay the client's flow names its true remote, the relay is
// marked an intermediary at both of its ends, and doctor names it.
func TestRelays(t *testing.T) {
	s := newSite(t, "")
	for i, r := range relayPrograms {
		t.Run(r.name, func(t *testing.T) { relayed(t, s, newLab(t, byte(40+i)), r) })
	}
	t.Run("haproxy, PROXY header", func(t *testing.T) { proxyHeader(t, s) })
	t.Run("dnsmasq", func(t *testing.T) { localResolver(t, s) })
}

// relayed asks twice: the first request shows what the program is, by which time
// its own flow may be over, and the second finds it known.
func relayed(t *testing.T, s *site, l *lab, r relay) {
	serveHTTP(t, l.server, fmt.Sprintf("%s:%d", l.remote, targetPort))
	executable := r.run(l)
	ask := func() {
		l.client.Run(t, testenv.Tool(t, "curl"), append([]string{"-s", "-o", "/dev/null"}, r.ask(l, fmt.Sprintf("http://%s:%d/", l.remote, targetPort))...)...)
	}
	names := func(o *rules.Observation) bool {
		return o.Hidden != nil && o.Hidden.Addr == l.remote && o.Hidden.Port == targetPort && o.Hidden.By == r.by
	}
	ask()
	out := s.await(t, "the client's, which names the true remote", func(f *rules.Finding) bool {
		return ownedBy(&f.Observation, rules.Outbound, "curl") && names(&f.Observation)
	})
	if out.Observation.Owner.Intermediary != "" {
		t.Errorf("the client is marked as a %s", out.Observation.Owner.Intermediary)
	}
	s.agent.until(t, "both flows of the relay are in findings that are marked", func() bool {
		return s.marked(t, executable, l.remote) >= 2
	})
	s.doctorNames(t, executable, "is a proxy")
	ask()
	s.ended(t, "the relay's inbound, marked", func(o *rules.Observation) bool {
		return ownedBy(o, rules.Inbound, executable) && names(o) && o.Owner.Intermediary == "proxy"
	})
	s.ended(t, "the relay's own, marked, with a client that is unknown", func(o *rules.Observation) bool {
		return ownedBy(o, rules.Outbound, executable) && o.Remote.Addr == l.remote && o.Owner.Intermediary == "proxy" &&
			strings.Contains(fmt.Sprint(o.Notes), "client unknown")
	})
}

// marked counts the flows of a program in the findings about an address that mark
// it, as they stand. A finding is not about a direction: where both ends of a relay
// are one user's, one finding has both flows, and shows one of them.
func (s *site) marked(t *testing.T, executable string, remote netip.Addr) (flows uint64) {
	newest := map[string]rules.Finding{}
	for _, f := range s.exported(t) {
		if ours(&f) && f.Revision > newest[f.ID].Revision {
			newest[f.ID] = f
		}
	}
	for _, f := range newest {
		o := &f.Observation
		if ownedBy(o, o.Direction, executable) && f.Matches[0].Indicator.Value == remote.String() && o.Owner.Intermediary == "proxy" {
			flows += f.Count
		}
	}
	return flows
}

// ended waits for a flow in the flow log.
func (s *site) ended(t *testing.T, what string, wanted func(*rules.Observation) bool) {
	t.Helper()
	s.agent.until(t, "the flow log has "+what, func() bool {
		return slices.ContainsFunc(s.flows(t), func(o rules.Observation) bool { return wanted(&o) })
	})
}

func ownedBy(o *rules.Observation, d rules.Direction, executable string) bool {
	p := o.Owner.Process
	return o.Direction == d && p != nil && filepath.Base(p.Executable) == executable
}

// doctorNames looks for a line about the program.
func (s *site) doctorNames(t *testing.T, executable, what string) {
	t.Helper()
	s.agent.until(t, "doctor names "+executable, func() bool {
		out, _ := s.sallyport(t, "doctor")
		for line := range strings.Lines(out) {
			if strings.Contains(line, "/"+executable+" (pid") && strings.Contains(line, what) {
				return true
			}
		}
		return false
	})
}

// proxyHeader: haproxy tells the attributed server behind it who the client is. It
// is a relay, and its flow names the client, so that this is not unknown.
func proxyHeader(t *testing.T, s *site) {
	l := newLab(t, 60)
	serveHTTP(t, l.server, fmt.Sprintf("%s:%d", l.remote, targetPort))
	conf := l.write("haproxy.cfg", fmt.Sprintf(`global
  maxconn 50
defaults
  mode tcp
  timeout connect 20s
  timeout client 20s
  timeout server 20s
frontend in
  bind %s:%d
  default_backend out
backend out
  server one %s:%d send-proxy-v2
`, testenv.ClientAddr, relayPort, l.remote, targetPort))
	l.start(l.client, nil, testenv.Tool(t, "haproxy"), "-db", "-f", conf).listens(l.client, "t", relayPort)
	// The page's server does not know the header and says so: the header has come.
	l.client.Run(t, testenv.Tool(t, "curl"), "-s", "-o", "/dev/null", fmt.Sprintf("http://%s:%d/", testenv.ClientAddr, relayPort))
	f := s.await(t, "haproxy's, which names its client", func(f *rules.Finding) bool {
		o := &f.Observation
		return ownedBy(o, rules.Outbound, "haproxy") && o.Remote.Addr == l.remote && o.Hidden != nil && o.Hidden.By == "proxy_header"
	})
	if got := f.Observation.Hidden.Addr; got != netip.MustParseAddr(testenv.ClientAddr) {
		t.Errorf("the client is %s, want %s", got, testenv.ClientAddr)
	}
	if f.Observation.Owner.Intermediary != "proxy" || strings.Contains(fmt.Sprint(f.Observation.Notes), "client unknown") {
		t.Errorf("marked %q, notes %v", f.Observation.Owner.Intermediary, f.Observation.Notes)
	}
	s.doctorNames(t, "haproxy", "is a proxy")
}

// localResolver: what a stub asks an attributed resolver is the stub's, and the
// stub is marked.
func localResolver(t *testing.T, s *site) {
	l := newLab(t, 61)
	answer := l.write("answer.conf", fmt.Sprintf("port=53\nlisten-address=%s\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\npid-file=\naddress=/example.org/192.0.2.7\n", l.remote))
	stub := l.write("stub.conf", fmt.Sprintf("port=53\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\npid-file=\ncache-size=0\nserver=%s\n", l.remote))
	dnsmasq := testenv.Tool(t, "dnsmasq")
	l.start(l.server, nil, dnsmasq, "-k", "-C", answer).listens(l.server, "u", 53)
	l.start(l.client, nil, dnsmasq, "-k", "-C", stub).listens(l.client, "u", 53)
	ask := func() {
		l.client.Run(t, testenv.Tool(t, "dig"), "+short", "+tries=5", "@127.0.0.1", "www.example.org")
	}
	ask()
	s.doctorNames(t, "dnsmasq", "is a resolver")
	ask() // known as a resolver now
	s.await(t, "the stub's own query, marked", func(f *rules.Finding) bool {
		o := &f.Observation
		return ownedBy(o, rules.Outbound, "dnsmasq") && o.Remote.Addr == l.remote && o.Owner.Intermediary == "resolver"
	})
}

package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// TestHostEvidence: tunnels that no packet gives away, by what their owner holds.
func TestHostEvidence(t *testing.T) {
	s := newSite(t, "")
	t.Run("a tunnel of random bytes, and a browser beside it", func(t *testing.T) { evidenceOwnTunnel(t, s, newLab(t, 1)) })
	t.Run("OpenVPN inside stunnel", func(t *testing.T) { evidenceStunnel(t, s, newLab(t, 2)) })
	t.Run("SoftEther renamed", func(t *testing.T) { evidenceSoftEther(t, s, newLab(t, 3)) })
}

// hostShows is a finding that rests on host evidence.
func hostShows(state, protocol string, d rules.Direction, remote netip.Addr, executable string) func(*rules.Finding) bool {
	return func(f *rules.Finding) bool {
		o := &f.Observation
		return o.Direction == d && o.Remote.Addr == remote && o.Identification.Source == "host" &&
			o.Identification.State == state && o.Identification.Protocol == protocol &&
			o.Owner.Process != nil && filepath.Base(o.Owner.Process.Executable) == executable
	}
}

// checkEvidence holds that the evidence says all of it.
func checkEvidence(t *testing.T, f *rules.Finding, words ...string) {
	t.Helper()
	checkFinding(t, f)
	t.Logf("%s: %s", f.Rule.Title, f.Observation.Identification.Evidence)
	for _, w := range words {
		if !strings.Contains(f.Observation.Identification.Evidence, w) {
			t.Errorf("evidence %q does not say %q", f.Observation.Identification.Evidence, w)
		}
	}
	if rules.ClassOf(f.Observation.Identification.Protocol) != rules.ClassVPN || !strings.HasPrefix(f.Title, "VPN") {
		t.Errorf("%s by rule %q: not told as a VPN", f.Observation.Identification.Protocol, f.Title)
	}
}

// traffic keeps something going through a tunnel until the test ends.
func (l *lab) traffic(inside string) {
	l.t.Helper()
	p := l.start(l.client, nil, testenv.Tool(l.t, "ping"), "-n", "-i", "0.2", "-s", "700", inside)
	p.says("bytes from")
}

func evidenceOwnTunnel(t *testing.T, s *site, l *lab) {
	remote := addr(l.remote, 8443)
	server := role(t, l.server, "tunnel", "e2etun", "listen", remote)
	server.line(t)
	// Its own check for updates goes to another remote, and is not its tunnel.
	updates := netip.MustParseAddr("203.0.113.61")
	l.server.Run(t, "ip", "addr", "add", updates.String()+"/32", "dev", "lo")
	serveLongHTTPS(t, l.server, addr(updates, 443))
	client := role(t, l.client, "tunnel", "e2etun", "dial", remote, addr(updates, 443))
	client.line(t)
	for n, inside := range map[testenv.Netns]string{l.server: "10.77.0.1/24", l.client: "10.77.0.2/24"} {
		n.Run(t, "ip", "addr", "add", inside, "dev", "e2etun")
		n.Run(t, "ip", "link", "set", "e2etun", "up")
	}
	browsed := make(chan error, 1)
	asked := serveLongHTTPS(t, l.server, addr(l.remote, 443))
	browser := role(t, l.client, "browse", addr(l.remote, 443))
	go func() { browsed <- browser.cmd.Wait() }()
	l.traffic("10.77.0.1")
	out := s.await(t, "the client's", func(f *rules.Finding) bool {
		return owned(client.pid, rules.Outbound, l.remote)(f) && f.Observation.Identification.State == "confirmed"
	})
	checkEvidence(t, &out, "e2etun", "rose with the tunnel's")
	if id := out.Observation.Identification; id.Protocol != "vpn-tunnel" || id.Source != "host" {
		t.Errorf("identified as %+v", id)
	}
	in := s.await(t, "the server's", func(f *rules.Finding) bool {
		return owned(server.pid, rules.Inbound, l.caller)(f) && f.Observation.Identification.State == "confirmed"
	})
	checkEvidence(t, &in, "e2etun")

	if err := <-browsed; err != nil {
		t.Fatalf("browser: %v", err)
	}
	l.client.Run(t, testenv.Tool(t, "curl"), "-sk", "-o", "/dev/null", "https://"+addr(l.remote, 443)+"/")
	s.await(t, "curl's", func(f *rules.Finding) bool {
		p := f.Observation.Owner.Process
		return p != nil && filepath.Base(p.Executable) == "curl" && f.Observation.Remote.Addr == l.remote
	})
	l.start(l.client, nil, testenv.Tool(t, "chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
		"--ignore-certificate-errors", "--user-data-dir="+l.path("chromium"), "--remote-debugging-port=0", "https://"+addr(l.remote, 443)+"/page")
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatalf("Chromium does not show its page within %s", patience)
	}
	s.await(t, "Chromium's", func(f *rules.Finding) bool {
		p := f.Observation.Owner.Process
		return p != nil && filepath.Base(p.Executable) == "chromium" && f.Observation.Remote.Addr == l.remote && f.Observation.Outcome == rules.OutcomeData
	})
	s.await(t, "the browser's", owned(browser.pid, rules.Outbound, l.remote, rules.OutcomeData))
	s.await(t, "the check for updates'", owned(client.pid, rules.Outbound, updates, rules.OutcomeData))
	for _, f := range s.exported(t) {
		o := &f.Observation
		if o.Identification.Source == "host" && (o.Remote.Port == 443 || o.Local.Port == 443) {
			t.Errorf("accused beside a VPN:\n%s\n%s", summary(&f), o.Identification.Evidence)
		}
	}
}

// serveLongHTTPS answers as many requests a connection as are made, and says
// when the page has asked its last.
func serveLongHTTPS(t *testing.T, n testenv.Netns, address string) (asked <-chan struct{}) {
	t.Helper()
	done := make(chan struct{})
	last := sync.OnceFunc(func() { close(done) })
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/page" {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, pageThatAsks)
			return
		}
		if r.URL.Path == "/last" {
			last()
		}
		w.Header().Set("Content-Length", "700")
		w.Write(make([]byte, 700))
	})}
	l := tls.NewListener(listenIn(t, n, address), &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "www.example")}})
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return done
}

// pageThatAsks makes a browser ask on at the tunnel's pace.
const pageThatAsks = `<!doctype html><title>page</title><script>
async function ask(n) {
  await (await fetch(n < 25 ? "/" + n : "/last")).arrayBuffer()
  if (n < 25) setTimeout(ask, 200, n + 1)
}
ask(0)
</script>`

// browse makes requests for a while over one connection, at the pace and of the
// size of what goes through the tunnel beside it.
func browse(args []string) error { return request(args[0], 60, 200*time.Millisecond) }

// request makes HTTPS requests over one connection at a pace.
func request(address string, times int, pace time.Duration) error {
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "www.example", InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for range times {
		text := "GET / HTTP/1.1\r\nHost: www.example\r\nCookie: " + strings.Repeat("x", 600) + "\r\n\r\n"
		if _, err := io.WriteString(conn, text); err != nil {
			return err
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return err
		}
		time.Sleep(pace)
	}
	return nil
}

func evidenceSoftEther(t *testing.T, s *site, l *lab) {
	vpn := newSoftEther(l, 443)
	vpn.startClient("conhost.exe")
	vpn.connect(1, false)
	l.traffic("192.168.30.1")
	f := s.await(t, "the renamed client's", hostShows("confirmed", "softether", rules.Outbound, l.remote, "conhost.exe"))
	checkEvidence(t, &f, "vpn_lab0", "softether", "rose with the tunnel's")
	// The server's NAT needs no device: what its executable carries is all there is.
	s.await(t, "the server's", func(f *rules.Finding) bool {
		o := &f.Observation
		return o.Direction == rules.Inbound && o.Remote.Addr == l.caller && o.Identification.Protocol == "softether"
	})
}

func evidenceStunnel(t *testing.T, s *site, l *lab) {
	stunnel, openvpn := testenv.Tool(t, "stunnel4"), testenv.Tool(t, "openvpn")
	cert, key := l.certificate("www.example")
	const inside, beyond = 1194, 443
	serverConf := l.write("server.conf", fmt.Sprintf("foreground=yes\npid=\n[vpn]\naccept=%s\nconnect=127.0.0.1:%d\ncert=%s\nkey=%s\n", addr(l.remote, beyond), inside, cert, key))
	clientConf := l.write("client.conf", fmt.Sprintf("foreground=yes\npid=\n[vpn]\nclient=yes\naccept=127.0.0.1:%d\nconnect=%s\nsni=www.example\n", inside, addr(l.remote, beyond)))
	l.start(l.server, nil, stunnel, serverConf).listens(l.server, "t", beyond)
	l.start(l.client, nil, stunnel, clientConf).listens(l.client, "t", inside)
	serverEnd, clientEnd := l.openVPNEnds("tcp", "127.0.0.1", inside)
	l.start(l.server, nil, openvpn, serverEnd...).listens(l.server, "t", inside)
	l.start(l.client, nil, openvpn, clientEnd...).says("Initialization Sequence Completed")
	l.traffic("10.9.0.1")
	f := s.await(t, "stunnel's on the client", hostShows("confirmed", "openvpn", rules.Outbound, l.remote, "stunnel4"))
	checkEvidence(t, &f, "passes on the openvpn flow", "openvpn (pid ")
	if f.Observation.Owner.Intermediary == "" {
		t.Error("stunnel is not marked as an intermediary")
	}
	f = s.await(t, "stunnel's on the server", hostShows("confirmed", "openvpn", rules.Inbound, l.caller, "stunnel4"))
	checkEvidence(t, &f, "passes on the openvpn flow")
}

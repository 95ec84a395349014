package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sallyport/agent/testenv"
)

// softEther is a SoftEther server and client, each with files of its own: the
// program keeps its state in fixed folders.
type softEther struct {
	*lab
	port uint16
}

// newSoftEther starts a server with a hub whose NAT answers.
func newSoftEther(l *lab, port uint16) *softEther {
	l.t.Helper()
	s := &softEther{l, port}
	server := s.service(l.server, "server", testenv.Tool(l.t, "vpnserver/vpnserver"))
	server.listens(l.server, "t", 5555)
	s.manage(true, "HubCreate", "LAB", "/PASSWORD:not-a-secret")
	s.manage(true, "ServerCertRegenerate", "vpn.example")
	s.hub("UserCreate", "u1", "/GROUP:none", "/REALNAME:none", "/NOTE:none")
	s.hub("UserPasswordSet", "u1", "/PASSWORD:not-a-secret")
	s.hub("SecureNatEnable")
	if port != 443 {
		s.manage(true, "ListenerCreate", fmt.Sprint(port))
	}
	server.listens(l.server, "t", port)
	return s
}

// startClient starts a client whose executable has the given name.
func (s *softEther) startClient(executable string) {
	s.t.Helper()
	client := s.service(s.client, "client", s.copyOf(testenv.Tool(s.t, "vpnclient/vpnclient"), executable))
	client.until("takes commands", func() bool { return s.command(false, "VersionGet") == nil })
}

// copyOf is a program and the file beside it that it needs, under another name.
func (s *softEther) copyOf(program, name string) string {
	s.t.Helper()
	for from, to := range map[string]string{program: name, filepath.Join(filepath.Dir(program), "hamcore.se2"): "hamcore.se2"} {
		data, err := os.ReadFile(from)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := os.MkdirAll(s.path("bin"), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(s.path("bin/"+to), data, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.path("bin/" + name)
}

func (s *softEther) service(n testenv.Netns, end, program string) *peer {
	s.t.Helper()
	script := ""
	if end == "server" { // a lab that answers names does so on the server's loopback
		script = "mount --bind " + s.write("resolv.conf", "nameserver 127.0.0.1\n") + " /etc/resolv.conf && "
	}
	for _, dir := range []string{"/var/lib/softether", "/var/log/softether", "/run/softether"} {
		own := s.path(end + dir)
		if err := os.MkdirAll(own, 0o755); err != nil {
			s.t.Fatal(err)
		}
		script += "mkdir -p " + dir + " && mount --bind " + own + " " + dir + " && "
	}
	return s.start(n, nil, "unshare", "-m", "--propagation", "private", "sh", "-c", script+"exec "+program+" execsvc")
}

// account has the client begin to connect. tcp is how many TCP connections it may
// use; direct lets it speak UDP beside them.
func (s *softEther) account(password string, tcp int, direct bool) {
	s.t.Helper()
	noUDP := "yes"
	if direct {
		noUDP = "no"
	}
	s.manage(false, "NicCreate", "lab0")
	s.manage(false, "AccountCreate", "a1", fmt.Sprintf("/SERVER:%s:%d", s.remote, s.port), "/HUB:LAB", "/USERNAME:u1", "/NICNAME:lab0")
	s.manage(false, "AccountPasswordSet", "a1", "/PASSWORD:"+password, "/TYPE:standard")
	s.manage(false, "AccountDetailSet", "a1", fmt.Sprintf("/MAXTCP:%d", tcp), "/INTERVAL:1", "/TTL:0", "/HALF:no", "/BRIDGE:no", "/MONITOR:no",
		"/NOTRACK:yes", "/NOQOS:yes", "/DISABLEUDP:"+noUDP)
	s.manage(false, "AccountConnect", "a1")
}

// connect brings the client's connection up.
func (s *softEther) connect(tcp int, direct bool) {
	s.t.Helper()
	s.account("not-a-secret", tcp, direct)
	deadline := time.Now().Add(patience)
	for {
		out, _ := s.vpncmd(false, "AccountStatusGet", "a1")
		if bytes.Contains(out, []byte("Connection Completed")) {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the client does not connect within %s:\n%s", patience, out)
		}
		time.Sleep(300 * time.Millisecond)
	}
	s.client.Run(s.t, "ip", "addr", "add", "192.168.30.77/24", "dev", "vpn_lab0")
	s.client.Run(s.t, "ip", "link", "set", "vpn_lab0", "up")
}

func (s *softEther) manage(server bool, args ...string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(300 * time.Millisecond) {
		err := s.command(server, args...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}

func (s *softEther) hub(args ...string) {
	s.t.Helper()
	s.manage(true, append([]string{"/ADMINHUB:LAB"}, args...)...)
}

func (s *softEther) command(server bool, args ...string) error {
	out, err := s.vpncmd(server, args...)
	if err != nil {
		return fmt.Errorf("vpncmd %v: %w\n%s", args, err, out)
	}
	return nil
}

func (s *softEther) vpncmd(server bool, args ...string) ([]byte, error) {
	n, full := s.client, []string{"127.0.0.1", "/CLIENT", "/CMD"}
	if server {
		n, full = s.server, []string{"127.0.0.1:5555", "/SERVER"}
		if args[0] == "/ADMINHUB:LAB" {
			full, args = append(full, args[0]), args[1:]
		}
		full = append(full, "/CMD")
	}
	cmd := n.Command("timeout", append([]string{"20", testenv.Tool(s.t, "vpncmd")}, append(full, args...)...)...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir)
	cmd.WaitDelay = time.Second
	return cmd.CombinedOutput()
}

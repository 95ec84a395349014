package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

var noContext = context.Background()

// TestKernelCases: owner, remote and outcome where they are hard to get right,
// with a sniffer's raw socket open in both namespaces all the while.
func TestKernelCases(t *testing.T) {
	s := newSite(t, "")
	tests := []struct {
		name string
		run  func(*testing.T, *site, *lab)
	}{
		{"accepted by a forked server", caseForked},
		{"accepted by a Go listener with Multipath TCP", caseMultipath},
		{"first payload on the last ACK of the handshake", caseLastACK},
		{"UDP socket that never connects", caseUnconnected},
		{"process that exits at once", caseExits},
		{"process in another cgroup", caseCgroup},
		{"destination rewritten by DNAT in OUTPUT", caseDNAT},
		{"destination rewritten by a REDIRECT sidecar", caseRedirect},
		{"connect dropped by a filter", caseDropped},
		{"refused", caseRefused},
		{"no answer", caseUnanswered},
		{"IPv6", caseIPv6},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, byte(i+1))
			sniff(t, l.client)
			sniff(t, l.server)
			test.run(t, s, l)
		})
	}
}

// sniff opens the raw sockets of a sniffer until the test ends.
func sniff(t *testing.T, n testenv.Netns) {
	t.Helper()
	n.Do(t, func() {
		for _, proto := range []int{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
			if err != nil {
				t.Errorf("raw socket: %v", err)
				return
			}
			t.Cleanup(func() { unix.Close(fd) })
		}
	})
}

// owned is a finding with the owner's process, direction and remote.
func owned(pid int, d rules.Direction, remote netip.Addr, outcomes ...rules.Outcome) func(*rules.Finding) bool {
	return func(f *rules.Finding) bool {
		o := &f.Observation
		if o.Owner.Process == nil || int(o.Owner.Process.PID) != pid || o.Direction != d || o.Remote.Addr != remote {
			return false
		}
		for _, want := range outcomes {
			if o.Outcome == want {
				return true
			}
		}
		return len(outcomes) == 0
	}
}

func addr(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

func caseForked(t *testing.T, s *site, l *lab) {
	parent := role(t, l.server, "fork", addr(l.remote, 80))
	child, err := strconv.Atoi(parent.line(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := httpFlow(t, l.client, addr(l.remote, 80)); err != nil {
		t.Fatal(err)
	}
	s.await(t, "owned by the child that serves", owned(child, rules.Inbound, l.caller, rules.OutcomeData))
}

func caseMultipath(t *testing.T, s *site, l *lab) {
	server := role(t, l.server, "serve", addr(l.remote, 80))
	server.line(t)
	if err := httpFlow(t, l.client, addr(l.remote, 80)); err != nil {
		t.Fatal(err)
	}
	s.await(t, "owned by the server", owned(server.pid, rules.Inbound, l.caller, rules.OutcomeData))
}

func caseLastACK(t *testing.T, s *site, l *lab) {
	server := role(t, l.server, "serve", addr(l.remote, 80))
	server.line(t)
	client := role(t, l.client, "last-ack", addr(l.remote, 80))
	s.await(t, "the client's", owned(client.pid, rules.Outbound, l.remote, rules.OutcomeData))
	s.await(t, "the server's", owned(server.pid, rules.Inbound, l.caller, rules.OutcomeData))
}

func caseUnconnected(t *testing.T, s *site, l *lab) {
	others := []netip.Addr{l.remote, netip.MustParseAddr("203.0.113.61"), netip.MustParseAddr("203.0.113.62")}
	var args []string
	for _, a := range others {
		args = append(args, addr(a, 9999))
	}
	client := role(t, l.client, "sendto", args...)
	client.wait(t)
	for _, a := range others {
		s.await(t, fmt.Sprintf("for the datagram to %s", a), owned(client.pid, rules.Outbound, a, rules.OutcomeAttempted, rules.OutcomeRefused))
	}
}

func caseExits(t *testing.T, s *site, l *lab) {
	serveHTTP(t, l.server, addr(l.remote, 80))
	client := role(t, l.client, "connect", addr(l.remote, 80))
	client.wait(t)
	f := s.await(t, "of the process that has gone", owned(client.pid, rules.Outbound, l.remote, rules.OutcomeData))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Observation.Owner.Process.Executable; got != self {
		t.Errorf("executable %q, want %q", got, self)
	}
}

func caseCgroup(t *testing.T, s *site, l *lab) {
	root := ""
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			root = dir
			break
		}
	}
	if root == "" {
		t.Fatal("no cgroup v2 on this host")
	}
	dir := filepath.Join(root, fmt.Sprintf("sallyport-e2e-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	serveHTTP(t, l.server, addr(l.remote, 80))
	client := role(t, l.client, "hold", addr(l.remote, 80))
	client.line(t)
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(client.pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.stdin.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	client.wait(t)
	s.await(t, "of the process in another cgroup", owned(client.pid, rules.Outbound, l.remote, rules.OutcomeData))
}

func caseDNAT(t *testing.T, s *site, l *lab) {
	serveHTTP(t, l.server, testenv.ServerAddr+":8080")
	nat(t, l.client, fmt.Sprintf("ip daddr %s tcp dport 80 dnat to %s:8080", l.remote, testenv.ServerAddr))
	client := role(t, l.client, "connect", addr(l.remote, 80))
	client.wait(t)
	f := s.await(t, "for the remote that was asked for", owned(client.pid, rules.Outbound, netip.MustParseAddr(testenv.ServerAddr), rules.OutcomeData))
	if a := f.Observation.RemoteAsked; a == nil || a.Addr != l.remote || a.Port != 80 {
		t.Errorf("asked for %v, want %s:80", a, l.remote)
	}
	if f.Observation.Remote.Port != 8080 {
		t.Errorf("remote port %d, want 8080", f.Observation.Remote.Port)
	}
}

func caseRedirect(t *testing.T, s *site, l *lab) {
	sidecar := role(t, l.client, "serve", "127.0.0.1:15001")
	sidecar.line(t)
	nat(t, l.client, fmt.Sprintf("ip daddr %s tcp dport 80 redirect to :15001", l.remote))
	client := role(t, l.client, "connect", addr(l.remote, 80))
	client.wait(t)
	f := s.await(t, "for the remote that was asked for", func(f *rules.Finding) bool {
		o := &f.Observation
		return o.Owner.Process != nil && int(o.Owner.Process.PID) == client.pid && o.Outcome == rules.OutcomeData &&
			o.RemoteAsked != nil && o.RemoteAsked.Addr == l.remote
	})
	if r := f.Observation.Remote; !r.Addr.IsLoopback() || r.Port != 15001 {
		t.Errorf("remote %v, want the sidecar's 127.0.0.1:15001", r)
	}
}

// nat adds a rule to the namespace's OUTPUT NAT.
func nat(t *testing.T, n testenv.Netns, rule string) {
	t.Helper()
	testenv.Tool(t, "nft")
	n.Run(t, "nft", "add table ip e2e; add chain ip e2e out { type nat hook output priority -100; }; add rule ip e2e out "+rule)
}

func caseDropped(t *testing.T, s *site, l *lab) {
	testenv.Tool(t, "nft")
	l.client.Run(t, "nft", fmt.Sprintf("add table ip e2e; add chain ip e2e out { type filter hook output priority 0; }; add rule ip e2e out ip daddr %s drop", l.remote))
	client := role(t, l.client, "connect-x", addr(l.remote, 80))
	client.wait(t)
	s.await(t, "for the connect that was dropped here", owned(client.pid, rules.Outbound, l.remote, rules.OutcomeBlocked))
}

func caseRefused(t *testing.T, s *site, l *lab) {
	client := role(t, l.client, "connect-x", addr(l.remote, 81))
	client.wait(t)
	s.await(t, "for the connect that was refused", owned(client.pid, rules.Outbound, l.remote, rules.OutcomeRefused))
}

func caseUnanswered(t *testing.T, s *site, l *lab) {
	testenv.Tool(t, "nft")
	l.server.Run(t, "nft", "add table ip e2e; add chain ip e2e in { type filter hook input priority 0; }; add rule ip e2e in tcp dport 80 drop")
	client := role(t, l.client, "connect-x", addr(l.remote, 80))
	client.wait(t)
	s.await(t, "for the connect that nobody answered", owned(client.pid, rules.Outbound, l.remote, rules.OutcomeAttempted))
}

func caseIPv6(t *testing.T, s *site, l *lab) {
	remote := netip.MustParseAddr("2001:db8:5a11::10")
	l.server.Run(t, "ip", "addr", "add", remote.String()+"/128", "dev", "lo")
	server := role(t, l.server, "serve", addr(remote, 80))
	server.line(t)
	client := role(t, l.client, "connect", addr(remote, 80))
	client.wait(t)
	s.awaitOf(t, "sallyport-test", "the client's", owned(client.pid, rules.Outbound, remote, rules.OutcomeData))
}

// TestOlderSocket: a connection that was there before the agent.
func TestOlderSocket(t *testing.T) {
	s := newSite(t, "")
	l := newLab(t, 1)
	s.agent.end(t)
	serveHTTP(t, l.server, addr(l.remote, 80))
	client := role(t, l.client, "hold", addr(l.remote, 80))
	client.line(t)
	s.startAgent(t)
	if _, err := client.stdin.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	client.wait(t)
	s.await(t, "of the older socket", owned(client.pid, rules.Outbound, l.remote, rules.OutcomeData))
}

package sensor

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
	"sallyport/bpf"
	"sallyport/rules"
)

func tcpPair(t *testing.T, n testenv.Netns, server string) (client, accepted net.Conn) {
	t.Helper()
	n.Do(t, func() {
		l, err := net.Listen("tcp", server)
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Error(err)
			return
		}
		if accepted, err = l.Accept(); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return client, accepted
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := netip.MustParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

func TestOwnerOfConnectAndAccept(t *testing.T) {
	_, h := start(t, nil)
	n := testenv.NewNetns(t)
	for _, server := range []string{"127.0.0.1:0", "[::1]:0"} {
		client, accepted := tcpPair(t, n, server)
		if _, err := client.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(accepted, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		if _, err := accepted.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		local, remote := addrPort(client.LocalAddr()), addrPort(client.RemoteAddr())
		client.Close()
		accepted.Close()
		out := closed(t, h, rules.Outbound, local, remote)
		in := closed(t, h, rules.Inbound, remote, local)
		for _, r := range []FlowRecord{out, in} {
			if !isSelf(r.Owner) || r.Owner.Attribution != rules.AttributionExact {
				t.Errorf("%s: owner %+v", r.Direction, r.Owner)
			}
			if r.Outcome != rules.OutcomeData || r.BytesOut == 0 || r.BytesIn == 0 || r.PacketsOut < 3 {
				t.Errorf("%s: %+v", r.Direction, r)
			}
			if r.WireRemote.IsValid() || r.Asked.IsValid() {
				t.Errorf("%s: rewritten without NAT: %+v", r.Direction, r)
			}
			payload := map[rules.Direction]string{rules.Outbound: "question", rules.Inbound: "answer"}[r.Direction]
			p := h.packet(t, payload, func(p *Packet) bool {
				return p.Flow == r.Flow && p.Out && bytes.HasSuffix(p.Data, []byte(payload))
			})
			if p.Time.Before(r.First) || len(p.Data) != p.Length || !isSelf(p.Owner) {
				t.Errorf("packet %+v", p)
			}
		}
		if out.Flow.Netns != in.Flow.Netns || out.Flow.Netns == 0 {
			t.Errorf("namespaces %d, %d", out.Flow.Netns, in.Flow.Netns)
		}
	}
}

// listen makes a listener inside the namespace.
func listen(t *testing.T, n testenv.Netns, address string, mptcp bool) *net.TCPListener {
	t.Helper()
	var l net.Listener
	n.Do(t, func() {
		cfg := net.ListenConfig{}
		cfg.SetMultipathTCP(mptcp)
		var err error
		if l, err = cfg.Listen(t.Context(), "tcp", address); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// dial connects from inside the namespace.
func dial(t *testing.T, n testenv.Netns, network, address string, control func(fd int)) net.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	n.Do(t, func() {
		d := net.Dialer{Timeout: patience}
		d.Control = func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				if control != nil {
					control(int(fd))
				}
			})
		}
		conn, err = d.Dial(network, address)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestOwnerOfForkedServer(t *testing.T) {
	s, h := start(t, nil)
	n := testenv.NewNetns(t)
	l := listen(t, n, "127.0.0.1:0", false)
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := role(t, n, "serve", "with", "arguments")
	cmd.ExtraFiles = []*os.File{file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := dial(t, n, "tcp", l.Addr().String(), nil)
	if _, err := io.ReadFull(client, make([]byte, len("welcome"))); err != nil {
		t.Fatal(err)
	}
	local, remote := addrPort(client.LocalAddr()), addrPort(client.RemoteAddr())
	client.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	in := closed(t, h, rules.Inbound, remote, local)
	if in.Owner.Process.PID != uint32(cmd.Process.Pid) || in.Owner.Attribution != rules.AttributionExact {
		t.Errorf("owner %+v, want pid %d", in.Owner, cmd.Process.Pid)
	}
	p, ok := s.Process(in.Owner.Process)
	if !ok || len(p.Args) != 3 || p.Args[1] != "with" || !strings.HasSuffix(p.Executable, "sensor.test") {
		t.Errorf("process %+v, %v", p, ok)
	}
	if p.Parent.PID != uint32(os.Getpid()) {
		t.Errorf("parent %+v", p.Parent)
	}
}

// A connection that nobody has accepted belongs to who listens, and also where
// the kernel made the listening subflow of MPTCP.
func TestOwnerInheritedFromListener(t *testing.T) {
	_, h := start(t, nil)
	for name, mptcp := range map[string]bool{"tcp": false, "mptcp": true} {
		t.Run(name, func(t *testing.T) {
			n := testenv.NewNetns(t)
			l := listen(t, n, "127.0.0.1:0", mptcp)
			client := dial(t, n, "tcp4", l.Addr().String(), nil)
			if _, err := client.Write([]byte("anybody there?")); err != nil {
				t.Fatal(err)
			}
			local, remote := addrPort(client.LocalAddr()), addrPort(client.RemoteAddr())
			open := h.record(t, "open of the accepted side", func(r *FlowRecord) bool {
				return r.Kind == RecordOpen && r.Direction == rules.Inbound && r.Local == remote && r.Remote == local
			})
			if !isSelf(open.Owner) || open.Owner.Attribution != rules.AttributionInherited || open.Outcome != rules.OutcomeEstablished {
				t.Errorf("owner %+v, outcome %s", open.Owner, open.Outcome)
			}
		})
	}
}

// The first payload arrives on the listening socket when it rides on the
// handshake's last ACK.
func TestPayloadOnLastACK(t *testing.T) {
	_, h := start(t, nil)
	n := testenv.NewNetns(t)
	l := listen(t, n, "127.0.0.1:0", false)
	client := dial(t, n, "tcp4", l.Addr().String(), func(fd int) {
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)
	})
	if _, err := client.Write([]byte("early payload")); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(accepted, make([]byte, len("early payload"))); err != nil {
		t.Fatal(err)
	}
	if _, err := accepted.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, len("answer"))); err != nil {
		t.Fatal(err)
	}
	local, remote := addrPort(client.LocalAddr()), addrPort(client.RemoteAddr())
	client.Close()
	accepted.Close()
	in := closed(t, h, rules.Inbound, remote, local)
	if in.Outcome != rules.OutcomeData || in.BytesIn < uint64(len("early payload")) || !isSelf(in.Owner) {
		t.Errorf("record %+v", in)
	}
	p := h.packet(t, "payload on the listener", func(p *Packet) bool {
		return !p.Out && p.Flow.Netns == in.Flow.Netns && p.Listener && bytes.HasSuffix(p.Data, []byte("early payload"))
	})
	if p.Flow.Cookie == in.Flow.Cookie || !isSelf(p.Owner) {
		t.Errorf("packet %+v", p)
	}
}

// A raw socket has a run of its own for every packet it sniffs, and must neither
// own nor double what it sees.
func TestRawSnifferBeside(t *testing.T) {
	_, h := start(t, nil)
	n := testenv.NewNetns(t)
	sniffer := role(t, n, "sniff")
	background(t, sniffer)
	client, accepted := tcpPair(t, n, "127.0.0.1:0")
	for range 20 {
		if _, err := client.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(accepted, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	local, remote := addrPort(client.LocalAddr()), addrPort(client.RemoteAddr())
	client.Close()
	accepted.Close()
	out := closed(t, h, rules.Outbound, local, remote)
	in := closed(t, h, rules.Inbound, remote, local)
	if !isSelf(out.Owner) || !isSelf(in.Owner) {
		t.Errorf("owners %+v, %+v", out.Owner, in.Owner)
	}
	if in.PacketsIn > out.PacketsOut {
		t.Errorf("%d packets left, %d came", out.PacketsOut, in.PacketsIn)
	}
	if r := h.all(func(r *FlowRecord) bool { return r.Owner.Process.PID == uint32(sniffer.Process.Pid) }); len(r) > 0 {
		t.Errorf("the sniffer owns %+v", r)
	}
}

func TestSocketOlderThanTheSensor(t *testing.T) {
	testenv.Privileged(t)
	n := testenv.NewNetns(t)
	l := listen(t, n, "127.0.0.1:0", false)
	client := dial(t, n, "tcp4", l.Addr().String(), nil)
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	local, remote := addrPort(client.LocalAddr()), addrPort(client.RemoteAddr())
	_, h := start(t, nil)
	for _, c := range []struct {
		direction     rules.Direction
		local, remote netip.AddrPort
		conn          net.Conn
	}{{rules.Outbound, local, remote, client}, {rules.Inbound, remote, local, accepted}} {
		open := h.record(t, "open of a silent socket", func(r *FlowRecord) bool {
			return r.Kind == RecordOpen && r.Local == c.local && r.Remote == c.remote
		})
		if !isSelf(open.Owner) || open.Owner.Attribution != rules.AttributionSeeded || open.Outcome != rules.OutcomeEstablished {
			t.Errorf("%s: %+v", c.direction, open)
		}
		if _, err := c.conn.Write([]byte("still here")); err != nil {
			t.Fatal(err)
		}
		h.packet(t, "payload of a seeded flow", func(p *Packet) bool {
			return p.Flow == open.Flow && p.Out && bytes.HasSuffix(p.Data, []byte("still here")) && p.Owner.Attribution == rules.AttributionExact
		})
	}
	client.Close()
	accepted.Close()
	for _, r := range []FlowRecord{
		closed(t, h, rules.Outbound, local, remote), closed(t, h, rules.Inbound, remote, local),
	} {
		if !isSelf(r.Owner) || r.Owner.Attribution != rules.AttributionExact || r.Outcome != rules.OutcomeData {
			t.Errorf("close %+v", r)
		}
	}
}

// A process that has gone before anybody looks is known all the same, and so is
// its cgroup.
func TestProcessThatExitsAtOnce(t *testing.T) {
	s, h := start(t, nil)
	n := testenv.NewNetns(t)
	l := listen(t, n, "127.0.0.1:0", false)
	group, path := newCgroup(t)
	cmd := role(t, n, "connect", l.Addr().String())
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r := h.record(t, "flow of the short process", func(r *FlowRecord) bool {
		return r.Kind == RecordClose && r.Direction == rules.Outbound && r.Owner.Process.PID == uint32(cmd.Process.Pid)
	})
	if r.Owner.Attribution != rules.AttributionExact || r.Remote != addrPort(l.Addr()) {
		t.Errorf("record %+v", r)
	}
	h.process(t, "exit", func(e *ProcessEvent) bool { return e.Kind == ProcessExit && e.Process == r.Owner.Process })
	p, ok := s.Process(r.Owner.Process)
	if !ok || !strings.HasSuffix(p.Executable, "sensor.test") || len(p.Args) != 2 || p.Args[1] != l.Addr().String() || p.Exited.IsZero() {
		t.Errorf("process %+v, %v", p, ok)
	}
	if p.CgroupPath != path || p.CgroupID != r.Owner.CgroupID {
		t.Errorf("cgroup %q (%d), want %q (%d)", p.CgroupPath, p.CgroupID, path, r.Owner.CgroupID)
	}
}

// newCgroup makes a v2 cgroup, removed when the test ends.
func newCgroup(t *testing.T) (folder *os.File, path string) {
	t.Helper()
	root, _, err := bpf.FindCgroupRoot()
	if err != nil {
		t.Fatal(err)
	}
	path = fmt.Sprintf("/spt-%d/leaf", os.Getpid())
	if err := os.MkdirAll(root+path, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if os.Remove(root+path) == nil && os.Remove(filepath.Dir(root+path)) == nil {
				return
			}
		}
	})
	folder, err = os.Open(root + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return folder, path
}

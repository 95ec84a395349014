package hostevidence

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent/sensor"
	"sallyport/agent/testenv"
	"sallyport/rules"
)

// guestEnv is set where "make test-kernels" runs this: that kernel has every
// tunnel, and none is passed over.
const guestEnv = "SALLYPORT_TEST_GUEST"

// waitLimit bounds a wait.
var waitLimit = 2 * testenv.Patience()

// side is one end of a tunnel under test.
type side struct {
	netns                        testenv.Netns
	local, remote, inner, beyond string
	local6, remote6              string
	key, public, peer            string // of WireGuard, base64
	first                        bool
}

// ip runs ip(8) in the side's namespace, and skips where the kernel lacks it.
func (s *side) ip(t *testing.T, format string, args ...any) {
	t.Helper()
	command := strings.Fields(fmt.Sprintf(format, args...))
	out, err := s.netns.Command("ip", command...).CombinedOutput()
	if err == nil {
		return
	}
	for _, reason := range []string{"Unknown device type", "not supported", "Protocol not supported", "No such file or directory", "Requested type not found"} {
		if os.Getenv(guestEnv) == "" && strings.Contains(string(out), reason) {
			t.Skipf("this kernel lacks it (make test-kernels has kernels with it): ip %s: %s", strings.Join(command, " "), out)
		}
	}
	t.Fatalf("ip %s: %v\n%s", strings.Join(command, " "), err, out)
}

// address gives the device of a tunnel its inner address.
func (s *side) address(t *testing.T, device string) {
	t.Helper()
	s.ip(t, "addr add %s/24 dev %s", s.inner, device)
	s.ip(t, "link set %s up", device)
}

// number is 1 on the first side, 2 on the other; other is the far side's.
func (s *side) number() int {
	if s.first {
		return 1
	}
	return 2
}

func (s *side) other() int { return 3 - s.number() }

// kernelCase is one kind of tunnel that the kernel carries.
type kernelCase struct {
	name      string
	setUp     func(*testing.T, *side)
	protocol  string
	transport uint8
	port      uint16 // of the remote
	evidence  string
	ipv6      bool // the outer packets'
	maker     string
}

var kernelCases = []kernelCase{
	{"wireguard", wireGuardSide, "wireguard", 17, 51820, "kernel WireGuard device spw, peer", false, "wg"},
	{"gre", func(t *testing.T, s *side) {
		s.ip(t, "link add spg type gre local %s remote %s ttl 64", s.local, s.remote)
		s.address(t, "spg")
	}, "gre", 47, 0, "kernel GRE device spg, peer", false, "ip"},
	{"gretap", func(t *testing.T, s *side) {
		s.ip(t, "link add spt type gretap local %s remote %s", s.local, s.remote)
		s.address(t, "spt")
	}, "gre", 47, 0, "kernel gretap device spt, peer", false, "ip"},
	{"ip6gre", func(t *testing.T, s *side) {
		s.ip(t, "link add sp6 type ip6gre local %s remote %s", s.local6, s.remote6)
		s.address(t, "sp6")
	}, "gre", 47, 0, "kernel ip6gre device sp6, peer", true, "ip"},
	{"ipip", func(t *testing.T, s *side) {
		s.ip(t, "link add spi type ipip local %s remote %s", s.local, s.remote)
		s.address(t, "spi")
	}, "vpn-tunnel", 4, 0, "kernel ipip device spi, peer", false, "ip"},
	{"sit", func(t *testing.T, s *side) {
		s.ip(t, "link add sps type sit mode any local %s remote %s", s.local, s.remote)
		s.ip(t, "addr add fd00::%d/64 dev sps nodad", s.number())
		s.ip(t, "link set sps up")
	}, "vpn-tunnel", 41, 0, "kernel sit device sps, peer", false, "ip"},
	{"vxlan", func(t *testing.T, s *side) {
		s.ip(t, "link add spx type vxlan id 7 local %s remote %s dstport 4789", s.local, s.remote)
		s.address(t, "spx")
	}, "vpn-tunnel", 17, 4789, "kernel vxlan device spx, peer", false, "ip"},
	{"geneve", func(t *testing.T, s *side) {
		s.ip(t, "link add spv type geneve id 7 remote %s", s.remote)
		s.address(t, "spv")
	}, "vpn-tunnel", 17, 6081, "kernel geneve device spv, peer", false, "ip"},
	{"fou", func(t *testing.T, s *side) {
		s.ip(t, "fou add port 5555 ipproto 4")
		s.ip(t, "link add spf type ipip local %s remote %s encap fou encap-sport auto encap-dport 5555", s.local, s.remote)
		s.address(t, "spf")
	}, "vpn-tunnel", 17, 5555, "kernel ipip device spf, peer", false, "ip"},
	{"l2tp over ip", func(t *testing.T, s *side) {
		s.ip(t, "l2tp add tunnel tunnel_id %d peer_tunnel_id %d encap ip local %s remote %s", s.number(), s.other(), s.local, s.remote)
		s.ip(t, "l2tp add session name spl tunnel_id %d session_id %d peer_session_id %d", s.number(), s.number(), s.other())
		s.address(t, "spl")
	}, "l2tp", 115, 0, "kernel L2TP device tunnel", false, "ip"},
	{"l2tp over udp", func(t *testing.T, s *side) {
		s.ip(t, "l2tp add tunnel tunnel_id %d peer_tunnel_id %d encap udp local %s remote %s udp_sport 1701 udp_dport 1701", s.number(), s.other(), s.local, s.remote)
		s.ip(t, "l2tp add session name spu tunnel_id %d session_id %d peer_session_id %d", s.number(), s.number(), s.other())
		s.address(t, "spu")
	}, "l2tp", 17, 1701, "kernel L2TP device tunnel", false, "ip"},
	{"esp", func(t *testing.T, s *side) { ipsecSide(t, s, "esp", "enc cbc(aes) 0x%032d auth hmac(sha256) 0x%064d") }, "esp", 50, 0, "the kernel's IPsec states ESP, peer", false, "ip"},
	{"ah", func(t *testing.T, s *side) { ipsecSide(t, s, "ah", "auth hmac(sha256) 0x%064[2]d") }, "ah", 51, 0, "the kernel's IPsec states AH, peer", false, "ip"},
}

// ipsecSide sets states and policies up by hand.
func ipsecSide(t *testing.T, s *side, proto, keys string) {
	keys = fmt.Sprintf(keys, 1, 1)
	out, in := 0x100+s.number(), 0x100+s.other()
	s.ip(t, "xfrm state add src %s dst %s proto %s spi %d reqid 1 mode tunnel %s", s.local, s.remote, proto, out, keys)
	s.ip(t, "xfrm state add src %s dst %s proto %s spi %d reqid 1 mode tunnel %s", s.remote, s.local, proto, in, keys)
	s.ip(t, "xfrm policy add src %s dst %s dir out tmpl src %s dst %s proto %s reqid 1 mode tunnel", s.inner, s.beyond, s.local, s.remote, proto)
	s.ip(t, "xfrm policy add src %s dst %s dir in tmpl src %s dst %s proto %s reqid 1 mode tunnel", s.beyond, s.inner, s.remote, s.local, proto)
	s.ip(t, "addr add %s/32 dev lo", s.inner)
	s.ip(t, "route add %s/32 via %s src %s", s.beyond, s.remote, s.inner)
}

// wireGuardSide sets a device up as wg-quick does: the peer by wg(8).
func wireGuardSide(t *testing.T, s *side) {
	wg := testenv.Tool(t, "wg")
	s.ip(t, "link add spw type wireguard")
	file := t.TempDir() + "/key"
	if err := os.WriteFile(file, []byte(s.key), 0o600); err != nil {
		t.Fatal(err)
	}
	s.netns.Run(t, wg, "set", "spw", "listen-port", "51820", "private-key", file, "peer", s.peer, "endpoint", s.remote+":51820", "allowed-ips", "10.98.0.0/24")
	s.address(t, "spw")
}

// TestKernelTunnels: each tunnel of the kernel is a flow at both ends, identified,
// with its evidence, and with the command that made it as its owner.
func TestKernelTunnels(t *testing.T) {
	testenv.Exclusive(t)
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr})
	socket := sensor.NewSocket(sensor.DefaultSocketConfig(), log)
	run(t, socket, nobody{})
	seen := watch(t, socket)
	for _, test := range kernelCases {
		t.Run(test.name, func(t *testing.T) {
			client, server := testenv.Pair(t)
			ends := [2]*side{
				{netns: client, local: testenv.ClientAddr, remote: testenv.ServerAddr, inner: "10.98.0.1", beyond: "10.98.0.2", local6: testenv.ClientAddr6, remote6: testenv.ServerAddr6, first: true},
				{netns: server, local: testenv.ServerAddr, remote: testenv.ClientAddr, inner: "10.98.0.2", beyond: "10.98.0.1", local6: testenv.ServerAddr6, remote6: testenv.ClientAddr6},
			}
			keys(t, ends[0], ends[1])
			test.setUp(t, ends[0])
			test.setUp(t, ends[1])
			// Routes, neighbours and handshakes settle: ping goes on until the end.
			to := []string{"-i", "0.2", ends[0].beyond}
			if test.name == "sit" {
				to = []string{"-6", "-i", "0.2", "fd00::2"}
			}
			ping := client.Command(testenv.Tool(t, "ping"), to...)
			if err := ping.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { ping.Process.Kill(); ping.Wait() }()
			for _, s := range ends {
				remote := s.remote
				if test.ipv6 {
					remote = s.remote6
				}
				expect(t, socket, seen, &test, s.netns, netip.AddrPortFrom(netip.MustParseAddr(remote), test.port))
			}
		})
	}
}

// expect waits for the flow of one end.
func expect(t *testing.T, socket *sensor.Socket, seen *recorded, test *kernelCase, in testenv.Netns, remote netip.AddrPort) {
	t.Helper()
	inode, err := inodeOf(in.Path())
	if err != nil {
		t.Fatal(err)
	}
	var r sensor.FlowRecord
	var id rules.Identification
	complete := func() bool {
		var ok bool
		if r, ok = seen.flow(inode, test.transport, remote); !ok || r.Outcome != rules.OutcomeData {
			return false
		}
		e, found := seen.kernel.Of(inode, test.transport, r.Local, remote)
		id = e.Identification(rules.Identification{Protocol: "none"}, false)
		// A namespace before this one may have had its number, and the same remote.
		return found && id.State == confirmed && r.Owner.Process.PID != 0 && strings.Contains(id.Evidence, test.evidence)
	}
	for deadline := time.Now().Add(waitLimit); !complete(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no flow to %s with data and an owner: %+v, %+v\nhooks %+v", remote, r, id, seen.kernel.Hooks())
		}
	}
	if id.Protocol != test.protocol || id.Source != source || !strings.Contains(id.Evidence, test.evidence+" "+remote.Addr().String()) && test.protocol != "l2tp" {
		t.Errorf("identified as %+v", id)
	}
	if !strings.Contains(id.Evidence, test.evidence) || !strings.Contains(id.Evidence, "made by "+test.maker) && !strings.Contains(id.Evidence, "made by ip") {
		t.Errorf("evidence %q", id.Evidence)
	}
	maker, ok := socket.Process(r.Owner.Process)
	if !ok || r.Owner.Attribution != rules.AttributionTunnel || len(maker.Args) == 0 {
		t.Errorf("owner %+v: %+v", r.Owner, maker)
	}
}

// keys makes the keys of a WireGuard pair.
func keys(t *testing.T, a, b *side) {
	t.Helper()
	for _, s := range []*side{a, b} {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s.key, s.public = base64.StdEncoding.EncodeToString(key.Bytes()), base64.StdEncoding.EncodeToString(key.PublicKey().Bytes())
	}
	a.peer, b.peer = b.public, a.public
}

// A tunnel's flow ends with it, and a device that carries nothing is none.
func TestKernelTunnelEnds(t *testing.T) {
	testenv.Exclusive(t)
	seen := watch(t, nil)
	client, _ := testenv.Pair(t)
	s := &side{netns: client, local: testenv.ClientAddr, remote: testenv.ServerAddr, inner: "10.98.0.1", first: true}
	s.ip(t, "link add spx type vxlan id 7 local %s remote %s dstport 4789", s.local, s.remote)
	s.address(t, "spx")
	inode, err := inodeOf(client.Path())
	if err != nil {
		t.Fatal(err)
	}
	remote := netip.MustParseAddrPort(testenv.ServerAddr + ":4789")
	until(t, "flow of one direction", func() bool {
		exec.Command("nsenter", "--net="+client.Path(), "--", "ping", "-c1", "-W1", "10.98.0.9").Run() // asks who has it
		r, ok := seen.flow(inode, 17, remote)
		return ok && r.Outcome == rules.OutcomeAttempted
	})
	if e, ok := seen.kernel.Of(inode, 17, netip.AddrPort{}, remote); !ok || e.tunnel.state() != suspected {
		t.Errorf("one direction: %+v", e)
	}
	s.ip(t, "link del spx")
	until(t, "end", func() bool {
		r, _ := seen.flow(inode, 17, remote)
		return r.Kind == sensor.RecordClose
	})
	if e, ok := seen.kernel.Of(inode, 17, netip.AddrPort{}, remote); ok {
		t.Errorf("still there: %+v", e)
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitLimit); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}

// recorded keeps the newest record of each flow.
type recorded struct {
	kernel *Kernel
	mu     sync.Mutex
	flows  map[endpoint]sensor.FlowRecord
}

func (*recorded) Packet(*sensor.Packet)        {}
func (*recorded) Process(*sensor.ProcessEvent) {}

func (r *recorded) Record(f *sensor.FlowRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flows[endpoint{f.Flow.Netns, f.Transport, f.Remote}] = *f
}

func (r *recorded) flow(netns uint64, transport uint8, remote netip.AddrPort) (sensor.FlowRecord, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.flows[endpoint{netns, transport, remote}]
	return f, ok
}

// nobody takes the socket sensor's flows, which are not asked for.
type nobody struct{}

func (nobody) Packet(*sensor.Packet)        {}
func (nobody) Record(*sensor.FlowRecord)    {}
func (nobody) Process(*sensor.ProcessEvent) {}

// watch runs the tunnel sensor.
func watch(t *testing.T, processes Processes) *recorded {
	t.Helper()
	cfg := DefaultKernelConfig()
	cfg.Every = 200 * time.Millisecond
	seen := &recorded{kernel: NewKernel(cfg, processes, hclog.NewNullLogger()), flows: map[endpoint]sensor.FlowRecord{}}
	run(t, seen.kernel, seen)
	return seen
}

// run runs a sensor until the test ends.
func run(t *testing.T, s sensor.Sensor, h sensor.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, h, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s sensor: %v", s.Name(), err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("%s sensor: %v", s.Name(), err)
	}
}

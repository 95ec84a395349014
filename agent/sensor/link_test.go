package sensor

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
)

// linkRecorder keeps what a sensor gives.
type linkRecorder struct {
	mu      sync.Mutex
	packets []Packet
}

func (r *linkRecorder) Packet(p *Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *p
	c.Data = append([]byte(nil), p.Data...)
	r.packets = append(r.packets, c)
}
func (*linkRecorder) Record(*FlowRecord)    {}
func (*linkRecorder) Process(*ProcessEvent) {}

// count gives how many packets meet a condition.
func (r *linkRecorder) count(want func(*Packet) bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for i := range r.packets {
		if want(&r.packets[i]) {
			n++
		}
	}
	return n
}

func (r *linkRecorder) await(t *testing.T, what string, n int, want func(*Packet) bool) {
	t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if r.count(want) >= n {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Fatalf("%s: not seen %d times in %d packets", what, n, len(r.packets))
}

// startLink runs a link sensor in a namespace until the test ends.
func startLink(t *testing.T, ns testenv.Netns, cfg LinkConfig) (*Link, *linkRecorder) {
	t.Helper()
	l, r := NewLink(cfg, hclog.NewNullLogger()), &linkRecorder{}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go ns.Do(t, func() { ended <- l.Run(ctx, r, func() { close(ready) }) })
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			t.Error("the sensor does not stop")
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatalf("run: %v", err)
	case <-time.After(patience):
		t.Fatal("the sensor does not start")
	}
	return l, r
}

// sendRaw sends a payload as an IP protocol of its own.
func sendRaw(t *testing.T, ns testenv.Netns, proto int, to string, payload []byte) {
	t.Helper()
	ns.Do(t, func() {
		addr := netip.MustParseAddr(to)
		var err error
		if addr.Is4() {
			err = rawSend(unix.AF_INET, proto, &unix.SockaddrInet4{Addr: addr.As4()}, payload)
		} else {
			err = rawSend(unix.AF_INET6, proto, &unix.SockaddrInet6{Addr: addr.As16()}, payload)
		}
		if err != nil {
			t.Errorf("send protocol %d: %v", proto, err)
		}
	})
}

func rawSend(family, proto int, to unix.Sockaddr, payload []byte) error {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, payload, 0, to)
}

func sendUDP(t *testing.T, ns testenv.Netns, to string, payload []byte) {
	t.Helper()
	ns.Do(t, func() {
		c, err := net.Dial("udp", to)
		if err == nil {
			_, err = c.Write(payload)
			c.Close()
		}
		if err != nil {
			t.Errorf("send: %v", err)
		}
	})
}

func proto(p *Packet) uint8 {
	if p.Data[0]>>4 == 4 {
		return p.Data[9]
	}
	return p.Data[6]
}

func is(want uint8, out bool) func(*Packet) bool {
	return func(p *Packet) bool { return proto(p) == want && p.Out == out }
}

// initiation looks like a WireGuard handshake initiation by type and length.
func initiation() []byte { return append([]byte{1, 0, 0, 0}, make([]byte, 144)...) }

func TestLinkSeesTunnels(t *testing.T) {
	testenv.Privileged(t)
	client, server := testenv.Pair(t)
	l, r := startLink(t, server, DefaultLinkConfig())
	for _, p := range []int{47, 50, 51, 115} {
		sendRaw(t, client, p, testenv.ServerAddr, make([]byte, 40))
		sendRaw(t, client, p, testenv.ServerAddr6, make([]byte, 40))
		sendRaw(t, server, p, testenv.ClientAddr, make([]byte, 40))
	}
	sendUDP(t, client, testenv.ServerAddr+":4000", []byte("not wanted"))
	sendUDP(t, client, testenv.ServerAddr+":4000", initiation())
	sendUDP(t, client, "["+testenv.ServerAddr6+"]:4000", initiation())
	for _, p := range []uint8{47, 50, 51, 115} {
		r.await(t, fmt.Sprintf("protocol %d in", p), 2, is(p, false))
		r.await(t, fmt.Sprintf("protocol %d out", p), 1, is(p, true))
	}
	r.await(t, "WireGuard handshakes", 2, is(17, false))
	if n := r.count(func(p *Packet) bool { return proto(p) == 17 && len(p.Data) < 100 }); n != 0 {
		t.Errorf("%d UDP packets that are no handshake", n)
	}
	if n := r.count(func(p *Packet) bool { return p.Forwarded || p.Flow.Netns == 0 || p.Length != len(p.Data) }); n != 0 {
		t.Errorf("%d packets with wrong facts", n)
	}
	hooks := l.Hooks()
	if len(hooks) != 1 || !hooks[0].Attached || !hooks[0].Canary || hooks[0].Consequence == "" {
		t.Errorf("%+v", hooks)
	}
	if c := l.Counters(); c.Seen["packets"] == 0 || len(c.Lost) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestLinkIgnoresOutgoing(t *testing.T) {
	testenv.Privileged(t)
	client, server := testenv.Pair(t)
	cfg := DefaultLinkConfig()
	cfg.Outgoing = false
	_, r := startLink(t, server, cfg)
	sendRaw(t, server, 50, testenv.ClientAddr, make([]byte, 40))
	sendRaw(t, client, 50, testenv.ServerAddr, make([]byte, 40))
	r.await(t, "ESP in", 1, is(50, false))
	if n := r.count(is(50, true)); n != 0 {
		t.Errorf("%d packets that left", n)
	}
}

// TestLinkTap: everything, by named interface, with the VLAN and who the ends
// are.
func TestLinkTap(t *testing.T) {
	testenv.Privileged(t)
	client, server := testenv.Pair(t)
	cfg := DefaultLinkConfig()
	cfg.Tap, cfg.Interfaces = true, []string{"v0"}
	l, r := startLink(t, server, cfg)
	sendTagged(t, client, 7)
	sendUDP(t, client, "203.0.113.9:4000", []byte("for somebody else"))
	r.await(t, "tagged", 1, func(p *Packet) bool { return p.VLAN == 7 && !p.Forwarded && proto(p) == 17 })
	r.await(t, "for somebody else", 1, func(p *Packet) bool {
		return proto(p) == 17 && p.Forwarded && netip.AddrFrom4([4]byte(p.Data[16:20])).String() == "203.0.113.9"
	})
	if report, err := l.SetPrefixes(make([]netip.Prefix, 3)); err != nil || report.Loaded != 3 {
		t.Errorf("%+v, %v", report, err)
	}
}

// sendTagged sends a UDP packet to the server in a frame with a VLAN tag: not
// every kernel has VLAN devices.
func sendTagged(t *testing.T, ns testenv.Netns, id uint16) {
	t.Helper()
	src, dst := netip.MustParseAddr(testenv.ClientAddr).As4(), netip.MustParseAddr(testenv.ServerAddr).As4()
	frame := append(make([]byte, 12), 0x81, 0, byte(id>>8), byte(id), 0x08, 0)
	copy(frame, []byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1})
	frame = append(frame, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0)
	frame = append(append(frame, src[:]...), dst[:]...)
	frame = append(frame, 1, 0, 2, 0, 0, 8, 0, 0)
	ns.Do(t, func() {
		i, err := net.InterfaceByName("v0")
		if err != nil {
			t.Errorf("find interface: %v", err)
			return
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Errorf("open packet socket: %v", err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index, Halen: 6}); err != nil {
			t.Errorf("send frame: %v", err)
		}
	})
}

// TestLinkGateway: what passes through is one packet, and known as nobody's here.
func TestLinkGateway(t *testing.T) {
	testenv.Privileged(t)
	client, gateway := testenv.Pair(t)
	far := testenv.NewNetns(t)
	testenv.Run(t, "ip", "link", "add", "v1", "netns", gateway.Name, "type", "veth", "peer", "name", "v1", "netns", far.Name)
	gateway.Run(t, "ip", "addr", "add", "198.19.9.1/24", "dev", "v1")
	gateway.Run(t, "ip", "link", "set", "v1", "up")
	gateway.Run(t, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	far.Run(t, "ip", "addr", "add", "198.19.9.2/24", "dev", "v1")
	far.Run(t, "ip", "link", "set", "v1", "up")
	cfg := DefaultLinkConfig()
	cfg.Tap = true
	l, r := startLink(t, gateway, cfg)
	through := func(p *Packet) bool {
		return proto(p) == 17 && netip.AddrFrom4([4]byte(p.Data[16:20])).String() == "198.19.9.2"
	}
	sendUDP(t, client, "198.19.9.2:4000", []byte("through"))
	sendRaw(t, client, 50, testenv.ServerAddr, make([]byte, 40)) // what comes after it
	r.await(t, "the marker", 1, is(50, false))
	r.await(t, "forwarded", 1, func(p *Packet) bool { return through(p) && p.Forwarded && !p.Out })
	if n := r.count(through); n != 1 {
		t.Errorf("a forwarded packet is given %d times", n)
	}
	if n := l.Counters().Dropped["second_copy_of_forwarded"]; n == 0 {
		t.Log("the second copy has not come yet")
	}
}

func TestLinkInterfaceGoes(t *testing.T) {
	testenv.Privileged(t)
	client, server := testenv.Pair(t)
	cfg := DefaultLinkConfig()
	cfg.Interfaces = []string{"v0", "v9"}
	l, r := startLink(t, server, cfg)
	if hooks := l.Hooks(); len(hooks) != 2 || !hooks[0].Attached || hooks[1].Attached || hooks[1].Error == "" {
		t.Errorf("%+v", hooks)
	}
	server.Run(t, "ip", "link", "set", "v0", "down")
	awaitHook(t, l, false)
	server.Run(t, "ip", "link", "set", "v0", "up")
	awaitHook(t, l, true)
	for limit := time.Now().Add(patience); r.count(is(50, false)) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("nothing is seen after the interface came back")
		}
		sendRaw(t, client, 50, testenv.ServerAddr, make([]byte, 40))
	}
}

func awaitHook(t *testing.T, l *Link, attached bool) {
	t.Helper()
	for limit := time.Now().Add(patience); l.Hooks()[0].Attached != attached; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("attached is not %v: %+v", attached, l.Hooks())
		}
	}
}

func TestLinkNoInterface(t *testing.T) {
	testenv.Privileged(t)
	cfg := DefaultLinkConfig()
	cfg.Interfaces = []string{"no-such-device"}
	l := NewLink(cfg, hclog.NewNullLogger())
	if err := l.Run(context.Background(), &linkRecorder{}, func() {}); err == nil {
		t.Error("no error")
	}
}

// TestLinkFilter runs the filter's parts in user space.
func TestLinkFilter(t *testing.T) {
	cfg := DefaultLinkConfig()
	v4 := func(proto uint8, fragment uint16, body []byte) []byte {
		h := make([]byte, 20)
		h[0], h[9] = 0x45, proto
		binary.BigEndian.PutUint16(h[6:], fragment)
		return append(h, body...)
	}
	udp := func(payload []byte) []byte {
		h := make([]byte, 8)
		binary.BigEndian.PutUint16(h[4:], uint16(8+len(payload)))
		return append(h, payload...)
	}
	v6 := func(proto uint8, body []byte) []byte {
		h := make([]byte, 40)
		h[0], h[6] = 0x60, proto
		return append(h, body...)
	}
	tests := []struct {
		name   string
		filter []bpf.Instruction
		packet []byte
		want   bool
	}{
		{"ESP", filterIPv4(cfg), v4(50, 0, make([]byte, 20)), true},
		{"TCP", filterIPv4(cfg), v4(6, 0, make([]byte, 20)), false},
		{"UDP", filterIPv4(cfg), v4(17, 0, udp([]byte("x"))), false},
		{"WireGuard", filterIPv4(cfg), v4(17, 0, udp(initiation())), true},
		{"WireGuard with options", filterIPv4(cfg), append([]byte{0x46}, append(v4(17, 0, make([]byte, 4))[1:], udp(initiation())...)...), true},
		{"another length", filterIPv4(cfg), v4(17, 0, udp(append(initiation(), 0))), false},
		{"later fragment", filterIPv4(cfg), v4(17, 1, udp(initiation())), false},
		{"ESP later fragment", filterIPv4(cfg), v4(50, 9, make([]byte, 20)), true},
		{"IPv6 GRE", filterIPv6(cfg), v6(47, make([]byte, 20)), true},
		{"IPv6 UDP", filterIPv6(cfg), v6(17, udp([]byte("x"))), false},
		{"IPv6 WireGuard", filterIPv6(cfg), v6(17, udp(append([]byte{2, 0, 0, 0}, make([]byte, 88)...))), true},
		{"short", filterIPv4(cfg), []byte{0x45}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vm, err := bpf.NewVM(tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			n, err := vm.Run(tt.packet)
			if err != nil || (n > 0) != tt.want {
				t.Errorf("takes %d bytes, %v; want %v", n, err, tt.want)
			}
		})
	}
}

func TestLinkConfig(t *testing.T) {
	if err := DefaultLinkConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*LinkConfig){
		"snap": func(c *LinkConfig) { c.Snap = 3 }, "ring": func(c *LinkConfig) { c.RingBytes = 1000 },
		"protocols": func(c *LinkConfig) { c.Protocols = make([]uint8, 100) }, "promiscuous": func(c *LinkConfig) { c.Promiscuous = true },
	} {
		c := DefaultLinkConfig()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzLinkBlock reads a ring's block of any bytes.
func FuzzLinkBlock(f *testing.F) {
	block := make([]byte, 400)
	order := binary.NativeEndian
	order.PutUint32(block[blockPackets:], 1)
	order.PutUint32(block[blockFirst:], blockHeader)
	p := block[blockHeader:]
	order.PutUint16(p[packetMAC:], 80)
	order.PutUint32(p[packetSnap:], 40)
	binary.BigEndian.PutUint16(p[addressProtocol:], typeVLAN)
	copy(p[80:], []byte{0, 7, 0x08, 0, 0x45})
	f.Add(block)
	l := NewLink(DefaultLinkConfig(), hclog.NewNullLogger())
	f.Fuzz(func(t *testing.T, block []byte) {
		if len(block) < blockHeader {
			return
		}
		var out Packet
		readBlock(block, func(f *linkFrame) {
			if l.convert(f, &out) == takePacket && len(out.Data) < 20 {
				t.Error("less than an IP header")
			}
		})
	})
}

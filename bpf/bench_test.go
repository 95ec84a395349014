package bpf

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"sallyport/agent/testenv"
)

// rounds is how often each mode is measured, in turn: medians of interleaved
// runs, since two shared cores swing by a third.
const rounds = 7

// workload is one thing that is measured; it returns how many operations it did.
type workload struct {
	name    string
	packets int // runs of a program per operation; 0: report the ratio of rates
	run     func(b *testing.B) int
}

// BenchmarkSensor measures the kernel side against empty programs on the same
// two hooks. Run it with -benchtime 1x.
func BenchmarkSensor(b *testing.B) {
	testenv.Exclusive(b)
	for _, w := range []workload{
		{"connected_udp", 2, func(b *testing.B) int { return datagrams(b, true) }},
		{"unconnected_udp", 2, func(b *testing.B) int { return datagrams(b, false) }},
		{"new_udp_remote", 1, newRemotes},
		{"connections_plain", 0, func(b *testing.B) int { return connections(b, 0xf0) }},
		{"connections_tls", 0, func(b *testing.B) int { return connections(b, 0x16) }},
		{"bulk_tcp", 0, bulk},
	} {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				compare(b, w)
			}
		})
	}
}

// compare interleaves the modes and reports the medians.
func compare(b *testing.B, w workload) {
	var empty, full []float64
	for range rounds {
		empty = append(empty, measure(b, w, attachEmpty))
		full = append(full, measure(b, w, attachSensor))
	}
	e, f := median(empty), median(full)
	b.ReportMetric(0, "ns/op")
	if w.packets > 0 {
		b.ReportMetric((f-e)/float64(w.packets), "ns/packet-above-empty")
		return
	}
	b.ReportMetric(100*e/f, "%-of-empty")
}

// measure returns nanoseconds per operation.
func measure(b *testing.B, w workload, attach func(b *testing.B) func()) float64 {
	detach := attach(b)
	defer detach()
	begin := time.Now()
	n := w.run(b)
	return float64(time.Since(begin).Nanoseconds()) / float64(n)
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// attachEmpty attaches programs that only let pass.
func attachEmpty(b *testing.B) func() {
	cfg := testConfig(b)
	var links []link.Link
	for _, at := range []ebpf.AttachType{ebpf.AttachCGroupInetEgress, ebpf.AttachCGroupInetIngress} {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.CGroupSKB, AttachType: at, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
		})
		if err != nil {
			b.Fatal(err)
		}
		l, err := link.AttachCgroup(link.CgroupOptions{Path: cfg.CgroupRoot, Attach: at, Program: p})
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
		links = append(links, l)
	}
	return func() {
		for _, l := range links {
			l.Close()
		}
	}
}

// attachSensor attaches everything and reads the ring, as the agent does.
func attachSensor(b *testing.B) func() {
	cfg := testConfig(b)
	cfg.RingBytes, cfg.UDPFlows = 8<<20, 16384
	k, err := Load(cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := k.Attach(); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var p Packet
		k.Read(ctx, func(raw []byte) { p.Decode(raw) }, func() {})
	}()
	return func() {
		cancel()
		<-done
		c, err := k.Counters()
		if err != nil {
			b.Error(err)
		}
		if lost := c.Lost["ring_full"]; lost > 0 {
			b.Logf("%d records lost of %d", lost, c.Seen["records"]+c.Seen["packets"])
		}
		k.Close()
	}
}

// datagrams sends small datagrams to one remote that nobody reads.
func datagrams(b *testing.B, connected bool) int {
	const n = 200_000
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	to := server.LocalAddr().(*net.UDPAddr)
	message := make([]byte, 64)
	message[0] = 0xf0
	if connected {
		client, err := net.DialUDP("udp4", nil, to)
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		for range n {
			client.Write(message)
		}
		return n
	}
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for range n {
		client.WriteToUDPAddrPort(message, to.AddrPort())
	}
	return n
}

// newRemotes sends one datagram to each of many loopback addresses; nobody
// listens, so only egress counts.
func newRemotes(b *testing.B) int {
	const n = 60_000
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	message := []byte{0xf0, 0, 0, 0, 0, 0, 0, 0}
	for i := range n {
		addr := netip.AddrFrom4([4]byte{127, byte(1 + i>>16), byte(i >> 8), byte(i)})
		client.WriteToUDPAddrPort(message, netip.AddrPortFrom(addr, 9))
	}
	return n
}

// connections makes TCP connections that carry 517 bytes and 2 back.
func connections(b *testing.B, first byte) int {
	const n = 10_000
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		buf := make([]byte, 1024)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := io.ReadFull(conn, buf[:517]); err == nil {
				conn.Write(buf[:2])
			}
			conn.Close()
		}
	}()
	hello := make([]byte, 517)
	hello[0], hello[1] = first, 3
	answer := make([]byte, 2)
	for range n {
		conn, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		conn.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: ports are few
		conn.Write(hello)
		io.ReadFull(conn, answer)
		conn.Close()
	}
	return n
}

// bulk moves bytes over one TCP connection, in operations of 64 KiB.
func bulk(b *testing.B) int {
	const n = 20_000
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			var k int64
			if k, err = io.Copy(io.Discard, struct{ io.Reader }{conn}); k != n<<16 && err == nil {
				err = fmt.Errorf("%d bytes came", k)
			}
		}
		done <- err
	}()
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	block := make([]byte, 64<<10)
	for range n {
		if _, err := conn.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	conn.Close()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	return n
}

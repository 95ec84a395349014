package bpf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// workload is one thing that is measured.
type workload struct {
	name    string
	packets int // runs of a packet program per operation; 0: the rate of operations counts
	run     func(b *testing.B) span
}

func workloads() []workload {
	return []workload{
		{"connected_udp", 2, func(b *testing.B) span { return datagrams(b, true) }},
		{"unconnected_udp", 2, func(b *testing.B) span { return datagrams(b, false) }},
		{"new_udp_remote", 1, newRemotes},
		{"connections_plain", 0, func(b *testing.B) span { return connections(b, 0xf0) }},
		{"connections_tls", 0, func(b *testing.B) span { return connections(b, 0x16) }},
		{"bulk_tcp", 0, bulk},
	}
}

// timed measures on one clock of processor time: that of a thread, or that of
// the process where several threads work.
func timed(b *testing.B, clock int32, ops int, work func()) span {
	b.Helper()
	cpu, began := now(b, clock), time.Now()
	work()
	return span{wall: time.Since(began), cpu: now(b, clock) - cpu, ops: ops}
}

func now(b *testing.B, clock int32) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// datagrams sends small datagrams to one remote that nobody reads, once the flow
// is settled. Both ends are connected, or neither.
func datagrams(b *testing.B, connected bool) span {
	const warm, n = 1000, 10_000
	runtime.LockOSThread() // whose time is taken, and who has counts of its own in the kernel
	defer runtime.UnlockOSThread()
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	message := make([]byte, 64)
	message[0] = 0xf0
	to := server.LocalAddr().(*net.UDPAddr).AddrPort()
	send := func() { client.WriteToUDPAddrPort(message, to) }
	if connected {
		join(b, server, client)
		raw := join(b, client, server)
		send = func() { unix.Write(raw, message) }
	}
	for range warm {
		send()
	}
	return timed(b, unix.CLOCK_THREAD_CPUTIME_ID, n, func() {
		for range n {
			send()
		}
	})
}

// join connects a socket to another and gives its descriptor, since to Go it
// remains one that is not connected.
func join(b *testing.B, from, to *net.UDPConn) (fd int) {
	b.Helper()
	raw, err := from.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	remote := to.LocalAddr().(*net.UDPAddr).AddrPort()
	if failed := raw.Control(func(d uintptr) {
		fd = int(d)
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(remote.Port()), Addr: remote.Addr().As4()})
	}); failed != nil || err != nil {
		b.Fatal(failed, err)
	}
	return fd
}

// newRemotes sends one datagram to each of many groups on the loopback device.
// Nobody is in them, and unlike for a port that nobody has the kernel sends no
// error back, whose cheap runs would lower the mean.
func newRemotes(b *testing.B) span {
	const n = 10_000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	raw, err := client.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	if failed := raw.Control(func(fd uintptr) {
		err = errors.Join(unix.SetsockoptInet4Addr(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, [4]byte{127, 0, 0, 1}),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0))
	}); failed != nil || err != nil {
		b.Fatal(failed, err)
	}
	message := []byte{0xf0, 0, 0, 0, 0, 0, 0, 0}
	return timed(b, unix.CLOCK_THREAD_CPUTIME_ID, n, func() {
		for i := range n {
			addr := netip.AddrFrom4([4]byte{239, 1, byte(i >> 8), byte(i)})
			client.WriteToUDPAddrPort(message, netip.AddrPortFrom(addr, 9))
		}
	})
}

// connections makes TCP connections that carry 517 bytes and 2 back.
func connections(b *testing.B, first byte) span {
	const n = 2000
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go answer(l)
	hello := make([]byte, 517)
	hello[0], hello[1] = first, 3
	back := make([]byte, 2)
	return timed(b, unix.CLOCK_PROCESS_CPUTIME_ID, n, func() {
		for range n {
			conn, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			conn.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: ports are few
			conn.Write(hello)
			io.ReadFull(conn, back)
			conn.Close()
		}
	})
}

func answer(l net.Listener) {
	buf := make([]byte, 517)
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if _, err := io.ReadFull(conn, buf); err == nil {
			conn.Write(buf[:2])
		}
		conn.Close()
	}
}

// bulk moves bytes over one TCP connection, in operations of 64 KiB.
func bulk(b *testing.B) span {
	const n = 4000
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
	s := timed(b, unix.CLOCK_PROCESS_CPUTIME_ID, n, func() {
		for range n {
			if _, err := conn.Write(block); err != nil {
				b.Fatal(err)
			}
		}
		conn.Close()
		err = <-done
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

package sensor

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// Hooks implements Sensor.
func (s *Socket) Hooks() []HookState {
	s.mu.Lock()
	kernel, whole, failure := s.kernel, s.whole, s.failure
	s.mu.Unlock()
	if failure != nil {
		return []HookState{{Name: "all", Error: failure.Error(), Consequence: "flows have no owner, and blocked connects are not seen: the link sensor works alone"}}
	}
	if kernel == nil {
		return nil
	}
	var states []HookState
	for _, h := range kernel.Hooks() {
		state := HookState{Name: h.Name, Attached: h.Attached, Canary: h.Ran}
		if h.Err != nil {
			state.Error = h.Err.Error()
		}
		if !h.Attached || !h.Ran {
			state.Consequence = h.Consequence
		}
		states = append(states, state)
	}
	if !whole {
		states = append(states, HookState{
			Name: "cgroup_root", Error: "the mounted cgroup v2 is that of a cgroup namespace",
			Consequence: "only processes below this agent's own cgroup are seen; mount the host's hierarchy into the container",
		})
	}
	return states
}

// canaryTimeout bounds each of the canary's steps: all are on loopback.
const canaryTimeout = 5 * time.Second

// prove makes the traffic that every hook should see, and returns the cookies of
// its sockets, so that nobody takes it for the host's own. exec alone is left to
// the host: to start a program only to be seen would alarm others.
func prove(log hclog.Logger) map[uint64]struct{} {
	c := &canary{cookies: map[uint64]struct{}{}}
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"tcp4", func() error { return c.stream("tcp4", "127.0.0.1:0") }},
		{"tcp6", func() error { return c.stream("tcp6", "[::1]:0") }},
		{"udp4", func() error { return c.datagram("udp4", "127.0.0.1:0") }},
		{"udp6", func() error { return c.datagram("udp6", "[::1]:0") }},
		{"refused", c.refused},
		{"device", openDevice},
	} {
		if err := step.run(); err != nil {
			log.Debug("canary failed", "step", step.name, "error", err)
		}
	}
	return c.cookies
}

type canary struct {
	cookies map[uint64]struct{}
}

func (c *canary) mark(conn syscall.Conn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		if cookie, err := unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE); err == nil {
			c.cookies[cookie] = struct{}{}
		}
	})
}

func (c *canary) stream(network, address string) error {
	listener, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	c.mark(listener.(*net.TCPListener))
	client, err := net.DialTimeout(network, listener.Addr().String(), canaryTimeout)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer client.Close()
	c.mark(client.(*net.TCPConn))
	server, err := listener.Accept()
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	defer server.Close()
	c.mark(server.(*net.TCPConn))
	return exchange(client, server)
}

func (c *canary) datagram(network, address string) error {
	server, err := net.ListenPacket(network, address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer server.Close()
	c.mark(server.(*net.UDPConn))
	client, err := net.ListenPacket(network, address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer client.Close()
	c.mark(client.(*net.UDPConn))
	if _, err := client.WriteTo([]byte("canary"), server.LocalAddr()); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	server.SetReadDeadline(time.Now().Add(canaryTimeout))
	_, _, err = server.ReadFrom(make([]byte, 16))
	return err
}

// refused connects a UDP socket to a port that was just closed: an ICMP error
// comes back.
func (c *canary) refused() error {
	gone, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	c.mark(gone.(*net.UDPConn))
	address := gone.LocalAddr().String()
	gone.Close()
	client, err := net.Dial("udp4", address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer client.Close()
	c.mark(client.(*net.UDPConn))
	if _, err := client.Write([]byte("canary")); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	client.SetReadDeadline(time.Now().Add(canaryTimeout))
	client.Read(make([]byte, 1)) // the error that comes is the point
	return nil
}

func exchange(client, server net.Conn) error {
	deadline := time.Now().Add(canaryTimeout)
	client.SetDeadline(deadline)
	server.SetDeadline(deadline)
	if _, err := client.Write([]byte("canary")); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	_, err := server.Read(make([]byte, 16))
	return err
}

func openDevice() error {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	return f.Close()
}

package sensor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// TestMovedUDP: a server's unconnected socket hears a client, and the session
// goes on in a socket that is connected to it: the flow is not closed with the
// first one, and its counts there are told before the second's.
func TestMovedUDP(t *testing.T) {
	_, h := start(t, nil)
	client, server := testenv.Pair(t)
	for name, same := range map[string]bool{"the same socket": true, "another socket": false} {
		t.Run(name, func(t *testing.T) {
			heard := listenReusable(t, server, "198.18.0.2:0")
			local := addrPort(heard.LocalAddr())
			caller := dialUDP(t, client, local)
			remote := addrPort(caller.LocalAddr())
			for range 2 {
				say(t, caller, heard)
			}
			answers := heard
			if !same {
				answers = listenReusable(t, server, local.String())
			}
			connect(t, answers, remote)
			if _, err := answers.Write([]byte("pong")); err != nil {
				t.Fatal(err)
			}
			if _, err := caller.Read(make([]byte, 16)); err != nil {
				t.Fatal(err)
			}
			say(t, caller, answers)
			mine := func(r *FlowRecord) bool { return r.Local == local && r.Remote == remote }
			last := h.record(t, "the unconnected flow's last counts", func(r *FlowRecord) bool {
				return mine(r) && r.Flow.Remote.IsValid() && r.Kind == RecordUpdate
			})
			if last.PacketsIn != 2 || last.Direction != rules.Inbound {
				t.Errorf("record %+v", last)
			}
			heard.Close()
			answers.Close()
			r := h.record(t, "the connected flow's close", func(r *FlowRecord) bool {
				return mine(r) && !r.Flow.Remote.IsValid() && r.Kind == RecordClose
			})
			if r.PacketsOut != 1 || r.PacketsIn != 1 {
				t.Errorf("record %+v", r)
			}
			if closes := h.all(func(r *FlowRecord) bool { return mine(r) && r.Kind == RecordClose }); len(closes) != 1 {
				t.Errorf("closes: %+v", closes)
			}
		})
	}
}

// listenReusable listens where another socket may listen too.
func listenReusable(t *testing.T, n testenv.Netns, address string) *net.UDPConn {
	t.Helper()
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		if err == nil {
			err = failed
		}
		return err
	}}
	var conn net.PacketConn
	var err error
	n.Do(t, func() { conn, err = cfg.ListenPacket(context.Background(), "udp4", address) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn)
}

func dialUDP(t *testing.T, n testenv.Netns, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	var err error
	n.Do(t, func() { conn, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// connect connects a socket that the net package holds for unconnected.
func connect(t *testing.T, c *net.UDPConn, to netip.AddrPort) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.Connect(int(fd), &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	})
	if err != nil || failed != nil {
		t.Fatal(fmt.Errorf("connect: %v, %w", err, failed))
	}
}

func say(t *testing.T, from, to *net.UDPConn) {
	t.Helper()
	if _, err := from.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := to.ReadFromUDPAddrPort(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
}

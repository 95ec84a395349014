package collector

import (
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
)

// place is where a process runs: an address, in a network namespace of its own
// where it has one.
type place struct {
	addr string
	net  *testenv.Netns
}

var loopback = place{addr: "127.0.0.1"}

// inside has a program run there.
func (p place) inside(cmd *exec.Cmd) *exec.Cmd {
	if p.net == nil {
		return cmd
	}
	in := p.net.Command(cmd.Path, cmd.Args[1:]...)
	in.Env, in.Stderr = cmd.Env, cmd.Stderr
	return in
}

// dialTimeout bounds what reaches nobody.
const dialTimeout = 2 * time.Second

// Dial connects from there.
func (p place) Dial(network, address string) (conn net.Conn, err error) {
	p.enter(func() { conn, err = net.DialTimeout(network, address, dialTimeout) })
	return conn, err
}

// enter calls f on a thread in the namespace, in which its sockets stay.
func (p place) enter(f func()) {
	if p.net == nil {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		fd, err := unix.Open(p.net.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			panic(fmt.Sprint("open namespace: ", err))
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprint("enter namespace: ", err))
		}
		f()
	}()
	<-done
}

// network is namespaces on one bridge, whose links can be cut.
type network struct {
	hub   place // on the bridge itself: reaches all
	count int
}

func newNetwork(t testing.TB) *network {
	t.Helper()
	hub := testenv.NewNetns(t)
	hub.Run(t, "ip", "link", "add", "br0", "type", "bridge")
	hub.Run(t, "ip", "addr", "add", "198.18.0.1/24", "dev", "br0")
	hub.Run(t, "ip", "link", "set", "br0", "up")
	return &network{hub: place{"198.18.0.1", &hub}}
}

// place makes a namespace on the bridge.
func (n *network) place(t testing.TB) place {
	t.Helper()
	n.count++
	p, port := testenv.NewNetns(t), fmt.Sprint("p", n.count)
	addr := fmt.Sprint("198.18.0.", 10+n.count)
	testenv.Run(t, "ip", "link", "add", port, "netns", n.hub.net.Name, "type", "veth", "peer", "name", "eth0", "netns", p.Name)
	n.hub.net.Run(t, "ip", "link", "set", port, "master", "br0", "up")
	p.Run(t, "ip", "addr", "add", addr+"/24", "dev", "eth0")
	p.Run(t, "ip", "link", "set", "eth0", "up")
	return place{addr, &p}
}

// cut makes nothing pass between the places of one side and those of the other,
// in either direction; what was under way is lost without a word. heal ends it.
func cut(t testing.TB, one, other []place) (heal func()) {
	t.Helper()
	routes := func(verb string) {
		t.Helper()
		for _, a := range one {
			for _, b := range other {
				a.net.Run(t, "ip", "route", verb, "blackhole", b.addr+"/32")
				b.net.Run(t, "ip", "route", verb, "blackhole", a.addr+"/32")
			}
		}
	}
	routes("add")
	return func() { t.Helper(); routes("del") }
}

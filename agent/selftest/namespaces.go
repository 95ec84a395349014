package selftest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The test's own addresses. Remote is a documentation address (RFC 5737) that
// the shipped test entity holds; the others are benchmarking addresses (RFC
// 2544). All exist only inside the test's namespaces.
var (
	clientAddr = netip.MustParsePrefix("198.18.51.1/24")
	routerAddr = netip.MustParsePrefix("198.18.51.2/24")
	remoteAddr = netip.MustParsePrefix("203.0.113.10/32")
)

// namespace is a network namespace held by a descriptor; it goes when the
// descriptor and the last socket in it are closed.
type namespace struct{ fd int }

// newNamespace makes an empty network namespace. The thread that made it is
// thrown away with its goroutine, so that no other code lands in it.
func newNamespace() (namespace, error) {
	fd, err := onThrowawayThread(func() (int, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return -1, fmt.Errorf("make network namespace: %w", err)
		}
		return unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	return namespace{fd}, err
}

func (n namespace) close() error { return unix.Close(n.fd) }

// do calls f inside the namespace; sockets that f makes stay in it.
func (n namespace) do(f func() error) error {
	_, err := onThrowawayThread(func() (int, error) {
		if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
			return 0, fmt.Errorf("enter network namespace: %w", err)
		}
		return 0, f()
	})
	return err
}

func onThrowawayThread(f func() (int, error)) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		n, err := f()
		done <- result{n, err}
	}()
	r := <-done
	return r.n, r.err
}

// link joins the two namespaces and gives each its addresses and routes.
func link(client, server namespace) error {
	err := client.do(func() error {
		veth := &netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: "sp0"},
			PeerName:      "sp1",
			PeerNamespace: netlink.NsFd(server.fd),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("add veth pair: %w", err)
		}
		return errors.Join(up("lo"), up("sp0"), address("sp0", clientAddr))
	})
	if err != nil {
		return err
	}
	err = server.do(func() error {
		return errors.Join(up("lo"), up("sp1"), address("sp1", routerAddr), address("lo", remoteAddr))
	})
	if err != nil {
		return err
	}
	return client.do(func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: ipNet(remoteAddr), Gw: routerAddr.Addr().AsSlice()})
	})
}

func up(device string) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find device %s: %w", device, err)
	}
	return netlink.LinkSetUp(l)
}

func address(device string, p netip.Prefix) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find device %s: %w", device, err)
	}
	if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
		return fmt.Errorf("add address %s to %s: %w", p, device, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

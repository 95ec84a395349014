package hostevidence

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// maxNamespaces bounds how many other network namespaces are read.
const maxNamespaces = 256

// namespace is a network namespace, and a file that leads into it; "" for the
// agent's own.
type namespace struct {
	inode uint64
	path  string
}

// ownNamespace is the agent's.
func ownNamespace() (namespace, error) {
	inode, err := inodeOf("/proc/self/ns/net")
	if err != nil {
		return namespace{}, fmt.Errorf("identify network namespace: %w", err)
	}
	return namespace{inode: inode}, nil
}

// mayEnter says whether the agent has what setns(2) asks for.
func mayEnter() bool {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

func inodeOf(path string) (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Ino, nil
}

// otherNamespaces finds the namespaces of processes, and those with a name. They
// are looked for each time: to hold one open would keep it from ending.
func otherNamespaces(own namespace) []namespace {
	seen := map[uint64]bool{own.inode: true}
	var found []namespace
	add := func(path string, inode uint64) {
		if inode != 0 && !seen[inode] && len(found) < maxNamespaces {
			seen[inode] = true
			found = append(found, namespace{inode, path})
		}
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, path := range processes {
		target, err := os.Readlink(path) // net:[4026531840]
		var inode uint64
		if _, scan := fmt.Sscanf(target, "net:[%d]", &inode); err == nil && scan == nil {
			add(path, inode)
		}
	}
	named, _ := filepath.Glob("/run/netns/*")
	for _, path := range named {
		if inode, err := inodeOf(path); err == nil {
			add(path, inode)
		}
	}
	return found
}

// loaded says which optional parts of the kernel a namespace has sockets of. To
// open a socket of one that is missing would load its module.
func loaded(path string, protocol int) bool {
	file := "/proc/self/net/netlink"
	if pid, found := strings.CutSuffix(path, "/ns/net"); found {
		file = pid + "/net/netlink"
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == fmt.Sprint(protocol) {
			return true
		}
	}
	return false
}

// reading is what one look at a namespace gives, and what went wrong by hook.
type reading struct {
	tunnels []KernelTunnel
	errors  map[string]error
}

// Hooks of the tunnel sensor.
const (
	hookLinks      = "tunnel devices"
	hookWireGuard  = "WireGuard peers"
	hookXfrm       = "IPsec states"
	hookL2TP       = "L2TP tunnels"
	hookNamespaces = "other network namespaces"
)

// read looks at a namespace. resolve fills in the address that a tunnel sends
// from, where it has none of its own.
func (n namespace) read(resolve func(*netlink.Handle, *KernelTunnel)) (r reading, err error) {
	r.errors = map[string]error{hookLinks: nil, hookWireGuard: nil, hookXfrm: nil, hookL2TP: nil} // what is not loaded is no fault
	in := netns.None()
	if n.path != "" {
		if in, err = netns.GetFromPath(n.path); err != nil {
			return r, fmt.Errorf("open network namespace: %w", err)
		}
		defer in.Close()
	}
	families := []int{unix.NETLINK_ROUTE, unix.NETLINK_GENERIC}
	ipsec := loaded(n.path, unix.NETLINK_XFRM)
	if ipsec {
		families = append(families, unix.NETLINK_XFRM)
	}
	h, err := netlink.NewHandleAt(in, families...)
	if err != nil {
		return r, fmt.Errorf("enter network namespace: %w", err)
	}
	defer h.Close()
	devices, wireguards, err := linkTunnels(h, n.inode)
	r.add(hookLinks, devices, err)
	r.generic(h, in, n.inode, wireguards)
	if ipsec {
		var states []KernelTunnel
		local, err := localAddresses(h)
		if err == nil {
			states, err = xfrmTunnels(h, local, n.inode)
		}
		r.add(hookXfrm, states, err)
	}
	for i := range r.tunnels {
		resolve(h, &r.tunnels[i])
	}
	return r, nil
}

// generic reads what generic netlink tells.
func (r *reading) generic(h *netlink.Handle, in netns.NsHandle, inode uint64, wireguards []string) {
	g, err := openGeneric(h, in)
	if err != nil {
		r.errors[hookWireGuard] = err
		return
	}
	defer g.close()
	for _, device := range wireguards {
		peers, err := wireguardTunnels(g, device, inode)
		r.add(hookWireGuard, peers, err)
	}
	tunnels, err := l2tpTunnels(g, inode)
	r.add(hookL2TP, tunnels, err)
}

func (r *reading) add(hook string, tunnels []KernelTunnel, err error) {
	r.tunnels = append(r.tunnels, tunnels...)
	r.errors[hook] = errors.Join(r.errors[hook], err)
}

// route fills in the local address.
func route(h *netlink.Handle, t *KernelTunnel) {
	t.Local = netip.AddrPortFrom(sourceFor(h, t.Remote.Addr(), t.Mark), t.Local.Port())
}

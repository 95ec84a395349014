package hostevidence

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/agent/sensor"
)

// Maker is the process that set a kernel tunnel up, as far as that is known.
type Maker struct {
	Process  sensor.ProcessRef
	Name     string
	UID      uint32
	CgroupID uint64
	How      string // how it is known
	Older    bool   // the tunnel is older than the agent
}

func (m *Maker) words() string {
	switch {
	case m.Process.PID != 0:
		return fmt.Sprintf("made by %s (pid %d, uid %d): %s", m.Name, m.Process.PID, m.UID, m.How)
	case m.Older:
		return "made before the agent began"
	}
	return ""
}

// Processes is what the host knows of processes: sensor.Socket.
type Processes interface {
	// Started gives the processes that began since then, those that have gone
	// among them.
	Started(since time.Time) []sensor.Process
	// Process gives one process.
	Process(sensor.ProcessRef) (sensor.Process, bool)
}

// beforehand is how long the command that makes a tunnel may run before the tunnel
// is there.
const beforehand = 10 * time.Second

// makerByCommand finds who ran a command that names the device or an end of the
// tunnel as it appeared, between two looks. The kernel's notification does not say who asked
// (nlmsg_pid is 0), so that this is an inference, and the evidence says so. Of a
// script and what it ran the script is meant.
func makerByCommand(host Processes, t *KernelTunnel, before, seen time.Time) (Maker, bool) {
	var found []sensor.Process
	for _, p := range host.Started(before.Add(-beforehand)) {
		if p.Start.Before(seen) && mentions(p.Args, t.Device, t.Remote.Addr(), t.Local.Addr()) && configures(p.Args) {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return Maker{}, false
	}
	first := slices.MinFunc(found, func(a, b sensor.Process) int { return a.Start.Compare(b.Start) })
	return makerOf(&first, "inferred, since it ran as the tunnel appeared and names it"), true
}

// configures says whether the arguments are those of a command that sets
// something up: "ping 198.18.0.2" names a remote too.
func configures(args []string) bool {
	for i, arg := range args {
		if i == 0 {
			arg = filepath.Base(arg)
		}
		switch strings.ToLower(arg) {
		case "add", "set", "setconf", "syncconf", "addconf", "up", "change", "replace", "new", "start", "connect", "update", "allocspi", "wg-quick":
			return true
		}
	}
	return false
}

func makerOf(p *sensor.Process, how string) Maker {
	m := Maker{Process: p.Ref, Name: p.Name, UID: p.UID, CgroupID: p.CgroupID, How: how}
	if p.Name == "" {
		m.Name = filepath.Base(p.Executable)
	}
	return m
}

// makerBySocket finds the one process that holds an IPsec netlink socket: a key
// daemon holds one as long as it runs. in is the namespace's file.
func makerBySocket(host Processes, in namespace) (Maker, bool) {
	sockets := netlinkSockets(in, unix.NETLINK_XFRM)
	if len(sockets) == 0 {
		return Maker{}, false
	}
	holders := slices.DeleteFunc(holdersOf(sockets), func(pid uint32) bool { return int(pid) == os.Getpid() })
	if len(holders) != 1 {
		return Maker{}, false
	}
	for _, p := range host.Started(time.Time{}) {
		if p.Ref.PID == holders[0] && p.Exited.IsZero() {
			return makerOf(&p, "inferred, since it alone holds an IPsec netlink socket"), true
		}
	}
	return Maker{}, false
}

// netlinkSockets gives the inodes of the user sockets of a netlink protocol.
func netlinkSockets(in namespace, protocol int) []string {
	file := "/proc/self/net/netlink"
	if pid, found := strings.CutSuffix(in.path, "/ns/net"); found {
		file = pid + "/net/netlink"
	}
	if in.path != "" && !strings.HasPrefix(in.path, "/proc/") {
		return nil // no process is in there
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return parseNetlinkSockets(string(raw), protocol)
}

// parseNetlinkSockets reads /proc/net/netlink: the protocol is the second column,
// the port the third (0 is the kernel's own), the inode the tenth.
func parseNetlinkSockets(table string, protocol int) (inodes []string) {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) == 10 && fields[1] == strconv.Itoa(protocol) && fields[2] != "0" {
			inodes = append(inodes, fields[9])
		}
	}
	return inodes
}

// holdersOf finds the processes that hold one of the sockets. It walks every
// descriptor of the host: for a tunnel that has just appeared, never for flows.
func holdersOf(inodes []string) (pids []uint32) {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		target, err := os.Readlink(link)
		inode, found := strings.CutPrefix(target, "socket:[")
		if err != nil || !found || !slices.Contains(inodes, strings.TrimSuffix(inode, "]")) {
			continue
		}
		pid, err := strconv.ParseUint(strings.Split(link, "/")[2], 10, 32)
		if err == nil && !slices.Contains(pids, uint32(pid)) {
			pids = append(pids, uint32(pid))
		}
	}
	return pids
}

// unspecified says whether an end of a tunnel is not known.
func unspecified(a netip.AddrPort) bool { return !a.Addr().IsValid() || a.Addr().IsUnspecified() }

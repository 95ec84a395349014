package sensor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// PPP has two parties: pppd holds the device, and the program that has the
// connection (sstpc, openfortivpn, pptp) is its parent, or its child by a shell,
// and passes the frames on over a terminal.

// pppDevices names the interfaces whose PPP unit a process holds, by the number
// the kernel gives them (PPPIOCGUNIT, ppp(4)); one that was renamed is not found.
func pppDevices(pid uint32) (devices []string) {
	names := descriptors(pid)
	pidfd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return nil
	}
	defer unix.Close(pidfd)
	for _, name := range names {
		device, ok := deviceOf(procPath(pid, "fd/"+name))
		number, err := strconv.Atoi(name)
		if !ok || device>>8 != pppMajor || err != nil {
			continue
		}
		if unit, ok := pppUnit(pidfd, number); ok && !slices.Contains(devices, unit) {
			devices = append(devices, unit)
		}
	}
	return devices
}

// pppUnit asks an open file for its unit; one that is attached to a channel, or to
// nothing yet, has none.
func pppUnit(pidfd, number int) (string, bool) {
	fd, err := unix.PidfdGetfd(pidfd, number, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	unit, err := unix.IoctlGetInt(fd, unix.PPPIOCGUNIT)
	if err != nil {
		return "", false
	}
	return fmt.Sprintf("ppp%d", unit), true
}

// descriptors lists the open files of a process by number.
func descriptors(pid uint32) []string {
	folder, err := os.Open(procPath(pid, "fd"))
	if err != nil {
		return nil
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(filesLimit)
	return names
}

// pppFor finds who holds a PPP device for a process: its child, or its parent,
// that one perhaps by a shell.
func (t *tunnelFinder) pppFor(ref ProcessRef) (holder ProcessRef, words string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, parent, _, _ := readStat(ref.PID)
	_, grandparent, _, _ := readStat(parent)
	for key, o := range t.openAt {
		if !o.ppp || key == keyOf(ref) {
			continue
		}
		start, above, name, alive := readStat(key.pid)
		holder = ProcessRef{key.pid, start}
		if !alive || keyOf(holder) != key {
			continue
		}
		switch {
		case above == ref.PID:
			words = "child"
		case key.pid == parent, key.pid == grandparent && parent > 1:
			words = "parent"
		default:
			continue
		}
		return holder, fmt.Sprintf("%s (pid %d), the owner's %s", name, key.pid, words), true
	}
	return ProcessRef{}, "", false
}

// anyPPP says whether a process is known to have opened a ppp device.
func (t *tunnelFinder) anyPPP() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.openAt {
		if o.ppp {
			return true
		}
	}
	return false
}

// kin are the processes that may have the connection of a PPP device's holder:
// its parent, and its children.
func (c *processCache) kin(holder ProcessRef) (found []ProcessRef) {
	if p, ok := c.get(holder); ok && p.Parent.PID > 1 {
		found = append(found, p.Parent)
	}
	lists, _ := filepath.Glob(procPath(holder.PID, "task/*/children"))
	for _, list := range lists {
		for _, child := range numbers(list) {
			for _, pid := range append(numbers(procPath(child, fmt.Sprintf("task/%d/children", child))), child) {
				if ref, ok := c.now(pid); ok {
					found = append(found, ref)
				}
			}
		}
	}
	return found
}

// now gives the process that has a number at present, as the kernel knows it.
func (c *processCache) now(pid uint32) (ProcessRef, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[c.live[pid]]
	if e == nil {
		return ProcessRef{}, false
	}
	return e.Value.(*known).Ref, true
}

// seedPPP finds who has held a ppp device since before the sensor began. Only a
// kernel with PPP is worth the walk.
func (t *tunnelFinder) seedPPP() {
	devices, err := os.ReadFile("/proc/devices")
	if err != nil || !strings.Contains(string(devices), fmt.Sprintf("%d ppp\n", pppMajor)) {
		return
	}
	for _, p := range t.processes.started(time.Time{}) {
		if len(pppDevices(p.Ref.PID)) > 0 {
			t.opened(p.Ref, p.Start, true)
		}
	}
}

// numbers reads a file of process numbers.
func numbers(file string) (found []uint32) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for _, word := range strings.Fields(string(raw)) {
		if n, err := strconv.ParseUint(word, 10, 32); err == nil {
			found = append(found, uint32(n))
		}
	}
	return found
}

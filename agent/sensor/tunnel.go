package sensor

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// filesLimit bounds how many descriptors of a process are looked at.
const filesLimit = 16384

// tunnelFinder ties processes to tunnels.
type tunnelFinder struct {
	processes *processCache
	products  *productReader

	mu     sync.Mutex
	openAt map[processKey]open
}

// open is when a process opened a tunnel device.
type open struct {
	at  time.Time
	ppp bool // and no TUN device
}

// openLimit bounds the remembered opens; a process that has none is still found
// through its files.
const openLimit = 4096

func newTunnelFinder(processes *processCache) *tunnelFinder {
	return &tunnelFinder{processes: processes, products: newProductReader(), openAt: map[processKey]open{}}
}

// opened notes that a process opened a tunnel device.
func (t *tunnelFinder) opened(ref ProcessRef, at time.Time, ppp bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := keyOf(ref)
	if _, known := t.openAt[key]; !known && len(t.openAt) < openLimit {
		t.openAt[key] = open{at, ppp}
	}
}

func (t *tunnelFinder) forget(ref ProcessRef) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.openAt, keyOf(ref))
}

// facts looks at a live process: the devices it holds now, and what product its
// files carry.
func (t *tunnelFinder) facts(ref ProcessRef) (TunnelFacts, bool) {
	if start, _, _, ok := readStat(ref.PID); !ok || keyOf(ProcessRef{ref.PID, start}) != keyOf(ref) {
		return TunnelFacts{}, false
	}
	var facts TunnelFacts
	holder := ref
	facts.Devices = append(tunnelDevices(ref.PID), pppDevices(ref.PID)...)
	if len(facts.Devices) == 0 {
		if other, words, ok := t.pppFor(ref); ok {
			holder, facts.Through, facts.Devices = other, words, pppDevices(other.PID)
		}
	}
	if len(facts.Devices) > 0 {
		facts.DeviceBytes = deviceBytes(holder.PID, facts.Devices)
	}
	facts.Product, facts.Reason, facts.Libraries = t.products.of(ref.PID)
	if len(facts.Devices) == 0 && facts.Product == "" && len(facts.Libraries) == 0 {
		return TunnelFacts{}, false
	}
	t.mu.Lock()
	facts.Since = t.openAt[keyOf(holder)].at
	t.mu.Unlock()
	if p, ok := t.processes.get(holder); ok && facts.Since.IsZero() && len(facts.Devices) > 0 {
		facts.Since = p.Start // the open itself was not seen
	}
	return facts, true
}

// tunnelDevices names the TUN/TAP interfaces that a process holds open, by
// fdinfo's "iff:" line; "?" where the kernel does not say.
func tunnelDevices(pid uint32) []string {
	folder, err := os.Open(procPath(pid, "fd"))
	if err != nil {
		return nil
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(filesLimit)
	var devices []string
	for _, fd := range names {
		target, err := os.Readlink(filepath.Join(folder.Name(), fd))
		if err != nil || !strings.HasSuffix(target, "/net/tun") && !isTUN(pid, fd) {
			continue
		}
		if name, attached := interfaceOf(pid, fd); attached && !slices.Contains(devices, name) {
			devices = append(devices, name)
		}
	}
	slices.Sort(devices)
	return devices
}

// isTUN finds a TUN device node of another name.
func isTUN(pid uint32, fd string) bool {
	const tunDevice = 10<<8 | 200
	device, ok := deviceOf(procPath(pid, "fd/"+fd))
	return ok && device == tunDevice
}

// interfaceOf reads fdinfo. A TUN file without interface has an empty or no
// "iff:" line, and is no tunnel yet.
func interfaceOf(pid uint32, fd string) (string, bool) {
	raw, err := os.ReadFile(procPath(pid, "fdinfo/"+fd))
	if err != nil {
		return "?", true
	}
	return parseInterface(string(raw))
}

func parseInterface(info string) (string, bool) {
	for line := range strings.Lines(info) {
		if name, found := strings.CutPrefix(line, "iff:"); found {
			name = strings.TrimSpace(name)
			return name, name != ""
		}
	}
	return "", false
}

// mappedFiles lists the executable files a process has mapped, its own first.
func mappedFiles(pid uint32) []string {
	raw, err := os.ReadFile(procPath(pid, "maps"))
	if err != nil {
		return nil
	}
	return parseMaps(string(raw))
}

// mapsLimit bounds the files of a process whose content is looked at. Programs
// with a window map 150 (FreeRDP), and what they were linked with first stands
// last.
const mapsLimit = 512

func parseMaps(maps string) []string {
	var files []string
	seen := map[string]bool{}
	for line := range strings.Lines(maps) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 6)
		if len(fields) != 6 || !strings.Contains(fields[1], "x") || fields[4] == "0" {
			continue
		}
		path := strings.TrimLeft(fields[5], " ")
		if !strings.HasPrefix(path, "/") || seen[path] || len(files) >= mapsLimit {
			continue
		}
		if _, err := strconv.ParseUint(fields[4], 10, 64); err != nil {
			continue
		}
		seen[path] = true
		files = append(files, path)
	}
	return files
}

package sensor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sallyport/bpf"
)

// Bytes counts both directions, as the host sees them: what it sends, and what
// it gets.
type Bytes struct{ Out, In uint64 }

// Total is both directions together.
func (b Bytes) Total() uint64 { return b.Out + b.In }

// Traffic reads the IP bytes of open flows of one process, as they stand now; a
// flow of which the kernel knows nothing is left out. It looks through the
// process's descriptors: for the few processes that hold tunnels, never for
// ordinary owners.
func (s *Socket) Traffic(ref ProcessRef, flows []FlowKey) map[FlowKey]Bytes {
	kernel := s.running()
	if kernel == nil {
		return nil
	}
	out := make(map[FlowKey]Bytes, len(flows))
	connected := map[uint64]FlowKey{}
	var f bpf.Flow
	for _, key := range flows {
		switch {
		case !key.Remote.IsValid():
			connected[key.Cookie] = key
		default:
			if known, err := kernel.UnconnectedFlow(key.Cookie, key.Remote, &f); err == nil && known {
				out[key] = Bytes{f.BytesOut, f.BytesIn}
			}
		}
	}
	eachSocket(ref, func(fd int) bool {
		if known, err := kernel.SocketFlow(fd, &f); err == nil && known {
			if key, wanted := connected[f.Cookie]; wanted {
				out[key] = Bytes{f.BytesOut, f.BytesIn}
				delete(connected, f.Cookie)
			}
		}
		return len(connected) > 0
	})
	return out
}

// eachSocket shows every socket of a process, as a descriptor of our own that is
// closed again at once, until more says to stop.
func eachSocket(ref ProcessRef, more func(fd int) bool) {
	pidfd, err := unix.PidfdOpen(int(ref.PID), 0)
	if err != nil {
		return
	}
	defer unix.Close(pidfd)
	if start, _, _, ok := readStat(ref.PID); !ok || keyOf(ProcessRef{ref.PID, start}) != keyOf(ref) {
		return
	}
	folder, err := os.Open(procPath(ref.PID, "fd"))
	if err != nil {
		return
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(filesLimit)
	for _, name := range names {
		target, err := os.Readlink(filepath.Join(folder.Name(), name))
		if err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		number, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		fd, err := unix.PidfdGetfd(pidfd, number, 0)
		if err != nil {
			continue
		}
		goOn := more(fd)
		unix.Close(fd)
		if !goOn {
			return
		}
	}
}

// deviceBytes sums the traffic of a process's devices, in the network namespace
// it is in: what the host sends into a tunnel is out. A device that was moved to
// another namespace counts nothing.
func deviceBytes(pid uint32, devices []string) (sum Bytes) {
	raw, err := os.ReadFile(procPath(pid, "net/dev"))
	if err != nil {
		return Bytes{}
	}
	return parseDevices(string(raw), devices)
}

// parseDevices reads /proc/PID/net/dev (proc_pid_net(5)): after the name, bytes
// received come first and bytes sent ninth.
func parseDevices(table string, devices []string) (sum Bytes) {
	for line := range strings.Lines(table) {
		name, counts, found := strings.Cut(line, ":")
		if !found {
			continue
		}
		fields := strings.Fields(counts)
		if len(fields) < 9 {
			continue
		}
		for _, d := range devices {
			if d != strings.TrimSpace(name) {
				continue
			}
			in, errIn := strconv.ParseUint(fields[0], 10, 64)
			out, errOut := strconv.ParseUint(fields[8], 10, 64)
			if errIn == nil && errOut == nil {
				sum.In += in
				sum.Out += out
			}
		}
	}
	return sum
}

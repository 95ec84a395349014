package sensor

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// argsLimit bounds what is read of a command line, as the kernel side does.
const argsLimit = 1024

func procPath(pid uint32, name string) string {
	return filepath.Join("/proc", strconv.FormatUint(uint64(pid), 10), name)
}

// bootTime is the wall time of boot, as CLOCK_BOOTTIME counts from it.
func bootTime() time.Time {
	var boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(boot.Nano())).UTC()
}

// readProcess reads a process from /proc; false where it has gone.
func readProcess(pid uint32, boot time.Time) (Process, bool) {
	start, parent, name, ok := readStat(pid)
	if !ok {
		return Process{}, false
	}
	p := Process{
		Ref: ProcessRef{PID: pid, Start: start}, Start: boot.Add(time.Duration(start)),
		Name: name, CgroupPath: readCgroup(pid),
	}
	if parentStart, _, _, ok := readStat(parent); ok {
		p.Parent = ProcessRef{PID: parent, Start: parentStart}
	}
	if exe, err := os.Readlink(procPath(pid, "exe")); err == nil {
		p.Executable = exe
	}
	p.Args = readArgs(pid)
	var st unix.Stat_t
	if unix.Stat(procPath(pid, ""), &st) == nil {
		p.UID = st.Uid
	}
	if again, _, _, ok := readStat(pid); !ok || again != start {
		return Process{}, false
	}
	return p, true
}

// readStat reads the start time (ns since boot, in steps of a tick), the parent
// and the name (proc_pid_stat(5)).
func readStat(pid uint32) (start uint64, parent uint32, name string, ok bool) {
	raw, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return 0, 0, "", false
	}
	return parseStat(string(raw))
}

func parseStat(stat string) (start uint64, parent uint32, name string, ok bool) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return 0, 0, "", false
	}
	fields := strings.Fields(stat[end+1:]) // from field 3 on
	if len(fields) < 20 {
		return 0, 0, "", false
	}
	ppid, err := strconv.ParseUint(fields[1], 10, 32)
	if err != nil {
		return 0, 0, "", false
	}
	ticks, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return 0, 0, "", false
	}
	return ticks * uint64(userTick), uint32(ppid), stat[open+1 : end], true
}

func readArgs(pid uint32) []string {
	f, err := os.Open(procPath(pid, "cmdline"))
	if err != nil {
		return nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, argsLimit+1))
	if err != nil || len(raw) == 0 {
		return nil
	}
	cut := len(raw) > argsLimit
	args := strings.Split(string(bytes.TrimRight(raw[:min(len(raw), argsLimit)], "\x00")), "\x00")
	if cut {
		args = append(args, "...")
	}
	return args
}

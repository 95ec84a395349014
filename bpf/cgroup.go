package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoCgroup means that cgroup v2 is not mounted.
var ErrNoCgroup = errors.New("cgroup v2 is not mounted: no flow can be tied to its process; mount it (mount -t cgroup2 none /sys/fs/cgroup/unified), or only the link sensor runs")

// rootInode is the inode of the root cgroup's folder (kernfs ids start at 1).
const rootInode = 1

// FindCgroupRoot returns where the root of cgroup v2 is mounted, alone or beside
// v1. whole says that it is the host's root, and not that of a cgroup namespace.
func FindCgroupRoot() (path string, whole bool, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", false, fmt.Errorf("open mountinfo: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		point, ok := cgroupMount(s.Text())
		if !ok {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(point, &st) != nil {
			continue
		}
		if st.Ino == rootInode {
			return point, true, nil
		}
		if path == "" {
			path = point
		}
	}
	if path == "" {
		return "", false, ErrNoCgroup
	}
	return path, false, nil
}

// cgroupMount reads a line of mountinfo (proc_pid_mountinfo(5)).
func cgroupMount(line string) (point string, ok bool) {
	before, after, found := strings.Cut(line, " - ")
	fields := strings.Fields(before)
	if !found || len(fields) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
		return "", false
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4]), true
}

package sensor

import (
	"os"
	"strings"
)

// hybridOrder are the v1 hierarchies that hold a container's or unit's path where
// v2 is mounted beside them and everybody sits in its root.
var hybridOrder = []string{"memory", "name=systemd", "pids", "devices"}

// readCgroup returns the process's path below the cgroup root: in v2, or on a
// hybrid mount in v1.
func readCgroup(pid uint32) string {
	raw, err := os.ReadFile(procPath(pid, "cgroup"))
	if err != nil {
		return ""
	}
	return parseCgroup(string(raw))
}

// parseCgroup reads /proc/PID/cgroup (cgroups(7)).
func parseCgroup(text string) string {
	paths := map[string]string{}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, controller := range strings.Split(parts[1], ",") {
			paths[controller] = parts[2]
		}
	}
	if v2, ok := paths[""]; ok && v2 != "/" {
		return v2
	}
	for _, controller := range hybridOrder {
		if path := paths[controller]; path != "" && path != "/" {
			return path
		}
	}
	if _, ok := paths[""]; ok || len(paths) > 0 {
		return "/"
	}
	return ""
}

package enrich

import (
	"strings"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// container tells the container and the pod from the cgroup's path.
type container struct{ source ProcessSource }

func (c container) enrich(o *rules.Observation, owner sensor.OwnerRef) {
	if c.source == nil || owner.Process.PID == 0 {
		return
	}
	p, ok := c.source.Process(owner.Process)
	if !ok || p.CgroupPath == "" {
		return
	}
	found := parseCgroup(p.CgroupPath)
	if found == (cgroupFacts{}) {
		return
	}
	o.Owner.Container = &rules.Container{ID: found.ID, Runtime: found.Runtime, PodUID: found.PodUID, Cgroup: p.CgroupPath}
}

// cgroupFacts is what a cgroup path says.
type cgroupFacts struct {
	ID      string // of the innermost container
	Runtime string // "" where the path does not say
	PodUID  string // with dashes, or 32 digits for a static pod
}

// maxCgroupPath bounds what is looked at; the kernel's own limit is PATH_MAX.
const maxCgroupPath = 4096

// scopePrefixes are the beginnings of scopes and folders, and who makes them. The systemd driver of
// containerd, CRI-O, Docker and podman names a scope PREFIX-ID.scope; their
// cgroupfs drivers use PREFIX-ID or a bare ID.
var scopePrefixes = []struct{ prefix, runtime string }{
	{"cri-containerd-", "containerd"},
	{"nerdctl-", "containerd"},
	{"crio-", "cri-o"},
	{"docker-", "docker"},
	{"libpod-payload-", "podman"}, // split cgroups, as for Quadlet
	{"libpod-", "podman"},
}

// parseCgroup reads a path below the cgroup root. Containers nest (Docker in
// Docker, kind): the innermost one is where the process runs, and a pod counts
// only with containers inside it.
func parseCgroup(path string) cgroupFacts {
	if len(path) > maxCgroupPath {
		return cgroupFacts{}
	}
	var f cgroupFacts
	parent := ""
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			continue
		}
		if uid := podUID(segment); uid != "" && uid != f.PodUID {
			f = cgroupFacts{PodUID: uid}
		}
		if id, runtime := containerID(segment, parent); id != "" {
			if runtime == "" && id == f.ID {
				continue
			}
			f.ID, f.Runtime = id, runtime
		}
		parent = segment
	}
	return f
}

// containerID reads one segment of the path.
func containerID(segment, parent string) (id, runtime string) {
	// A kubelet with the systemd driver over a containerd with the other one:
	// SLICE:cri-containerd:ID.
	if parts := strings.Split(segment, ":"); len(parts) == 3 && isID(parts[2]) {
		return parts[2], runtimeOf(parts[1] + "-")
	}
	name := strings.TrimSuffix(segment, ".scope")
	for _, p := range scopePrefixes {
		rest, ok := strings.CutPrefix(name, p.prefix)
		if !ok {
			continue
		}
		if isID(rest) { // conmon, the runtime's own helper, has "conmon-ID" here
			return rest, p.runtime
		}
		return "", ""
	}
	if !isID(name) || name != segment {
		return "", ""
	}
	switch {
	case parent == "docker" || parent == "buildkit":
		return name, "docker"
	case parent == "libpod_parent":
		return name, "podman"
	case parent == "k8s.io" || parent == "default" || parent == "moby":
		return name, "containerd"
	}
	return name, ""
}

func runtimeOf(prefix string) string {
	for _, p := range scopePrefixes {
		if p.prefix == prefix {
			return p.runtime
		}
	}
	return ""
}

// isID says whether s is a container id: 64 hexadecimal digits with every
// runtime here.
func isID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// podUID finds "podUID" in a segment: podUID, kubepods-burstable-podUID.slice
// with underscores for dashes, and either with a runtime behind a colon.
func podUID(segment string) string {
	segment, _, _ = strings.Cut(segment, ":")
	name := strings.TrimSuffix(segment, ".slice")
	if i := strings.LastIndex(name, "-pod"); i >= 0 && name != segment {
		name = name[i+1:]
	}
	rest, ok := strings.CutPrefix(name, "pod")
	if !ok {
		return ""
	}
	rest = strings.ReplaceAll(rest, "_", "-")
	if len(rest) == 32 && isHex(rest) { // a static pod: the hash of its manifest
		return rest
	}
	if len(rest) != 36 {
		return ""
	}
	for i, part := range strings.Split(rest, "-") {
		if want := [...]int{8, 4, 4, 4, 12}; i >= len(want) || len(part) != want[i] || !isHex(part) {
			return ""
		}
	}
	return rest
}

package doctor

import (
	"fmt"
	"os"
	"syscall"
)

// firstPIDNamespace is the inode of the namespace in which the kernel counts
// processes: PROC_PID_INIT_INO of include/linux/proc_ns.h.
const firstPIDNamespace = 0xEFFFFFFC

// processes says whether the numbers that the kernel gives processes are those
// that this host's /proc knows them by.
func processes() Check {
	return processesIn("/proc/self/ns/pid")
}

func processesIn(namespace string) Check {
	c := Check{Name: "process numbers", Level: OK, Found: "the kernel's own"}
	info, err := os.Stat(namespace)
	if err != nil {
		return Check{Name: c.Name, Level: Info, Found: err.Error()}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Ino != firstPIDNamespace {
		c.Level, c.Found = Degraded, fmt.Sprintf("those of PID namespace %d", st.Ino)
		c.Consequence = "a flow's process has another number in the kernel than here: its executable and arguments are known from its start alone, processes older than the agent and host evidence are not"
		c.Remedy = "run in the host's PID namespace (hostPID: true in Kubernetes, --pid=host with podman and docker)"
	}
	return c
}

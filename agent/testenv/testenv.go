// Package testenv is what kernel and end-to-end tests share: privileges, network
// namespaces of their own, and a lock, since a sensor on the root cgroup sees
// every other test's traffic. Only tests import it.
package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// requireEnv lists what must not be skipped: "kernel", "peers", separated by
// commas. CI sets both.
const requireEnv = "SALLYPORT_TEST_REQUIRE"

// patienceEnv lengthens what tests wait for, where a kernel runs in software.
const patienceEnv = "SALLYPORT_TEST_PATIENCE"

// Patience is how long a test waits for something that must happen.
func Patience() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(patienceEnv)); err == nil {
		return d
	}
	return 30 * time.Second
}

const lockFile = "/run/lock/sallyport-test.lock"

// names makes namespace names unique within the test binary.
var names atomic.Uint32

func missing(t testing.TB, kind, reason string) {
	t.Helper()
	for _, k := range strings.Split(os.Getenv(requireEnv), ",") {
		if k == kind {
			t.Fatalf("%s (and %s asks for %q)", reason, requireEnv, kind)
		}
	}
	t.Skip(reason)
}

// Privileged skips the test without root, or fails it where CI requires it.
func Privileged(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "kernel", "needs root")
	}
}

// Exclusive holds the host's lock for kernel tests until the test ends. Tests of
// other packages, and of other checkouts, wait for it.
func Exclusive(t testing.TB) {
	t.Helper()
	Privileged(t)
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatalf("open lock: %v", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatalf("lock %s: %v", lockFile, err)
	}
	t.Cleanup(func() { f.Close() })
}

// Tool returns the path of a peer's program, or skips; "sudo make test" installs
// them all.
func Tool(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/libexec/softether", "/usr/lib/postgresql/15/bin"} {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode()&0o111 != 0 {
			return path
		}
	}
	missing(t, "peers", name+" is not installed (sudo make test installs it)")
	return ""
}

// Shared returns the path of a file in ../shared, which is beside the project on
// its developers' machines only.
func Shared(t testing.TB, path ...string) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	p := filepath.Join(append([]string{filepath.Dir(file), "..", "..", "..", "shared"}, path...)...)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("%s is absent", p)
	}
	return p
}

// Netns is a network namespace of the test's own.
type Netns struct {
	Name string
}

// Path is the namespace's file.
func (n Netns) Path() string { return "/run/netns/" + n.Name }

// NewNetns makes a namespace with loopback up, removed when the test ends.
func NewNetns(t testing.TB) Netns {
	t.Helper()
	Privileged(t)
	n := Netns{fmt.Sprintf("spt%d-%d", os.Getpid(), names.Add(1))}
	Run(t, "ip", "netns", "add", n.Name)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", n.Name).Run() })
	n.Run(t, "ip", "link", "set", "lo", "up")
	return n
}

// Addresses of the two namespaces of Pair: RFC 2544 benchmarking addresses and
// RFC 3849 documentation addresses.
const (
	ClientAddr  = "198.18.0.1"
	ServerAddr  = "198.18.0.2"
	ClientAddr6 = "2001:db8:18::1"
	ServerAddr6 = "2001:db8:18::2"
)

// Pair makes two namespaces joined by a veth pair (device "v0" in both), with
// IPv4 and IPv6 addresses, the client's default routes going to the server.
func Pair(t testing.TB) (client, server Netns) {
	t.Helper()
	client, server = NewNetns(t), NewNetns(t)
	Run(t, "ip", "link", "add", "v0", "netns", client.Name, "type", "veth", "peer", "name", "v0", "netns", server.Name)
	for n, a := range map[Netns][2]string{client: {ClientAddr, ClientAddr6}, server: {ServerAddr, ServerAddr6}} {
		n.Run(t, "ip", "addr", "add", a[0]+"/24", "dev", "v0")
		n.Run(t, "ip", "addr", "add", a[1]+"/64", "dev", "v0", "nodad")
		n.Run(t, "ip", "link", "set", "v0", "up")
	}
	client.Run(t, "ip", "route", "add", "default", "via", ServerAddr)
	client.Run(t, "ip", "-6", "route", "add", "default", "via", ServerAddr6)
	return client, server
}

// Command prepares a program inside the namespace. It uses nsenter, since
// "ip netns exec" hides cgroups and bpffs.
func (n Netns) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + n.Path(), "--", name}, args...)...)
}

// Run runs a program inside the namespace and fails the test when it fails.
func (n Netns) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return output(t, n.Command(name, args...))
}

// Do calls f on a thread inside the namespace; sockets made there stay in it.
func (n Netns) Do(t testing.TB, f func()) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		fd, err := unix.Open(n.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			f()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatalf("enter namespace %s: %v", n.Name, err)
	}
}

// Run runs a program on the host and fails the test when it fails.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return output(t, exec.Command(name, args...))
}

func output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run %s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

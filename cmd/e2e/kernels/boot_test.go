package kernels

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// bootLimit bounds one kernel's whole run: software emulation is slow, and this
// machine may be loaded.
const bootLimit = 80 * time.Minute

// guestInit runs over this machine's files, as the first process of the guest.
const guestInit = `export PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export SALLYPORT_TEST_REQUIRE=%[1]s SALLYPORT_TEST_GUEST=1 SALLYPORT_TEST_PATIENCE=5m
mkdir -p /dev/pts /dev/shm /dev/net
mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm; mount -t tmpfs run /run; mount -t tmpfs -o size=1g tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup; mount -t bpf bpf /sys/fs/bpf; mount -t tracefs tracefs /sys/kernel/tracing
mkdir -p /run/netns /run/lock /var/lib/sallyport
ip link set lo up
for m in %[2]s; do modprobe -q $m || echo "$m" >> /guest/absent; done
uname -r > /guest/release
echo "up after $(cut -d' ' -f1 /proc/uptime) s: $(uname -r)"
%[3]s
echo done > /guest/done
sync
echo o > /proc/sysrq-trigger
sleep 60
`

// guest is one boot: a folder that both sides see, and what the guest is to do.
type guest struct {
	kernel kernel
	dir    string
	script strings.Builder
}

// takes links what was built into the guest's folder.
func (g *guest) takes(built string) error {
	files, err := os.ReadDir(built)
	if err != nil {
		return fmt.Errorf("read folder: %w", err)
	}
	for _, f := range files {
		if err := os.Link(filepath.Join(built, f.Name()), filepath.Join(g.dir, f.Name())); err != nil {
			return fmt.Errorf("link what was built: %w", err)
		}
	}
	return nil
}

// runs has the guest run a test binary of dir/name in the folder that go test
// would run it in.
func (g *guest) runs(name, folder, pattern, skip string) {
	if pattern == "" {
		pattern = "."
	}
	fmt.Fprintf(&g.script, "echo \"running %[1]s\"; (cd %[2]s && /guest/%[1]s.test -test.v -test.timeout 60m -test.run '%[4]s' -test.skip '%[3]s') > /guest/%[1]s.out 2>&1; echo $? > /guest/%[1]s.rc\n",
		name, folder, skip, pattern)
}

// boot runs the guest until it powers off, and gives its console.
func (g *guest) boot(ctx context.Context) (string, error) {
	initrd := filepath.Join(g.dir, "initrd")
	if err := ramdisk(g.kernel, initrd); err != nil {
		return "", err
	}
	script := fmt.Sprintf(guestInit, "kernel", strings.Join(modules, " "), g.script.String())
	if err := os.WriteFile(filepath.Join(g.dir, "init"), []byte(script), 0o755); err != nil {
		return "", fmt.Errorf("write init: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "2048", "-smp", "2",
		"-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-nic", "none",
		"-kernel", g.kernel.image, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 no_timer_check nowatchdog",
		"-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap", "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
		"-fsdev", "local,id=guest,path="+g.dir+",security_model=none", "-device", "virtio-9p-pci,fsdev=guest,mount_tag=guest",
		"-device", "virtio-rng-pci")
	// A session of its own gives each guest a share of the processors of its own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	err := cmd.Run()
	said := strings.ReplaceAll(console.String(), "\r", "")
	if ctx.Err() != nil {
		return said, fmt.Errorf("the guest did not end within %s", bootLimit)
	}
	if err != nil {
		return said, fmt.Errorf("run qemu: %w", err)
	}
	if _, err := os.Stat(filepath.Join(g.dir, "done")); err != nil {
		return said, fmt.Errorf("the guest did not come to its end: %w", err)
	}
	return said, nil
}

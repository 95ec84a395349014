package install

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bootLimit bounds the guest's whole run: software emulation is slow, and this
// machine may be loaded.
const bootLimit = 90 * time.Minute

// release is the Debian that the guest is made of, packages what it has beside
// the least.
const (
	release  = "bookworm"
	packages = "systemd-sysv,dbus,iproute2,procps,linux-image-cloud-amd64,initramfs-tools,kmod,udev"
)

// proof is how the guest starts the checks, once everything else has started.
const proof = `[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/opt/sallyport/prove.sh
ExecStopPost=/usr/bin/systemctl poweroff
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
[Install]
WantedBy=graphical.target
`

// base gives a folder with a Debian in it, made once and kept in the user's cache.
func base(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "sallyport", "systemd-"+release)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("debootstrap", "--variant=minbase", "--include="+packages, release, fresh).CombinedOutput(); err != nil {
		t.Skipf("debootstrap makes no Debian here: %v\n%s", err, tail(out))
	}
	if err := os.Rename(fresh, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func tail(text []byte) string { return string(text[max(0, len(text)-2000):]) }

// guest is a machine that is not booted yet: a folder that becomes its disk.
type guest struct {
	root    string
	console bytes.Buffer
}

// newGuest copies the base and has it run the checks when it boots.
func newGuest(t *testing.T) *guest {
	t.Helper()
	g := &guest{root: filepath.Join(t.TempDir(), "root")}
	must(t, exec.Command("cp", "-a", base(t), g.root))
	g.write(t, "etc/systemd/system/proof.service", proof, 0o644)
	g.link(t, "/etc/systemd/system/proof.service", "etc/systemd/system/graphical.target.wants/proof.service")
	for _, unit := range []string{"serial-getty@ttyS0.service", "getty@tty1.service", "console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer"} {
		g.link(t, "/dev/null", "etc/systemd/system/"+unit) // masked: the console is for the results
	}
	g.write(t, "etc/fstab", "/dev/vda / ext4 rw 0 1\n", 0o644)
	g.write(t, "etc/hosts", "127.0.0.1 localhost guest\n", 0o644)
	g.write(t, "etc/hostname", "guest\n", 0o644)
	return g
}

func (g *guest) write(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(g.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func (g *guest) link(t *testing.T, to, name string) {
	t.Helper()
	path := filepath.Join(g.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// kernel finds the guest's own kernel and its RAM disk.
func (g *guest) kernel(t *testing.T) (image, initrd string) {
	t.Helper()
	for pattern, path := range map[string]*string{"vmlinuz-*": &image, "initrd.img-*[a-z0-9]": &initrd} {
		found, err := filepath.Glob(filepath.Join(g.root, "boot", pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("the guest has no %s (%v)", pattern, err)
		}
		*path = found[0]
	}
	return image, initrd
}

// run starts the guest and waits until it powers off.
func (g *guest) run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stdout, cmd.Stderr = &g.console, &g.console
	if err := cmd.Run(); err != nil {
		t.Errorf("the guest: %v", err)
	}
}

// contain runs the guest as a container on this kernel: quick, but with process
// numbers and a cgroup of its own. The agent needs bpf and perf_event_open, which
// systemd-nspawn filters out, and capabilities that it takes away.
func (g *guest) contain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-nspawn", "--directory="+g.root, "--boot", "--register=no", "--keep-unit", "--private-network",
		"--capability=all", "--system-call-filter=bpf perf_event_open", fmt.Sprintf("--machine=sallyport-%d", os.Getpid()), "--console=read-only")
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	g.run(t, cmd)
}

// boot runs the guest as a machine with its own kernel, in software.
func (g *guest) boot(t *testing.T) {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	must(t, exec.Command("mkfs.ext4", "-q", "-d", g.root, disk, "3G"))
	image, initrd := g.kernel(t)
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "2048", "-smp", "2",
		"-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-nic", "none", "-device", "virtio-rng-pci",
		"-drive", "file="+disk+",if=virtio,format=raw,cache=unsafe",
		"-kernel", image, "-initrd", initrd, "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 systemd.show_status=0")
	g.run(t, cmd)
}

// said is the guest's console.
func (g *guest) said() string { return strings.ReplaceAll(g.console.String(), "\r", "") }

func must(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprint(cmd.Args), err, tail(out))
	}
}

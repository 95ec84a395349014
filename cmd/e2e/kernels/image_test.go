package kernels

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// early are the modules that reach this machine's files.
var early = []string{"virtio_pci", "9pnet_virtio", "9p", "overlay"}

// firstInit runs from the initial ramdisk: it lays a tmpfs over this machine's
// files, which it may read only, and gives the kernel's modules their place.
const firstInit = `#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for m in $(cat /modules); do insmod $m 2>/dev/null; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /ro || echo "NO HOST FILES"
mount -t tmpfs -o size=1g tmpfs /over && mkdir /over/up /over/work
mount -t overlay -o lowerdir=/ro,upperdir=/over/up,workdir=/over/work overlay /new || echo "NO OVERLAY"
mkdir -p /new/guest /new/usr/lib/modules/%[1]s
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 guest /new/guest || echo "NO GUEST FOLDER"
mount --bind /ro%[2]s /new/usr/lib/modules/%[1]s
for d in proc sys dev; do mount --move /$d /new/$d; done
exec switch_root /new /bin/bash /guest/init
`

// ramdisk makes the initial ramdisk of a kernel: busybox, the early modules and
// what these need, and the first init.
func ramdisk(k kernel, file string) error {
	var archive bytes.Buffer
	c := newc{w: &archive}
	for _, dir := range []string{"bin", "proc", "sys", "dev", "ro", "over", "new", "lib"} {
		c.add(dir, 0o040755, nil)
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("read busybox (make deps-test installs it): %w", err)
	}
	c.add("bin/busybox", 0o100755, busybox)
	for _, tool := range []string{"sh", "mount", "mkdir", "cat", "insmod", "echo", "switch_root"} {
		c.add("bin/"+tool, 0o120777, []byte("busybox"))
	}
	order, err := loadOrder(k, early)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, module := range order {
		content, err := readModule(filepath.Join(k.modules, module))
		if err != nil {
			return err
		}
		name := "lib/" + strings.TrimSuffix(path.Base(module), ".xz")
		c.add(name, 0o100644, content)
		fmt.Fprintf(&list, "/%s\n", name)
	}
	c.add("modules", 0o100644, []byte(list.String()))
	c.add("init", 0o100755, fmt.Appendf(nil, firstInit, k.release, k.modules))
	c.add("TRAILER!!!", 0, nil)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(archive.Bytes()); err != nil {
		return fmt.Errorf("compress ramdisk: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compress ramdisk: %w", err)
	}
	return os.WriteFile(file, packed.Bytes(), 0o600)
}

// newc writes the archive format of an initial ramdisk (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).
type newc struct {
	w   *bytes.Buffer
	ino int
}

func (c *newc) add(name string, mode uint32, data []byte) {
	c.ino++
	fmt.Fprintf(c.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	c.w.WriteString(name + "\x00")
	c.pad()
	c.w.Write(data)
	c.pad()
}

func (c *newc) pad() {
	for c.w.Len()%4 != 0 {
		c.w.WriteByte(0)
	}
}

// loadOrder lists the files of modules, each after what it needs. What is built
// in has no file.
func loadOrder(k kernel, names []string) ([]string, error) {
	file, err := os.Open(filepath.Join(k.modules, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("open list of modules: %w", err)
	}
	defer file.Close()
	needs := map[string][]string{} // modules.dep lists the farthest last
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		module, list, _ := strings.Cut(lines.Text(), ":")
		for _, name := range names {
			if base := path.Base(module); base == name+".ko" || base == name+".ko.xz" {
				needs[name] = append([]string{module}, strings.Fields(list)...)
			}
		}
	}
	var order []string
	for _, name := range names {
		for _, module := range slices.Backward(needs[name]) {
			if !slices.Contains(order, module) {
				order = append(order, module)
			}
		}
	}
	return order, lines.Err()
}

// readModule reads a module; busybox cannot unpack it.
func readModule(file string) ([]byte, error) {
	if !strings.HasSuffix(file, ".xz") {
		return os.ReadFile(file)
	}
	out, err := exec.Command("xz", "-dc", file).Output()
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", file, err)
	}
	return out, nil
}

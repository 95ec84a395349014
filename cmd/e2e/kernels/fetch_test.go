package kernels

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// cacheEnv names another folder for what is downloaded.
const cacheEnv = "SALLYPORT_KERNELS"

// listAge is how long a suite's package list is believed.
const listAge = 7 * 24 * time.Hour

// cacheDir is outside the tree: "make clean" leaves it, and checkouts share it.
func cacheDir() string {
	if dir := os.Getenv(cacheEnv); dir != "" {
		return dir
	}
	return "/var/cache/sallyport-kernels"
}

// kernel is an unpacked kernel.
type kernel struct {
	release string // as uname gives it
	image   string // file to boot
	modules string // folder of this release's modules
}

// imagePackage finds the release in what Debian's linux-image-amd64 depends on.
var imagePackage = regexp.MustCompile(`\blinux-image-([0-9][^ ]*-amd64)\b`)

// fetch gives the suite's newest kernel, downloading what is not there. apt
// checks Debian's signature of the list and the digests of the packages; its
// state is kept apart from the system's.
func fetch(s suite) (kernel, error) {
	a, err := newArchive(s)
	if err != nil {
		return kernel{}, err
	}
	meta, err := a.run("apt-cache", "show", "linux-image-amd64")
	if err != nil {
		return kernel{}, err
	}
	found := imagePackage.FindStringSubmatch(meta)
	if found == nil {
		return kernel{}, fmt.Errorf("find kernel of %s: its linux-image-amd64 depends on none", s.name)
	}
	k := kernel{release: found[1]}
	dir := filepath.Join(cacheDir(), k.release)
	if err := a.unpack(dir, k.release); err != nil {
		return kernel{}, err
	}
	return k.locate(dir)
}

// archive is apt with a state of its own for one suite.
type archive struct {
	dir     string
	options []string
}

func newArchive(s suite) (archive, error) {
	a := archive{dir: filepath.Join(cacheDir(), "apt", s.name)}
	for _, d := range []string{"lists/partial", "cache/archives/partial", "parts"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return a, fmt.Errorf("make apt's folder: %w", err)
		}
	}
	source := fmt.Sprintf("deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", s.archive, s.name)
	for name, content := range map[string]string{"sources.list": source, "status": ""} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(content), 0o644); err != nil {
			return a, fmt.Errorf("write apt's configuration: %w", err)
		}
	}
	for _, o := range []string{
		"Dir::State=%s", "Dir::State::lists=%s/lists", "Dir::State::status=%s/status", "Dir::Cache=%s/cache",
		"Dir::Etc::sourcelist=%s/sources.list", "Dir::Etc::sourceparts=%s/parts",
	} {
		a.options = append(a.options, "-o", fmt.Sprintf(o, a.dir))
	}
	a.options = append(a.options, "-o", "APT::Architecture=amd64", "-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=root")
	stamp := filepath.Join(a.dir, "updated")
	if st, err := os.Stat(stamp); err == nil && time.Since(st.ModTime()) < listAge {
		return a, nil
	}
	if _, err := a.run("apt-get", "-q", "--error-on=any", "update"); err != nil {
		return a, err
	}
	return a, os.WriteFile(stamp, nil, 0o644)
}

// run runs a program of apt in the folder of the suite.
func (a archive) run(program string, args ...string) (string, error) {
	cmd := exec.Command(program, append(slices.Clone(a.options), args...)...)
	cmd.Dir = a.dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s %s: %w: %s", program, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

// unpack downloads the kernel's packages and unpacks them, once. Newer kernels
// come as two: the image, and the modules.
func (a archive) unpack(dir, release string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	names, err := a.run("apt-cache", "pkgnames", "linux-")
	if err != nil {
		return err
	}
	packages := []string{"linux-image-" + release}
	if split := "linux-binary-" + release; slices.Contains(strings.Fields(names), split) {
		packages = []string{split, "linux-modules-" + release}
	}
	partial, err := os.MkdirTemp(cacheDir(), "partial-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(partial)
	if _, err := a.run("apt-get", append([]string{"-q", "download"}, packages...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(a.dir, "*.deb"))
	if err != nil || len(files) == 0 {
		return errors.Join(fmt.Errorf("no package of %s was downloaded", release), err)
	}
	for _, file := range files {
		if out, err := exec.Command("dpkg-deb", "-x", file, partial).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", file, err, out)
		}
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("remove package: %w", err)
		}
	}
	return os.Rename(partial, dir)
}

// locate finds image and modules, and has depmod list what needs what.
func (k kernel) locate(dir string) (kernel, error) {
	for _, prefix := range []string{"usr", "."} {
		base := filepath.Join(dir, prefix)
		k.modules = filepath.Join(base, "lib/modules", k.release)
		if _, err := os.Stat(filepath.Join(k.modules, "kernel")); err != nil {
			continue
		}
		for _, image := range []string{filepath.Join(dir, "boot/vmlinuz-"+k.release), filepath.Join(k.modules, "vmlinuz")} {
			if _, err := os.Stat(image); err == nil {
				k.image = image
			}
		}
		if k.image == "" {
			break
		}
		if _, err := os.Stat(filepath.Join(k.modules, "modules.dep.bin")); err == nil {
			return k, nil
		}
		if out, err := exec.Command("depmod", "-b", base, k.release).CombinedOutput(); err != nil {
			return k, fmt.Errorf("run depmod for %s: %w: %s", k.release, err, out)
		}
		return k, nil
	}
	return k, fmt.Errorf("no kernel in %s: remove the folder, to have it fetched again", dir)
}

package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport/agent/testenv"
)

// wantedEnv asks for these tests: "container" takes minutes, "machine" up to an
// hour.
const wantedEnv = "SALLYPORT_TEST_SYSTEMD"

// leastChecks is how many checks the guest makes at least: a script that ends
// early has not proved anything.
const leastChecks = 70

// TestContainer installs the project under the systemd of a container, by the
// script and by the packages, and looks at everything that prove.sh names but what
// a container stands in the way of.
func TestContainer(t *testing.T) {
	wanted(t, "container", "systemd-nspawn")
	g := newGuest(t)
	provision(t, g)
	g.contain(t)
	g.report(t)
}

// TestMachine does the same on a machine with Debian's own kernel, and all of it.
func TestMachine(t *testing.T) {
	wanted(t, "machine", "qemu-system-x86_64", "mkfs.ext4")
	g := newGuest(t)
	provision(t, g)
	g.boot(t)
	g.report(t)
}

func wanted(t *testing.T, kind string, tools ...string) {
	t.Helper()
	if !strings.Contains(os.Getenv(wantedEnv), kind) {
		t.Skipf("takes long; runs with %s=%s (make test-systemd)", wantedEnv, kind)
	}
	testenv.Privileged(t)
	for _, tool := range append(tools, "debootstrap") {
		testenv.Tool(t, tool)
	}
}

// result is a line of prove.sh.
var result = regexp.MustCompile(`(?m)^RESULT (ok|failed|skipped|end) ?([^:\n]*)(?:: (.*))?$`)

// report makes a subtest of each check.
func (g *guest) report(t *testing.T) {
	t.Helper()
	done, checks := false, 0
	for _, r := range result.FindAllStringSubmatch(g.said(), -1) {
		state, name, why := r[1], r[2], r[3]
		if state == "end" {
			done = true
			continue
		}
		checks++
		t.Run(name, func(t *testing.T) {
			switch state {
			case "failed":
				t.Error(why)
			case "skipped":
				t.Skip(why)
			}
		})
	}
	if !done || checks < leastChecks {
		t.Errorf("the guest came to its end: %v; it made %d checks, want %d or more", done, checks, leastChecks)
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("the guest's console:\n%s", g.said())
	}
}

// provision gives the guest what a clone of the project has after "make build",
// and the packages of two versions.
func provision(t *testing.T, g *guest) {
	t.Helper()
	top, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(g.root, "opt", "sallyport")
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, exec.Command("cp", "-a", filepath.Join(top, "deploy"), filepath.Join(top, "docs"), filepath.Join(top, "README.md"), filepath.Join(top, "LICENSE"), to))
	must(t, exec.Command("cp", "prove.sh", to))
	for _, version := range []string{"1", "2"} {
		build := filepath.Join(to, "packages", version)
		compile := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version+".0", "-o", build+"/", "./cmd/sallyport", "./cmd/sallyport-collector")
		pack := exec.Command("deploy/packages/build.sh")
		pack.Env = append(os.Environ(), "BUILD="+build, "VERSION="+version+".0")
		compile.Dir, pack.Dir = top, top
		compile.Env = append(os.Environ(), "CGO_ENABLED=0")
		must(t, compile)
		must(t, pack)
	}
	must(t, exec.Command("mkdir", filepath.Join(to, "build")))
	must(t, exec.Command("mv", filepath.Join(to, "packages", "1", "sallyport"), filepath.Join(to, "packages", "1", "sallyport-collector"), filepath.Join(to, "build")))
}

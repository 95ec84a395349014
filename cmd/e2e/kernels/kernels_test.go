package kernels

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/agent/testenv"
)

// Environment: kernelsEnv asks for this, which takes long; onlyEnv chooses series
// ("5.10,7"), piecesEnv test binaries ("bpf,sensor"), runEnv tests in them.
const (
	kernelsEnv = "SALLYPORT_TEST_KERNELS"
	onlyEnv    = "SALLYPORT_TEST_SERIES"
	piecesEnv  = "SALLYPORT_TEST_PIECES"
	runEnv     = "SALLYPORT_TEST_RUN"
)

// chosen says whether a list in the environment names something, or is empty.
func chosen(env, name string) bool {
	list := os.Getenv(env)
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

func chosenPieces() []piece {
	return slices.DeleteFunc(slices.Clone(pieces), func(p piece) bool { return !chosen(piecesEnv, p.name) })
}

// TestKernels runs the kernel tests on the newest kernel of each suite.
func TestKernels(t *testing.T) {
	if os.Getenv(kernelsEnv) == "" {
		t.Skip("minutes of software emulation: make test-kernels runs it")
	}
	for _, tool := range []string{"qemu-system-x86_64", "busybox", "depmod", "xz", "dpkg-deb"} {
		testenv.Tool(t, tool)
	}
	shared := build(t)
	for _, s := range suites {
		t.Run(s.series, func(t *testing.T) {
			if !chosen(onlyEnv, s.series) {
				t.Skipf("%s does not name it", onlyEnv)
			}
			t.Parallel() // "-parallel" says how many at once
			try(t, s, shared)
		})
	}
}

// root is the module's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// build makes the test binaries and the agent, once for all kernels.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	compile := func(args ...string) {
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Env = root(t), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	for _, p := range chosenPieces() {
		compile("test", "-c", "-o", filepath.Join(dir, p.name+".test"), "./"+p.dir)
	}
	compile("build", "-o", filepath.Join(dir, "sallyport"), "./cmd/sallyport")
	return dir
}

// try boots one kernel and reports what passed on it.
func try(t *testing.T, s suite, shared string) {
	k, err := fetch(s)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{kernel: k, dir: t.TempDir()}
	if err := g.takes(shared); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&g.script, "/guest/sallyport doctor --output json > /guest/doctor.json 2> /guest/doctor.err\n")
	pieces := chosenPieces()
	for _, p := range pieces {
		g.runs(p.name, filepath.Join(root(t), p.dir), os.Getenv(runEnv), p.skip)
	}
	begin := time.Now()
	console, err := g.boot(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, console)
	}
	t.Logf("Linux %s, %d s", k.release, int(time.Since(begin).Seconds()))
	if absent := read(g.dir, "absent"); absent != "" {
		t.Logf("modules that it has not: %s", strings.Join(strings.Fields(absent), " "))
	}
	for _, p := range pieces {
		report(t, p.name, g.dir)
	}
	degraded(t, g.dir)
}

func read(dir, name string) string {
	data, _ := os.ReadFile(filepath.Join(dir, name)) // none: the guest wrote none
	return string(data)
}

var (
	result = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+)`)
	reason = regexp.MustCompile(`(?m)^--- SKIP: (\S+).*\n\s+\S+: (.*)`)
)

// report counts a binary's tests, names those that skipped, and fails with those
// that failed.
func report(t *testing.T, name, dir string) {
	out, count := read(dir, name+".out"), map[string]int{}
	for _, m := range result.FindAllStringSubmatch(out, -1) {
		count[m[1]]++
	}
	t.Logf("%s: %d passed, %d skipped, %d failed", name, count["PASS"], count["SKIP"], count["FAIL"])
	for _, m := range reason.FindAllStringSubmatch(out, -1) {
		t.Logf("%s: %s skipped: %s", name, m[1], m[2])
	}
	if rc := strings.TrimSpace(read(dir, name+".rc")); rc != "0" || count["PASS"] == 0 {
		t.Errorf("%s ended with %q:\n%s", name, rc, failures(out))
	}
}

// failures leaves out the tests that passed.
func failures(out string) string {
	const most = 20_000
	var kept strings.Builder
	for line := range strings.Lines(out) {
		if start := strings.TrimSpace(line); strings.HasPrefix(start, "=== ") || strings.HasPrefix(start, "--- PASS") || strings.HasPrefix(start, "--- SKIP") {
			continue
		}
		kept.WriteString(line)
	}
	return kept.String()[:min(kept.Len(), most)]
}

// degraded says what the doctor found on that kernel. It must have come to an
// answer, and the socket sensor must work.
func degraded(t *testing.T, dir string) {
	var checks []struct{ Name, Level, Found, Consequence string }
	if err := json.Unmarshal([]byte(read(dir, "doctor.json")), &checks); err != nil {
		t.Errorf("doctor: %v\n%s%s", err, read(dir, "doctor.json"), read(dir, "doctor.err"))
		return
	}
	for _, c := range checks {
		switch c.Level {
		case "failed":
			t.Errorf("doctor: %s failed: %s", c.Name, c.Found)
		case "degraded":
			t.Logf("doctor: %s degraded: %s; so: %s", c.Name, c.Found, c.Consequence)
		}
	}
}

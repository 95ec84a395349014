package bpf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// compilerMajor is the clang that made the committed objects.
const compilerMajor = "14"

// The committed objects are what the sources give.
func TestObjectsMatchTheirSources(t *testing.T) {
	out, err := exec.Command("clang", "--version").Output()
	if err != nil {
		t.Skip("clang is absent")
	}
	if m := regexp.MustCompile(`version (\d+)\.`).FindSubmatch(out); m == nil || string(m[1]) != compilerMajor {
		t.Skipf("clang %s made the objects, here is %.60s", compilerMajor, out)
	}
	if _, err := exec.LookPath("llvm-strip"); err != nil {
		t.Skip("llvm-strip is absent")
	}
	dir := t.TempDir()
	for _, line := range generateLines(t) {
		args := append([]string{"tool", "bpf2go", "-output-dir", dir}, line...)
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "GOPACKAGE=bpf")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	rebuilt, err := filepath.Glob(filepath.Join(dir, "*_bpfel.*"))
	if err != nil || len(rebuilt) == 0 {
		t.Fatalf("nothing was rebuilt: %v", err)
	}
	for _, path := range rebuilt {
		name := filepath.Base(path)
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from its source (%v): run go generate ./bpf", name, err)
		}
	}
}

// generateLines are the arguments of bpf2go in generate.go.
func generateLines(t *testing.T) (lines [][]string) {
	t.Helper()
	source, err := os.ReadFile("generate.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(source)) {
		if args, found := strings.CutPrefix(line, "//go:generate go tool bpf2go "); found {
			lines = append(lines, strings.Fields(args))
		}
	}
	if len(lines) == 0 {
		t.Fatal("generate.go has no lines")
	}
	return lines
}

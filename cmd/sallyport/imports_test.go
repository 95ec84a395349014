package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

// allowedImports is the architecture: which of our packages each may import. The
// longest matching pattern rules; "x/..." is x and all below it.
var allowedImports = map[string][]string{
	"bpf":                          {},
	"rules":                        {"rules/sigma", "rules/designations", "rules/detections"},
	"rules/sigma":                  {},
	"rules/designations":           {},
	"rules/detections":             {},
	"rules/feed":                   {"rules"},
	"rules/pack":                   {"rules"},
	"agent/protocol":               {},
	"agent/capture":                {},
	"agent/sensor":                 {"bpf", "rules", "agent/capture"},
	"agent/flow":                   {"rules", "agent/capture", "agent/protocol", "agent/sensor"},
	"agent/naming":                 {"rules"},
	"agent/enrich":                 {"rules", "agent/sensor"},
	"agent/history":                {"rules"},
	"agent/hostevidence":           {"rules", "agent/sensor"},
	"agent/ledger":                 {"rules"},
	"agent/deliver":                {"rules"},
	"agent/packfetch":              {"rules", "rules/pack"},
	"agent/control":                {"rules"},
	"agent/flowlog":                {"rules"},
	"agent/selftest":               {"rules"},
	"agent/doctor":                 {"agent/sensor"},
	"agent":                        {"rules/...", "agent/..."},
	"collector":                    {"rules", "collector/..."},
	"collector/store/postgrestest": {"agent/testenv"}, // of tests, like testenv
	"collector/...":                {"rules", "collector/..."},
	"collector/packs":              {"rules", "rules/pack", "collector/identity"},
	"collector/feeds":              {"rules", "rules/feed", "rules/pack", "collector/packs"},
	"cmd/sallyport":                {"agent", "agent/...", "rules", "rules/..."},
	"cmd/sallyport-collector":      {"collector", "collector/...", "rules", "rules/feed", "rules/pack"},
	"cmd/score":                    {},
	"cmd/e2e":                      {},
	"cmd/e2e/install":              {},
	"cmd/e2e/kernels":              {},
	"agent/testenv":                {},
}

// gopacketOnly holds that packets are decoded in one package.
const gopacketOnly = "sallyport/agent/capture"

func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "sallyport/...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		name := strings.TrimPrefix(p.ImportPath, "sallyport/")
		allowed, ok := allowedFor(name)
		if !ok {
			t.Errorf("package %s is not in the table of allowed imports", name)
			continue
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "github.com/google/gopacket") && p.ImportPath != gopacketOnly {
				t.Errorf("%s imports %s; only %s may", name, i, gopacketOnly)
			}
			if ours, ok := strings.CutPrefix(i, "sallyport/"); ok && !matchesAny(allowed, ours) {
				t.Errorf("%s imports %s, which the table of allowed imports does not list", name, ours)
			}
		}
	}
	if seen < 10 {
		t.Fatalf("go list showed %d packages only", seen)
	}
}

func allowedFor(name string) ([]string, bool) {
	if a, ok := allowedImports[name]; ok {
		return a, true
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if a, ok := allowedImports[dir+"/..."]; ok {
			return a, true
		}
	}
	return nil, false
}

func matchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		dir, below := strings.CutSuffix(p, "/...")
		if name == p || below && (name == dir || strings.HasPrefix(name, dir+"/")) {
			return true
		}
	}
	return false
}

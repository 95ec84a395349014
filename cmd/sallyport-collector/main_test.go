package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// runCommand runs the program and gives exit code, output and errors.
func runCommand(args ...string) (int, string, string) {
	var out, errs bytes.Buffer
	code := run(args, environment{strings.NewReader(""), &out, &errs})
	return code, out.String(), errs.String()
}

func TestEveryCommandSaysWhatItDoes(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no short help", c.CommandPath())
		}
		if c.Runnable() && c.Name() != "version" && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(environment{}))
}

func TestInitOnce(t *testing.T) {
	folder := t.TempDir()
	config := filepath.Join(folder, "c.yaml")
	if err := os.WriteFile(config, []byte("state_dir: "+folder+"/state\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := runCommand("init", "--config", config)
	if code != 0 || !strings.Contains(out, "one_time_password ") || !strings.Contains(out, "ca_sha256 ") {
		t.Fatalf("init: %d %s %s", code, out, errs)
	}
	if code, _, errs := runCommand("init", "--config", config); code != 2 || !strings.Contains(errs, "exists") {
		t.Errorf("init again: %d %s", code, errs)
	}
	if code, out, errs := runCommand("init", "--once", "--config", config); code != 0 || !strings.Contains(out, "nothing was changed") {
		t.Errorf("init once: %d %s %s", code, out, errs)
	}
	if code, _, errs := runCommand("findings", "list", "--config", config); code != 2 || !strings.Contains(errs, "is it running") {
		t.Errorf("without a collector: %d %s", code, errs)
	}
	if code, out, _ := runCommand("check-config", "--config", config); code != 0 || !strings.Contains(out, "valid") {
		t.Errorf("check-config: %d %s", code, out)
	}
	if code, out, errs := runCommand("limits", "--config", config); code != 0 || !strings.Contains(out, "api.requests_per_second") || !strings.Contains(out, "(fixed)") {
		t.Errorf("limits: %d %s %s", code, out, errs)
	}
	if code, _, errs := runCommand("check-config", "--config", folder+"/none.yaml"); code != 2 || !strings.Contains(errs, "none.yaml") {
		t.Errorf("no file: %d %s", code, errs)
	}
}

func TestPrintableKeepsTheTerminal(t *testing.T) {
	if got := printable("a\x1b[31mb\nc\u202ed"); got != "a?[31mb?c?d" {
		t.Errorf("%q", got)
	}
}

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadConfigRefuses(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       []string // in the error, the file's name always
	}{
		{"unknown key", "state_dir: /x\nstate_dirr: /y\n", []string{"[2:1]", "state_dirr", "deploy/agent.yaml"}},
		{"wrong type", "flow:\n  max_flows: many\n", []string{"[2:14]", "many"}},
		{"relative state folder", "state_dir: here\n", []string{"state_dir", "absolute"}},
		{"metrics for everyone", "metrics: 0.0.0.0:9477\n", []string{"metrics", "loopback"}},
		{"unknown destination", "deliver: {destinations: [fax]}\n", []string{"fax", "collector, file, stdout or journald"}},
		{"bound of a stage", "flow: {max_flows: 0}\n", []string{"flow.max_flows"}},
		{"no entities", "rules: {shipped: false}\n", []string{"rules.shipped"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "agent.yaml")
			if err := os.WriteFile(path, []byte(test.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadConfig(path)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range append(test.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not hold %q", err, want)
				}
			}
		})
	}
}

func TestLoadConfigPlacesStateInStateDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte("state_dir: /srv/sallyport\nledger: {path: /elsewhere/ledger.db}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(hostEnv, "node-7")
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Deliver.Dir != "/srv/sallyport/spool" || c.Ledger.Path != "/elsewhere/ledger.db" || c.Host != "node-7" {
		t.Errorf("spool %s, ledger %s, host %s", c.Deliver.Dir, c.Ledger.Path, c.Host)
	}
}

func TestEffectiveConfigurationLoadsAgain(t *testing.T) {
	c, err := LoadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Effective()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := again.Effective(); err != nil || second != text {
		t.Errorf("the printed configuration loads as another (%v):\n%s", err, second)
	}
}

package collector

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sallyport/collector/export"
)

// TestShippedConfigHoldsTheDefaults keeps deploy/collector.yaml, which says that
// it shows every default, in step.
func TestShippedConfigHoldsTheDefaults(t *testing.T) {
	got, err := LoadConfig(filepath.Join("..", "deploy", "collector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.URL = "https://collector.example:8443"
	want.Identity.Names = []string{"collector.example"}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "Exporters")); diff != "" {
		t.Error(diff)
	}
	if len(got.Exporters) != 1 {
		t.Fatalf("%d exporters", len(got.Exporters))
	}
	if diff := cmp.Diff(export.DefaultConfig(), got.Exporters[0],
		cmpopts.IgnoreFields(export.Config{}, "Name", "Type", "Settings", "Filter")); diff != "" {
		t.Error(diff)
	}
}

func TestBadConfigSaysWhereAndWhatToDo(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "stat_dir: /x\n", "stat_dir"},
		{"unknown key in an exporter", "exporters:\n  - {name: a, type: file, paht: x}\n", "paht"},
		{"unknown setting", "exporters:\n  - name: a\n    type: file\n    settings:\n      paht: /x\n", "[5:7]"},
		{"wrong type", "listen:\n  connections: many\n", "[2:16]"},
		{"relative state", "state_dir: x\n", "absolute"},
		{"unknown exporter", "exporters: [{name: a, type: fax}]\n", "there are file"},
		{"two of a name", "exporters: [{name: a, type: file, settings: {path: /x}}, {name: a, type: file, settings: {path: /y}}]\n", "two exporters"},
		{"health for all", "listen: {health: \"0.0.0.0:8445\"}\n", "loopback"},
		{"slow revocation", "identity: {revocation_poll: 1m}\n", "within 5 s"},
		{"password in the open", "store: {postgres: \"host=x password=y\"}\n", "password_file"},
		{"not YAML", "a: [", "read configuration"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadConfig(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want it to name %q and the file", err, tt.want)
			}
		})
	}
}

func TestEmptyConfigIsTheDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultConfig(), got); diff != "" {
		t.Error(diff)
	}
}

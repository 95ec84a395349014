package doctor

import (
	"path/filepath"
	"testing"
)

func TestProcessNumbers(t *testing.T) {
	// Any other file stands for a namespace of another number.
	if c := processesIn(t.TempDir()); c.Level != Degraded || c.Consequence == "" || c.Remedy == "" {
		t.Errorf("a namespace of its own: %+v", c)
	}
	if c := processesIn(filepath.Join(t.TempDir(), "absent")); c.Level != Info {
		t.Errorf("without /proc: %+v", c)
	}
}

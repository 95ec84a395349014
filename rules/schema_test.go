package rules

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden compares with a committed file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" { // declared beside the field table's test
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what the code says; run go test ./rules -update\n%s", file, diff)
	}
}

func TestSchemas(t *testing.T) {
	for file, generate := range map[string]func() ([]byte, error){
		"entity.schema.json":  EntitySchema,
		"finding.schema.json": FindingSchema,
	} {
		got, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, file, got)
	}
}

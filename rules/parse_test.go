package rules

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBrokenFiles compares what is said of each broken file: file, line,
// column, fault and remedy.
func TestBrokenFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no broken files: %v", err)
	}
	var b strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseEntities(filepath.Base(file), data)
		var faults Faults
		if !errors.As(err, &faults) {
			t.Errorf("%s: got %v, want faults", file, err)
			continue
		}
		for _, f := range faults {
			if f.Line == 0 || f.Remedy == "" {
				t.Errorf("%s: fault without line or remedy: %+v", file, f)
			}
		}
		b.WriteString(faults.Error() + "\n")
	}
	golden(t, "testdata/broken.golden", []byte(b.String()))
}

func TestParseBounds(t *testing.T) {
	for name, data := range map[string]string{
		"brackets": "id: " + strings.Repeat("[", 100_000),
		"dashes":   strings.Repeat("- ", 100_000) + "x",
		"indent":   strings.Repeat(" ", 1000) + "id: x",
	} {
		_, err := ParseEntities("x.yaml", []byte(data))
		if err == nil || !strings.Contains(err.Error(), "nested too deep") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSeveralDocuments(t *testing.T) {
	entities, err := ParseEntities("x.yaml", []byte("id: a\nname: A\nkind: person\n---\nid: b\nname: B\nkind: tool\n"))
	if err != nil || len(entities) != 2 || entities[1].ID != "b" {
		t.Fatalf("got %v, %v", entities, err)
	}
}

func FuzzParseEntities(f *testing.F) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "designations/sallyport-test.yaml", "designations/zservers.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entities, err := ParseEntities("fuzz.yaml", data)
		if err != nil {
			return
		}
		for i := range entities {
			if err := entities[i].Validate(); err != nil {
				t.Fatalf("parsed but not valid: %v", err)
			}
		}
		if set, err := Compile(Pack{Name: "fuzz"}, entities, Options{}); err == nil {
			set.Match(flowTo("5.6.7.8"), testNow)
		}
	})
}

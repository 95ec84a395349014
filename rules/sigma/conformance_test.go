package sigma

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/testenv"
)

// TestSpecificationExamples runs every detection example of the specification's
// own text.
func TestSpecificationExamples(t *testing.T) {
	data, err := os.ReadFile(testenv.Shared(t, "conformance", "sigma", "specification", "sigma-rules-specification.md"))
	if err != nil {
		t.Fatal(err)
	}
	parsed := 0
	for i, m := range regexp.MustCompile("(?s)([^\n]*)\n\n```ya?ml\n(.*?)\n```").FindAllStringSubmatch(string(data), -1) {
		intro, block := m[1], m[2]
		if !strings.Contains(block, "detection:\n    ") {
			continue
		}
		parsed++
		_, err := Parse("example.yml", []byte(completed(block)))
		if wrong := strings.HasPrefix(intro, "Invalid"); (err != nil) != wrong {
			t.Errorf("example %d (%q): error %v, want one: %v\n%s", i, intro, err, wrong, block)
		}
	}
	if parsed < 8 {
		t.Errorf("%d examples found, want at least 8: has the specification's form changed?", parsed)
	}
}

// completed gives an example what it leaves out.
func completed(block string) string {
	if !strings.Contains(block, "condition:") {
		block += "\n    condition: 1 of them"
	}
	if !strings.Contains(block, "title:") {
		block = "title: example\nlogsource: {product: windows}\n" + block
	}
	return block
}

// TestSchema compares the attributes and their closed sets of values with the
// specification's JSON Schema.
func TestSchema(t *testing.T) {
	var schema struct {
		Required   []string `json:"required"`
		Properties map[string]struct {
			OneOf     []struct{ Const string } `json:"oneOf"`
			Pattern   string                   `json:"pattern"`
			MaxLength int                      `json:"maxLength"`
			Items     struct {
				Pattern    string `json:"pattern"`
				Properties map[string]struct {
					OneOf []struct{ Const string } `json:"oneOf"`
				} `json:"properties"`
			} `json:"items"`
		} `json:"properties"`
	}
	data, err := os.ReadFile(testenv.Shared(t, "conformance", "sigma", "json-schema", "sigma-detection-rule-schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	var names, known []string
	for name := range schema.Properties {
		names = append(names, name)
	}
	for name := range attributes {
		known = append(known, name)
	}
	slices.Sort(names)
	slices.Sort(known)
	if d := cmp.Diff(names, known); d != "" {
		t.Errorf("attributes (-schema +ours):\n%s", d)
	}
	consts := func(l []struct{ Const string }) (out []string) {
		for _, c := range l {
			out = append(out, c.Const)
		}
		return out
	}
	for what, pair := range map[string][2][]string{
		"status":   {consts(schema.Properties["status"].OneOf), statuses},
		"level":    {consts(schema.Properties["level"].OneOf), levels},
		"related":  {consts(schema.Properties["related"].Items.Properties["type"].OneOf), relates},
		"required": {schema.Required, []string{"title", "logsource", "detection"}},
		"patterns": {
			{schema.Properties["date"].Pattern, schema.Properties["tags"].Items.Pattern},
			{dateForm.String(), tagForm.String()},
		},
		"lengths": {
			{fmt.Sprint(schema.Properties["title"].MaxLength, schema.Properties["description"].MaxLength)},
			{"256 65535"},
		},
	} {
		if d := cmp.Diff(pair[0], pair[1]); d != "" {
			t.Errorf("%s (-schema +ours):\n%s", what, d)
		}
	}
}

// TestModifierList asks that every modifier the specification names is either
// supported or refused by name.
func TestModifierList(t *testing.T) {
	data, err := os.ReadFile(testenv.Shared(t, "conformance", "sigma", "specification", "sigma-appendix-modifiers.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?m)^ *- `([a-z0-9]+)`").FindAllStringSubmatch(string(data), -1)
	if len(found) < 25 {
		t.Fatalf("%d modifiers found in the specification", len(found))
	}
	for _, m := range found {
		mods := modifiers{re: true}
		err := mods.set(m[1])
		if err != nil && !slices.Contains(RefusedModifiers, m[1]) {
			t.Errorf("modifier %s: %v", m[1], err)
		}
	}
}

// TestSampleFiles runs the specification's own sample files: detections load,
// everything else is refused by name.
func TestSampleFiles(t *testing.T) {
	root := testenv.Shared(t, "conformance", "sigma", "tests", "schema")
	files, err := filepath.Glob(filepath.Join(root, "*", "*.yml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d samples, error %v", len(files), err)
	}
	for _, f := range files {
		want := map[string]string{"correlation": "correlation", "filter": "Sigma filters"}[filepath.Base(filepath.Dir(f))]
		if strings.HasSuffix(f, "rule_ecs.yml") {
			want = "taxonomy"
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(f, data)
		if want == "" && err != nil {
			t.Errorf("%v", err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want a refusal naming %q", f, err, want)
		}
	}
}

// TestPublishedRules loads every rule of SigmaHQ that is at hand.
func TestPublishedRules(t *testing.T) {
	root := testenv.Shared(t, "intel", "formats", "sigma", "rules")
	n := 0
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		if _, err := Parse(path, data); err != nil {
			t.Errorf("%v", err)
		}
		return nil
	})
	if err != nil || n < 50 {
		t.Fatalf("%d rules, error %v", n, err)
	}
}

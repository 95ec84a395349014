package rules

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
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

// TestEntityFilesFitTheSchema holds the schema to the parser: what ships is valid
// by both, and what one refuses for its form the other does too.
func TestEntityFilesFitTheSchema(t *testing.T) {
	schema := compileSchema(t, "entity.schema.json")
	files, err := filepath.Glob("designations/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d entity files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(asJSON(t, data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	const head = "id: x\nname: X\nkind: organisation\n"
	for name, text := range map[string]string{
		"unknown key":        head + "nickname: Y\n",
		"no name":            "id: x\nkind: organisation\n",
		"unknown kind":       "id: x\nname: X\nkind: robot\n",
		"date":               head + "sources: [{id: s, name: S, date: yesterday}]\n",
		"confidence":         head + "sources: [{id: s, name: S}]\nindicators: [{type: ip, value: 5.6.7.8, confidence: sure, sources: [{source: s}]}]\n",
		"type of indicator":  head + "sources: [{id: s, name: S}]\nindicators: [{type: address, value: 5.6.7.8, confidence: high, sources: [{source: s}]}]\n",
		"port":               head + "sources: [{id: s, name: S}]\nindicators: [{type: ip, value: 5.6.7.8, ports: [70000], confidence: high, sources: [{source: s}]}]\n",
		"share above 100 %":  head + "sources: [{id: s, name: S}]\nowners: [{name: O, percent: 101, sources: [s]}]\n",
		"a list for a value": head + "note: [a]\n",
	} {
		if schema.Validate(asJSON(t, []byte(text))) == nil {
			t.Errorf("%s: the schema takes it", name)
		}
		if _, err := ParseEntities("x.yaml", []byte(text)); err == nil {
			t.Errorf("%s: the parser takes it", name)
		}
	}
}

func compileSchema(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(file, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// asJSON is a YAML document as the validator reads one.
func asJSON(t *testing.T, data []byte) any {
	t.Helper()
	raw, err := yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

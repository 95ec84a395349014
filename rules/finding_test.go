package rules

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// validFinding is a finding as the judge drafts it.
func validFinding(t testing.TB) Finding {
	t.Helper()
	set := compileTest(t, judgeEntity)
	o := flowTo("5.6.7.8")
	list, err := ShippedSigmaRules()
	if err != nil {
		t.Fatal(err)
	}
	j := &Judge{Detections: Enabled(list), Agent: AgentInfo{Name: "h1"}}
	f := j.Findings(o, set.Match(o, testNow), testNow)
	if len(f) != 1 {
		t.Fatalf("%d findings", len(f))
	}
	return f[0]
}

func TestValidateFinding(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Finding)
		want string
	}{
		{"valid", func(*Finding) {}, ""},
		{"no version", func(f *Finding) { f.Version = 0 }, "version"},
		{"two versions newer", func(f *Finding) { f.Version = FindingVersion + 2 }, "update it first"},
		{"one version newer", func(f *Finding) { f.Version++ }, ""},
		{"newer, with words of its own", func(f *Finding) {
			f.Version++
			f.State, f.Severity, f.Observation.Direction, f.Observation.Outcome = "reopened", "grave", "loop", "reset"
		}, ""},
		{"newer, without a severity", func(f *Finding) { f.Version++; f.Severity = "" }, "severity"},
		{"newer, with a hostile word", func(f *Finding) { f.Version++; f.State = "a\nb" }, "state"},
		{"newer, out of bounds", func(f *Finding) { f.Version++; f.Title = strings.Repeat("x", 1<<20) }, "bytes"},
		{"no id", func(f *Finding) { f.ID = "" }, "id"},
		{"id with a newline", func(f *Finding) { f.ID = "a\nb" }, "id"},
		{"revision", func(f *Finding) { f.Revision = 0 }, "revision"},
		{"state", func(f *Finding) { f.State = "new" }, "state"},
		{"severity", func(f *Finding) { f.Severity = "grave" }, "severity"},
		{"confidence", func(f *Finding) { f.Confidence = "" }, "confidence"},
		{"rule", func(f *Finding) { f.Rule.ID = "" }, "rule.id"},
		{"agent", func(f *Finding) { f.Agent.Name = "" }, "agent.name"},
		{"count", func(f *Finding) { f.Count = 0 }, "count"},
		{"first", func(f *Finding) { f.First = time.Time{} }, "first"},
		{"order", func(f *Finding) { f.Last = f.First.Add(-time.Second) }, "last is before first"},
		{"host", func(f *Finding) { f.Observation.Host = "" }, "host"},
		{"direction", func(f *Finding) { f.Observation.Direction = "up" }, "direction"},
		{"outcome", func(f *Finding) { f.Observation.Outcome = "fine" }, "outcome"},
		{"attribution", func(f *Finding) { f.Observation.Owner.Attribution = "maybe" }, "attribution"},
		{"match", func(f *Finding) { f.Matches[0].Entity.ID = "" }, "match 0"},
		{"test", func(f *Finding) { f.Test = true }, "test"},
		{"matches", func(f *Finding) { f.Matches = make([]Match, 300) }, "300 matches"},
		{"long title", func(f *Finding) { f.Title = strings.Repeat("x", 1<<20) }, "bytes"},
		{"evidence", func(f *Finding) { f.Evidence = &Evidence{PCAPNG: make([]byte, 5<<20)} }, "evidence"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := validFinding(t)
			tt.edit(&f)
			err := f.Validate()
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, ErrInvalidFinding) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestFindingFitsItsSchema walks a finding's JSON beside its schema: every key
// is described, and every required key is there.
func TestFindingFitsItsSchema(t *testing.T) {
	data, err := json.Marshal(validFinding(t))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := FindingSchema()
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	var schema map[string]any
	if err := errors.Join(json.Unmarshal(data, &doc), json.Unmarshal(raw, &schema)); err != nil {
		t.Fatal(err)
	}
	fits(t, "$", doc, schema, schema["$defs"].(map[string]any))
}

func fits(t *testing.T, path string, value any, schema, defs map[string]any) {
	if ref, ok := schema["$ref"].(string); ok {
		schema = defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	switch v := value.(type) {
	case map[string]any:
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			return
		}
		for key, member := range v {
			s, ok := properties[key].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is not in the schema", path, key)
				continue
			}
			fits(t, path+"."+key, member, s, defs)
		}
		required, _ := schema["required"].([]any)
		for _, key := range required {
			if _, ok := v[key.(string)]; !ok {
				t.Errorf("%s.%s is required and missing", path, key)
			}
		}
	case []any:
		for _, member := range v {
			fits(t, path+"[]", member, schema["items"].(map[string]any), defs)
		}
	case string:
		if schema["type"] != "string" {
			t.Errorf("%s is a string, not %v", path, schema["type"])
		}
	}
}

func FuzzFinding(f *testing.F) {
	data, err := json.Marshal(validFinding(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"matches":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var finding Finding
		if json.Unmarshal(data, &finding) != nil || finding.Validate() != nil {
			return
		}
		if finding.MessageID() == "" || len(finding.Matches) > maxFindingMatches {
			t.Error("valid without a message id, or out of bounds")
		}
	})
}

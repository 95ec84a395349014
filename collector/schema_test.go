package collector

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sallyport/collector/reports"
)

// compileSchemas reads the schemas of an OpenAPI document. They are strict: a field
// of an answer that the document does not name is an error.
func compileSchemas(t *testing.T, document []byte) *jsonschema.Compiler {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	closeObjects(parsed)
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", parsed); err != nil {
		t.Fatal(err)
	}
	return c
}

// closeObjects forbids what a schema with properties does not name.
func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		if properties, ok := v["properties"].(map[string]any); ok && len(properties) > 0 && v["type"] == "object" {
			v["additionalProperties"] = false
		}
		for _, x := range v {
			closeObjects(x)
		}
	case []any:
		for _, x := range v {
			closeObjects(x)
		}
	}
}

// checkSchema holds an answer to what the document says of it.
func checkSchema(t *testing.T, name string, c *jsonschema.Compiler, content map[string]struct{ Schema any }, body []byte) {
	t.Helper()
	reference, ok := content["application/json"].Schema.(map[string]any)
	if !ok {
		return
	}
	at, ok := reference["$ref"].(string)
	if !ok {
		t.Fatalf("%s: schema %v", name, reference)
	}
	schema, err := c.Compile("openapi.json" + at)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	answer, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := schema.Validate(answer); err != nil {
		t.Errorf("%s: the answer is not as documented: %v\n%s", name, err, body)
	}
}

// report has a report made and waits for it.
func (s *site) report(t *testing.T, client *http.Client, token string) string {
	t.Helper()
	status, _, body := s.ask(t, client, token, "POST", "/reports")
	var r reports.Report
	if status != http.StatusAccepted || json.Unmarshal(body, &r) != nil || r.ID == "" {
		t.Fatalf("ask for a report: %d %s", status, body)
	}
	eventually(t, "the report is done", func() bool {
		status, _, body = s.ask(t, client, token, "GET", "/reports/"+r.ID)
		if status != http.StatusOK || json.Unmarshal(body, &r) != nil || r.State == reports.Failed {
			t.Fatalf("report: %d %s", status, body)
		}
		return r.State == reports.Done
	})
	return r.ID
}

package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// ocsfSchemas are the JSON Schemas of the classes, by class_uid.
func ocsfSchemas(t *testing.T) map[int]*jsonschema.Schema {
	t.Helper()
	folder := testenv.Shared(t, "conformance", "ocsf")
	out := map[int]*jsonschema.Schema{}
	for class, name := range map[int]string{
		ocsfDetection: "detection_finding", ocsfNetwork: "network_activity", ocsfRDP: "rdp_activity", ocsfTunnel: "tunnel_activity",
	} {
		text, err := os.ReadFile(filepath.Join(folder, "ocsf-"+ocsfVersion+"-"+name+".schema.json"))
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource(name, document); err != nil {
			t.Fatal(err)
		}
		if out[class], err = c.Compile(name); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func decodeJSON(t *testing.T, text []byte) map[string]any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

func TestOCSFFitsItsSchema(t *testing.T) {
	schemas := ocsfSchemas(t)
	seen := map[int]bool{}
	for _, format := range []ocsfFormat{{}, {activity: true}} {
		for _, item := range everyShape(t) {
			text, err := format.Append(nil, &item)
			if err != nil {
				t.Fatal(err)
			}
			document := decodeJSON(t, text)
			class, err := document["class_uid"].(json.Number).Int64()
			if err != nil {
				t.Fatal(err)
			}
			seen[int(class)] = true
			if err := schemas[int(class)].Validate(document); err != nil {
				t.Errorf("class %d: %v\n%s", class, err, text)
			}
			if document["type_uid"].(json.Number).String() != fmt.Sprint(class*100+number64(t, document["activity_id"])) {
				t.Errorf("class %d: type_uid %v, activity_id %v", class, document["type_uid"], document["activity_id"])
			}
		}
	}
	for class := range schemas {
		if !seen[class] {
			t.Errorf("no document of class %d", class)
		}
	}
}

// TestOCSFSchemaCanFail proves the test above by breaking a document.
func TestOCSFSchemaCanFail(t *testing.T) {
	schemas := ocsfSchemas(t)
	item := itemOf(t, vpn())
	for _, breakage := range []func(map[string]any){
		func(d map[string]any) { delete(d, "finding_info") },
		func(d map[string]any) { d["severity_id"] = json.Number("42") },
		func(d map[string]any) { d["invented"] = "x" },
	} {
		text, err := ocsfFormat{}.Append(nil, &item)
		if err != nil {
			t.Fatal(err)
		}
		document := decodeJSON(t, text)
		breakage(document)
		if schemas[ocsfDetection].Validate(document) == nil {
			t.Error("a broken document passes")
		}
	}
}

func number64(t *testing.T, v any) int64 {
	t.Helper()
	n, err := v.(json.Number).Int64()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// everyShape varies the samples: every outcome, direction, class and state.
func everyShape(t *testing.T) []Item {
	t.Helper()
	list := items(t)
	for _, outcome := range []rules.Outcome{rules.OutcomeBlocked, rules.OutcomeAttempted, rules.OutcomeRefused, rules.OutcomeEstablished, rules.OutcomeData} {
		for _, closed := range []bool{false, true} {
			for _, protocol := range []string{"rdp", "wireguard", "none", "ssh"} {
				f := vpn()
				o := &f.Observation
				o.Outcome, o.Closed, o.Identification.Protocol = outcome, closed, protocol
				list = append(list, itemOf(t, f))
			}
		}
	}
	for _, kind := range []string{"ip", "cidr", "asn", "domain", "url_host", "tls_cert_sha1", "tls_cert_sha256", "ja3", "ja4", "hassh"} {
		f := vpn()
		f.Matches[0].Indicator.Type = kind
		f.Matches[0].Indicator.TLP = "tlp:amber"
		list = append(list, itemOf(t, f))
	}
	bare := finding("50112233445566778899aabbccddeeff", flow("132", "198.18.0.1", "203.0.113.7"))
	bare.Agent, bare.Rule = rules.AgentInfo{}, rules.RuleRef{ID: "r"}
	bare.Observation.TLS = &rules.TLSFacts{}
	return append(list, itemOf(t, bare))
}

// ecsField is what ecs_flat.yml says of a field.
type ecsField struct {
	Type      string                  `yaml:"type"`
	Normalize []string                `yaml:"normalize"`
	Pattern   string                  `yaml:"pattern"`
	Allowed   []struct{ Name string } `yaml:"allowed_values"`
	Expected  []string                `yaml:"expected_values"`
}

func TestECSFitsItsFields(t *testing.T) {
	text, err := os.ReadFile(testenv.Shared(t, "conformance", "ecs", "ecs_flat.yml"))
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]ecsField{}
	if err := yaml.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for _, item := range everyShape(t) {
		text, err := ecsFormat{}.Append(nil, &item)
		if err != nil {
			t.Fatal(err)
		}
		document := decodeJSON(t, text)
		delete(document, "sallyport") // ours, as ECS allows
		for _, fault := range ecsFaults(fields, "", document) {
			t.Errorf("%s\n%s", fault, text)
		}
		for _, must := range []string{"@timestamp", "ecs", "event", "host", "rule"} {
			if document[must] == nil && must != "host" {
				t.Errorf("no %s in %s", must, text)
			}
		}
	}
	if faults := ecsFaults(fields, "", decodeJSON(t, []byte(`{"source":{"ip":"x","prot":1},"event":{"kind":"alarm","category":"network"}}`))); len(faults) != 4 {
		t.Errorf("a broken document has %d faults, not 4: %v", len(faults), faults)
	}
}

// ecsFaults walks a document and names what the field table does not allow.
func ecsFaults(fields map[string]ecsField, at string, document map[string]any) []string {
	var faults []string
	for k, v := range document {
		name := strings.TrimPrefix(at+"."+k, ".")
		field, known := fields[name]
		if inner, ok := v.(map[string]any); ok && (!known || field.Type == "object") {
			faults = append(faults, ecsFaults(fields, name, inner)...)
			continue
		}
		if !known {
			faults = append(faults, name+" is no ECS field")
			continue
		}
		list, isList := v.([]any)
		if isList != slices.Contains(field.Normalize, "array") {
			faults = append(faults, fmt.Sprintf("%s: list is %v", name, isList))
		}
		if !isList {
			list = []any{v}
		}
		for _, x := range list {
			if inner, ok := x.(map[string]any); ok && field.Type == "nested" {
				faults = append(faults, ecsFaults(fields, name, inner)...)
			} else if fault := ecsFault(field, x); fault != "" {
				faults = append(faults, name+": "+fault)
			}
		}
	}
	return faults
}

func ecsFault(field ecsField, v any) string {
	text, isText := v.(string)
	_, isNumber := v.(json.Number)
	switch field.Type {
	case "ip":
		if _, err := netip.ParseAddr(text); err != nil {
			return "no address: " + text
		}
	case "date":
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return "no date: " + text
		}
	case "long", "float":
		if !isNumber {
			return fmt.Sprintf("no number: %v", v)
		}
	case "keyword", "wildcard", "match_only_text", "constant_keyword":
		if !isText || text == "" {
			return fmt.Sprintf("no text: %v", v)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return fmt.Sprintf("no boolean: %v", v)
		}
	default:
		return "type " + field.Type + " is not expected"
	}
	if len(field.Allowed) > 0 && !slices.ContainsFunc(field.Allowed, func(a struct{ Name string }) bool { return a.Name == text }) {
		return "not allowed: " + text
	}
	if len(field.Expected) > 0 && !slices.Contains(field.Expected, text) {
		return "not expected: " + text
	}
	if field.Pattern != "" && !regexp.MustCompile(field.Pattern).MatchString(text) {
		return "does not fit " + field.Pattern + ": " + text
	}
	return ""
}

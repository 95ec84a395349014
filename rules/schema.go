package rules

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// The schemas of the two documents that others write and read. They are
// generated from the Go types and committed beside them; a test compares.
const (
	entitySchemaID  = "https://sallyport.example/schema/entity.schema.json"
	findingSchemaID = "https://sallyport.example/schema/finding.schema.json"
)

// EntitySchema is the JSON Schema of an entity file. Keys it does not list are
// refused.
func EntitySchema() ([]byte, error) {
	return schemaOf(reflect.TypeFor[Entity](), "yaml", entitySchemaID, "Sallyport entity file")
}

// FindingSchema is the JSON Schema of a finding. New keys may come without a
// new version, so readers let unknown ones pass.
func FindingSchema() ([]byte, error) {
	return schemaOf(reflect.TypeFor[Finding](), "json", findingSchemaID, "Sallyport finding")
}

// enums are the values of types that have a fixed set.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[Kind]():          kinds,
	reflect.TypeFor[Confidence]():    confidences,
	reflect.TypeFor[Scope]():         scopes,
	reflect.TypeFor[IndicatorType](): indicatorTypes,
	reflect.TypeFor[Severity]():      texts(severities),
	reflect.TypeFor[Direction]():     texts(directions),
	reflect.TypeFor[Outcome]():       texts(outcomes),
	reflect.TypeFor[Attribution]():   texts(attributions),
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

func schemaOf(t reflect.Type, tag, id, title string) ([]byte, error) {
	s := schemer{tag: tag, defs: map[string]any{}}
	root := s.object(t)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = id
	root["title"] = title
	root["$defs"] = s.defs
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return append(out, '\n'), nil
}

type schemer struct {
	tag  string
	defs map[string]any
}

func (s *schemer) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	s.fields(t, properties, &required)
	o := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	if s.tag == "yaml" {
		o["additionalProperties"] = false
	}
	return o
}

func (s *schemer) fields(t reflect.Type, properties map[string]any, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get(s.tag), ",")
		if strings.Contains(options, "inline") {
			s.fields(f.Type, properties, required)
			continue
		}
		properties[name] = s.schema(f.Type)
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
}

func (s *schemer) schema(t reflect.Type) map[string]any {
	if values, ok := enums[t]; ok {
		return map[string]any{"type": "string", "enum": values}
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[netip.Addr]():
		return map[string]any{"type": "string", "description": "an IPv4 or IPv6 address"}
	case reflect.TypeFor[Date]():
		return map[string]any{"type": "string", "pattern": `^\d{4}(-\d{2}(-\d{2})?)?$`}
	case reflect.TypeFor[[]byte]():
		return map[string]any{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.schema(t.Elem())
	case reflect.Struct:
		if _, ok := s.defs[t.Name()]; !ok {
			s.defs[t.Name()] = nil // a type may hold itself
			s.defs[t.Name()] = s.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case reflect.Slice:
		return s.list(t)
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.schema(t.Elem())}
	}
	return scalar(t.Kind())
}

// list may be null in JSON, where Go writes an empty list of a finding so.
func (s *schemer) list(t reflect.Type) map[string]any {
	o := map[string]any{"type": "array", "items": s.schema(t.Elem())}
	if s.tag == "json" {
		o["type"] = []string{"array", "null"}
	}
	return o
}

func scalar(k reflect.Kind) map[string]any {
	switch k {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float64: // a share
		return map[string]any{"type": "number", "exclusiveMinimum": 0, "maximum": 100}
	case reflect.Uint16:
		return map[string]any{"type": "integer", "minimum": 0, "maximum": 65535}
	case reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	}
	return map[string]any{"type": "integer"}
}

package api

import (
	"slices"
	"strconv"
	"strings"

	"sallyport/collector/reports"
	"sallyport/collector/store"
	"sallyport/rules"
)

// parameter of a query.
type parameter struct{ name, description string }

var findingParameters = []parameter{
	{"q", "words, all of which must be found in names, addresses, entities and processes"},
	{"severity", "the least severity: info, low, medium, high or critical"},
	{"id", "id of the finding"}, {"agent", "agent"}, {"host", "host"}, {"rule", "id of the rule"}, {"entity", "id of the entity"},
	{"protocol", "protocol"}, {"direction", "inbound or outbound"}, {"outcome", "outcome"}, {"state", "opened, updated or closed"},
	{"triage", "new, in_progress or closed"}, {"assignee", "who works on it"}, {"decision", "licensed, benign or confirmed_contact"},
	{"remote", "remote address"}, {"executable", "path of the executable"}, {"user", "user name"}, {"pod", "namespace/name"},
	{"test", "true or false: of self-tests"}, {"suppressed", "true or false: silenced by an allow-list"},
	{"from", "last flow since, RFC 3339 or date"}, {"to", "last flow before"},
	{"cursor", "next of the page before"}, {"limit", "how many at most, up to 500"},
}

// streamParameters are findingParameters without paging.
var streamParameters = append([]parameter{{"since", "only what was stored after this time, RFC 3339; by default from now on"}}, without(findingParameters, "cursor", "limit", "from", "to")...)

func without(list []parameter, names ...string) []parameter {
	return slices.DeleteFunc(slices.Clone(list), func(p parameter) bool { return slices.Contains(names, p.name) })
}

type object = map[string]any

// Document is the OpenAPI 3.1 document of the routes.
func Document(version string) object {
	paths := object{}
	for _, r := range routes {
		item, ok := paths[r.path].(object)
		if !ok {
			item = object{}
			paths[r.path] = item
		}
		item[strings.ToLower(r.method)] = operation(r)
	}
	return object{
		"openapi":    "3.1.0",
		"info":       object{"title": "Sallyport collector", "version": version, "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"servers":    []object{{"url": Prefix}},
		"security":   []object{{"token": []string{}}},
		"paths":      paths,
		"components": object{"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}, "schemas": schemas()},
	}
}

func operation(r route) object {
	var parameters []object
	for _, part := range strings.Split(r.path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			parameters = append(parameters, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, p := range r.parameters {
		parameters = append(parameters, object{"name": p.name, "in": "query", "description": p.description, "schema": object{"type": "string"}})
	}
	op := object{"summary": r.summary, "description": "Needs the permission to " + string(r.needs) + ".", "responses": responses(r)}
	if r.body != "" {
		op["requestBody"] = object{"required": true, "content": content(r.body)}
	}
	if parameters != nil {
		op["parameters"] = parameters
	}
	return op
}

func responses(r route) object {
	retry := object{"Retry-After": object{"description": "seconds to wait", "schema": object{"type": "integer"}}}
	out := object{}
	for _, status := range []struct {
		code    int
		text    string
		headers object
	}{
		{400, "the request is wrong", nil}, {401, "no valid token", nil}, {403, "the token may not", nil}, {404, "there is none", nil},
		{409, "it is not ready yet", retry}, {429, "too many requests", retry}, {500, "the collector cannot do that now; its log says why", nil},
	} {
		x := object{"description": status.text, "content": content("Problem")}
		if status.headers != nil {
			x["headers"] = status.headers
		}
		if status.code != 409 || strings.HasSuffix(r.path, "/document") {
			out[strconv.Itoa(status.code)] = x
		}
	}
	good := object{"description": map[int]string{200: "the answer", 202: "it is being made", 204: "done"}[r.status]}
	if r.returns != "" {
		good["content"] = content(r.returns)
	}
	out[strconv.Itoa(r.status)] = good
	return out
}

// content is JSON of a schema, or bytes of media types.
func content(name string) object {
	if !strings.Contains(name, "/") {
		return object{"application/json": object{"schema": reference(name)}}
	}
	out := object{}
	for _, media := range strings.Split(name, ",") {
		out[media] = object{}
	}
	return out
}

func reference(name string) object { return object{"$ref": "#/components/schemas/" + name} }

func arrayOf(item object) object { return object{"type": "array", "items": item} }

// schemas name what answers hold; the finding itself is described by its own
// schema, rules/finding.schema.json.
func schemas() object {
	text, number, flag, when := object{"type": "string"}, object{"type": "integer"}, object{"type": "boolean"}, object{"type": "string", "format": "date-time"}
	of := func(properties object, required ...string) object {
		return object{"type": "object", "properties": properties, "required": required}
	}
	return object{
		"Problem": of(object{"error": text}, "error"),
		"Finding": of(object{
			"reporter": object{"type": "string", "description": "the agent whose certificate sent it"}, "received": when, "legal_hold": flag,
			"triage": object{"type": "string", "enum": store.TriageStates}, "assignee": text, "decision": object{"type": "string", "enum": store.Decisions},
			"finding": object{"type": "object", "description": "a finding document, version " + strconv.Itoa(rules.FindingVersion)},
		}, "reporter", "received", "finding"),
		"Page": of(object{"findings": arrayOf(reference("Finding")), "next": object{"type": "string", "description": "cursor of the next page; absent on the last"}}, "findings"),
		"Revisions": arrayOf(of(object{
			"revision": number, "state": text, "flows": number, "received": when, "severity": object{"type": "integer", "description": "1 info to 5 critical"},
		}, "revision", "state", "severity", "flows", "received")),
		"Agents": arrayOf(of(object{
			"name": text, "state": object{"type": "string", "enum": []string{"reporting", "silent", "new", "revoked"}}, "enrolled": when, "heard": when, "last_finding": when, "address": text,
			"findings": number, "missing": number, "rejected": number, "lost": number, "dropped": number, "skew_ns": number, "skew_large": flag,
			"certificate_expires": when, "heartbeat": object{"type": "object"}, "labels": object{"type": "object", "additionalProperties": text}, "sequences": arrayOf(object{"type": "object"}),
		}, "name", "state", "findings", "missing", "rejected", "lost", "dropped")),
		"Verdict": of(object{
			"state": object{"type": "string", "enum": store.TriageStates}, "assignee": text,
			"decision": object{"type": "string", "enum": store.Decisions, "description": "a closed finding needs one; licensed needs a note that names the licence"}, "note": text,
		}, "state"),
		"Decision": of(object{
			"key": number, "agent": text, "id": text, "at": when, "author": text, "state": text, "assignee": text, "decision": text, "note": text,
		}, "key", "agent", "id", "at", "author", "state"),
		"Decisions": arrayOf(reference("Decision")),
		"Exporters": arrayOf(of(object{
			"name": text, "type": text, "format": text, "pending": number, "behind": when, "parked": number, "last_sent": when, "failing": when, "error": text,
		}, "name", "type", "format", "pending", "parked")),
		"Parked": arrayOf(of(object{
			"key": number, "exporter": text, "agent": text, "id": text, "revision": number, "reason": text, "at": when, "resend": flag,
		}, "exporter", "agent", "id", "revision", "reason", "at")),
		"Assignments": arrayOf(of(object{
			"name": text, "agents": arrayOf(text), "labels": arrayOf(text), "members": arrayOf(text), "packs": arrayOf(reference("Pack")),
		}, "name", "members", "packs")),
		"Pack": of(object{
			"group": text, "name": text, "version": number, "sha256": text, "bytes": number, "expires": when, "role": text, "key": text, "created": when, "stale": text, "refused": text,
		}, "group", "name", "version"),
		"Limits": arrayOf(of(object{"name": text, "value": text, "fixed": flag, "what": text}, "name", "value", "fixed", "what")),
		"ReportOrder": of(object{
			"entity": object{"type": "string", "description": "id of the entity"}, "from": object{"type": "string", "description": "day, or RFC 3339 time"},
			"to": object{"type": "string", "description": "the first moment after the period"},
		}, "entity", "from", "to"),
		"Report": of(object{
			"id": text, "entity": text, "from": when, "to": when, "asked": when, "finished": when, "error": text, "contacts": number,
			"state":         object{"type": "string", "enum": []string{reports.Waiting, reports.Working, reports.Done, reports.Failed}},
			"excluded_test": object{"type": "integer", "description": "findings of self-tests, which are left out"},
			"unsigned":      object{"type": "boolean", "description": "the collector has no key, so that the latest entries are not signed"},
		}, "id", "entity", "from", "to", "asked", "state", "contacts", "excluded_test", "unsigned"),
		"Reports":  arrayOf(reference("Report")),
		"Accesses": arrayOf(of(object{"at": when, "actor": text, "action": text, "subject": text, "address": text}, "at", "actor", "action", "subject", "address")),
	}
}

package sigma

import (
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Rule is one Sigma detection, ready to match.
type Rule struct {
	File           string
	Title          string
	ID             string
	Name           string
	Related        []Related
	Status         string
	Description    string
	License        string
	Author         string
	References     []string
	Date           string // YYYY-MM-DD
	Modified       string // YYYY-MM-DD
	LogSource      LogSource
	FieldsToShow   []string // the attribute "fields"
	FalsePositives []string
	Level          string
	Tags           []string
	Scope          []string
	Custom         map[string]any // attributes the specification does not define
	Lines          map[string]int // of each attribute, for what the caller finds wrong

	uses []FieldUse
	expr expr
}

// Related ties a rule to another.
type Related struct {
	ID   string
	Type string // "derived", "obsolete", "merged", "renamed", "similar"
}

// LogSource says which events a rule is for.
type LogSource struct {
	Category, Product, Service, Definition string
}

// FieldUse is a field a rule asks for, with the line that does.
type FieldUse struct {
	Name string
	Line int
}

// Parser parses rules that hold placeholders.
type Parser struct {
	// Placeholders maps a name, without its percent signs, to the values that
	// stand for it; wildcards in them work. A rule with a placeholder that is not
	// here is refused, as the specification asks.
	Placeholders map[string][]string
}

// Parse reads one rule without placeholders. Errors are *Error.
func Parse(file string, data []byte) (*Rule, error) {
	return Parser{}.Parse(file, data)
}

// Parse reads one rule. Errors are *Error and name the line.
func (p Parser) Parse(file string, data []byte) (*Rule, error) {
	r := &reader{file: file, placeholders: p.Placeholders}
	top, err := r.document(data)
	if err != nil {
		return nil, err
	}
	return r.rule(top)
}

// Match reports whether the event meets the rule's condition. The log source is
// the caller's to check.
func (r *Rule) Match(ev Event) bool { return r.expr.eval(ev) }

// Uses returns every field the detection asks for, in the order of the file, so
// that a caller can refuse fields its events never have.
func (r *Rule) Uses() []FieldUse { return r.uses }

// refused are the attributes of other kinds of Sigma files.
var refused = map[string]string{
	"correlation": "correlation rules are not supported: correlate in the SIEM",
	"filter":      "Sigma filters are not supported: use the allow-list",
	"action":      "rule collections (action) are not supported: put one rule in one file",
}

func (r *reader) rule(top ast.MapNode) (*Rule, error) {
	pairs, err := r.pairs(top)
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		if why, ok := refused[p.key]; ok {
			return nil, r.errorf(p.node, "%s", why)
		}
	}
	rule := &Rule{File: r.file, Lines: map[string]int{}}
	for _, p := range pairs {
		rule.Lines[p.key] = max(1, lineOf(p.node))
		if err := r.attribute(rule, p); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"title", "logsource", "detection"} {
		if rule.Lines[name] == 0 {
			return nil, r.errorf(nil, "%s is missing: a rule needs title, logsource and detection", name)
		}
	}
	return rule, nil
}

func (r *reader) attribute(rule *Rule, p pair) error {
	if check, ok := attributes[p.key]; ok {
		return check(r, rule, p)
	}
	var v any
	if err := noAnchors(r, p.value); err != nil {
		return err
	}
	if err := yaml.NodeToValue(p.value, &v); err != nil {
		return r.errorf(p.node, "read %s: %v", p.key, err)
	}
	if rule.Custom == nil {
		rule.Custom = map[string]any{}
	}
	rule.Custom[p.key] = v
	return nil
}

// noAnchors refuses anchors and aliases below n: a few bytes of them can stand
// for gigabytes.
func noAnchors(r *reader, n ast.Node) error {
	found := append(ast.Filter(ast.AliasType, n), ast.Filter(ast.AnchorType, n)...)
	if len(found) > 0 {
		return r.errorf(found[0], "YAML anchors and aliases are not supported: write the value out")
	}
	return nil
}

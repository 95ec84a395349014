package sigma

import (
	"github.com/goccy/go-yaml/ast"
)

// detection compiles the search identifiers and then the condition over them.
func detection(r *reader, rule *Rule, p pair) error {
	m, ok := p.value.(ast.MapNode)
	if !ok {
		return r.errorf(p.node, "detection must be a mapping: of search identifiers and a condition")
	}
	pairs, err := r.pairs(m)
	if err != nil {
		return err
	}
	items := map[string]expr{}
	var condition *pair
	for _, d := range pairs {
		switch d.key {
		case "condition":
			condition = &d
		case "timeframe":
			return r.errorf(d.node, "timeframe is not supported: correlate in the SIEM")
		default:
			if items[d.key], err = r.searchIdentifier(rule, d.node, d.value); err != nil {
				return err
			}
		}
	}
	if condition == nil {
		return r.errorf(p.node, "detection has no condition: say under the key condition how its search identifiers combine")
	}
	rule.expr, err = r.conditions(*condition, items)
	return err
}

// conditions reads one condition, or a list of them, which are joined with or.
func (r *reader) conditions(p pair, items map[string]expr) (expr, error) {
	values := []ast.Node{p.value}
	if seq, ok := p.value.(*ast.SequenceNode); ok {
		values = seq.Values
	}
	var out orExpr
	for _, v := range values {
		s, err := r.text(pair{key: "condition", node: p.node, value: v})
		if err != nil {
			return nil, err
		}
		e, err := parseCondition(s, items)
		if err != nil {
			return nil, r.errorf(v, "%v", err)
		}
		out = append(out, e)
	}
	switch len(out) {
	case 0:
		return nil, r.errorf(p.node, "condition is empty: say how the search identifiers combine, such as \"selection and not filter\"")
	case 1:
		return out[0], nil
	}
	return out, nil
}

// searchIdentifier compiles a map (joined with and) or a list of maps and
// keywords (joined with or).
func (r *reader) searchIdentifier(rule *Rule, at, v ast.Node) (expr, error) {
	switch n := v.(type) {
	case ast.MapNode:
		return r.fields(rule, at, n)
	case *ast.SequenceNode:
		return r.alternatives(rule, at, n)
	}
	return nil, r.errorf(at, "a search identifier must hold a map or a list")
}

func (r *reader) alternatives(rule *Rule, at ast.Node, seq *ast.SequenceNode) (expr, error) {
	if len(seq.Values) == 0 {
		return nil, r.errorf(at, "a search identifier must not be empty: give it fields or keywords, or remove it")
	}
	var out orExpr
	for _, v := range seq.Values {
		var e expr
		var err error
		if m, ok := v.(ast.MapNode); ok {
			e, err = r.fields(rule, v, m)
		} else {
			e, err = r.keywords(modifiers{}, at, v)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (r *reader) fields(rule *Rule, at ast.Node, m ast.MapNode) (expr, error) {
	pairs, err := r.pairs(m)
	if err != nil {
		return nil, err
	}
	if len(pairs) == 0 {
		return nil, r.errorf(at, "a search identifier must not be empty: give it fields or keywords, or remove it")
	}
	var out andExpr
	for _, p := range pairs {
		e, err := r.field(rule, p)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if len(out) == 1 {
		return out[0], nil
	}
	return out, nil
}

// field compiles one key, "Name|modifier|modifier", with its values.
func (r *reader) field(rule *Rule, p pair) (expr, error) {
	name, mods, err := parseModifiers(p.key)
	if err != nil {
		return nil, r.errorf(p.node, "%v", err)
	}
	if name == "" {
		return r.keywords(mods, p.node, p.value)
	}
	rule.uses = append(rule.uses, FieldUse{Name: name, Line: p.node.GetToken().Position.Line})
	if _, ok := p.value.(*ast.NullNode); ok {
		if !mods.only("neq") {
			return nil, r.errorf(p.node, "null takes no modifier but neq")
		}
		return &nullExpr{field: name, neq: mods.neq}, nil
	}
	if mods.exists {
		b, ok := p.value.(*ast.BoolNode)
		if !ok {
			return nil, r.errorf(p.node, "exists takes true or false")
		}
		return &existsExpr{field: name, want: b.Value}, nil
	}
	tests, err := r.tests(mods, p.node, p.value)
	if err != nil {
		return nil, err
	}
	if mods.fieldref {
		for _, t := range tests {
			rule.uses = append(rule.uses, FieldUse{Name: t.(*refTest).field, Line: p.node.GetToken().Position.Line})
		}
	}
	return &fieldExpr{field: name, tests: tests, all: mods.all, neq: mods.neq}, nil
}

// keywords compiles what is searched in the whole event. A keyword is found
// anywhere in a text, hence the contains.
func (r *reader) keywords(mods modifiers, at, v ast.Node) (expr, error) {
	if !mods.only("all", "cased", "contains", "expand", "re", "i", "m", "s") {
		return nil, r.errorf(at, "keywords take no modifier but all, cased, contains, expand and re")
	}
	if !mods.re {
		mods.place = "contains"
	}
	tests, err := r.tests(mods, at, v)
	if err != nil {
		return nil, err
	}
	list := make([]expr, len(tests))
	for i, t := range tests {
		list[i] = &keywordExpr{t: t}
	}
	if mods.all {
		return andExpr(list), nil
	}
	return orExpr(list), nil
}

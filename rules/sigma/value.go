package sigma

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"

	"github.com/goccy/go-yaml/ast"
)

// maxValues bounds the values of one field, after expansion.
const maxValues = 100_000

// tests compiles the value, or the list of values, of one key.
func (r *reader) tests(mods modifiers, at, v ast.Node) ([]predicate, error) {
	values := []ast.Node{v}
	if seq, ok := v.(*ast.SequenceNode); ok {
		values = seq.Values
	}
	if len(values) == 0 {
		return nil, r.errorf(at, "a list of values must not be empty: give it a value, or null for a field that is absent")
	}
	if mods.all && len(values) < 2 && !mods.expand {
		return nil, r.errorf(at, "modifier all needs at least two values")
	}
	var out []predicate
	for _, n := range values {
		texts, err := r.expand(mods, n)
		if err != nil {
			return nil, err
		}
		for _, s := range texts {
			t, err := newPredicate(mods, n, s)
			if err != nil {
				return nil, r.errorf(n, "%v", err)
			}
			out = append(out, t)
		}
		if len(out) > maxValues {
			return nil, r.errorf(at, "holds more than %d values: put them into an entity file", maxValues)
		}
	}
	return out, nil
}

// expand returns the texts one value stands for: itself, or what its
// placeholders stand for.
func (r *reader) expand(mods modifiers, n ast.Node) ([]string, error) {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
	case *ast.NullNode:
		return nil, r.errorf(n, "null must not stand in a list: make it a search identifier of its own")
	default:
		return nil, r.errorf(n, "a value must be a string, a number or a boolean")
	}
	s := scalarText(n.(ast.ScalarNode))
	if !mods.expand {
		return []string{s}, nil
	}
	out, err := expandPlaceholders(s, r.placeholders)
	if err != nil {
		return nil, r.errorf(n, "%v", err)
	}
	return out, nil
}

func newPredicate(mods modifiers, n ast.Node, s string) (predicate, error) {
	switch {
	case mods.cidr:
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("cidr takes a prefix such as 192.0.2.0/24, not %q", s)
		}
		return &cidrTest{prefix: p.Masked()}, nil
	case mods.compare != "":
		num, ok := number(n)
		if !ok {
			return nil, fmt.Errorf("%s takes a number, not %q", mods.compare, s)
		}
		return &compareTest{op: mods.compare, num: num}, nil
	case mods.fieldref:
		return &refTest{field: s, cased: mods.cased}, nil
	case mods.re:
		return newRegexTest(mods, s)
	}
	return newValueTest(mods, n, s), nil
}

func newRegexTest(mods modifiers, s string) (predicate, error) {
	if mods.flags != "" {
		s = "(?" + mods.flags + ")" + s
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	return &regexTest{re: re}, nil
}

// newValueTest compiles a value that no modifier changes the kind of.
func newValueTest(mods modifiers, n ast.Node, s string) predicate {
	if mods.place == "" {
		if b, ok := n.(*ast.BoolNode); ok {
			return &boolTest{want: b.Value}
		}
		if num, ok := number(n); ok {
			return &numberTest{num: num, text: s}
		}
	}
	elems := parsePattern(s)
	if mods.place == "contains" || mods.place == "endswith" {
		elems = append([]elem{{kind: elemMany}}, elems...)
	}
	if mods.place == "contains" || mods.place == "startswith" {
		elems = append(elems, elem{kind: elemMany})
	}
	return newTextTest(elems, mods.cased)
}

// number reads a YAML number.
func number(n ast.Node) (float64, bool) {
	switch v := n.(type) {
	case *ast.FloatNode:
		return v.Value, true
	case *ast.IntegerNode:
		switch i := v.Value.(type) {
		case int64:
			return float64(i), true
		case uint64:
			return float64(i), true
		case int:
			return float64(i), true
		}
		f, err := strconv.ParseFloat(v.Token.Value, 64)
		return f, err == nil
	}
	return 0, false
}

package sigma

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Limits of a rule file. The YAML parser's time grows with the square of the
// nesting, so the nesting is bounded before it sees the text.
const (
	maxFile       = 256 << 10
	maxFlowDepth  = 100
	maxLineDashes = 32
)

// reader reads one rule file and puts file and line on every error.
type reader struct {
	file         string
	placeholders map[string][]string
}

func (r *reader) errorf(n ast.Node, format string, args ...any) error {
	return &Error{File: r.file, Line: lineOf(n), Message: fmt.Sprintf(format, args...)}
}

// lineOf is 0 where the node does not know its line.
func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

// document parses the file's only document into its top mapping.
func (r *reader) document(data []byte) (ast.MapNode, error) {
	if len(data) > maxFile {
		return nil, r.errorf(nil, "rule is larger than %d bytes: split it, or put the values into an entity file", maxFile)
	}
	if line, deep := tooDeep(data); deep {
		return nil, &Error{File: r.file, Line: line, Message: "YAML is nested too deep"}
	}
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, r.yamlError(err)
	}
	var bodies []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	if len(bodies) != 1 {
		return nil, r.errorf(nil, "holds %d YAML documents: put one rule in one file", len(bodies))
	}
	m, ok := bodies[0].(ast.MapNode)
	if !ok {
		return nil, r.errorf(bodies[0], "is not a Sigma rule: the file must hold a mapping")
	}
	return m, nil
}

func (r *reader) yamlError(err error) error {
	e := &Error{File: r.file, Message: err.Error()}
	var y yaml.Error
	if errors.As(err, &y) {
		e.Message = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			e.Line = t.Position.Line
		}
	}
	return e
}

// tooDeep bounds brackets and leading dashes. Brackets inside quotes count too,
// which no real rule minds.
func tooDeep(data []byte) (line int, deep bool) {
	depth := 0
	for i, l := range strings.Split(string(data), "\n") {
		for _, c := range []byte(l) {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
		}
		if depth > maxFlowDepth || strings.Count(l, "- ")+strings.Count(l, "? ") > maxLineDashes {
			return i + 1, true
		}
	}
	return 0, false
}

// pair is one key of a mapping.
type pair struct {
	key   string
	node  ast.Node // the key, for the line
	value ast.Node
}

func (r *reader) pairs(m ast.MapNode) ([]pair, error) {
	var out []pair
	for it := m.MapRange(); it.Next(); {
		key := it.Key()
		k, ok := key.(ast.ScalarNode)
		if !ok || key.IsMergeKey() {
			return nil, r.errorf(key, "YAML merge keys and keys that are not plain text are not supported")
		}
		out = append(out, pair{key: scalarText(k), node: key, value: it.Value()})
	}
	return out, nil
}

// scalarText is the scalar as written, without its quotes.
func scalarText(n ast.ScalarNode) string {
	if l, ok := n.(*ast.LiteralNode); ok {
		return l.Value.Value
	}
	return n.GetToken().Value
}

// text reads a string.
func (r *reader) text(p pair) (string, error) {
	switch n := p.value.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	}
	return "", r.errorf(p.node, "%s must be a string: put it in quotes", p.key)
}

// texts reads a list of different strings.
func (r *reader) texts(p pair) ([]string, error) {
	seq, ok := p.value.(*ast.SequenceNode)
	if !ok {
		return nil, r.errorf(p.node, "%s must be a list of strings: write each behind a dash, in quotes where it is a number", p.key)
	}
	var out []string
	seen := map[string]bool{}
	for _, v := range seq.Values {
		s, err := r.text(pair{key: "each of " + p.key, node: v, value: v})
		if err != nil {
			return nil, err
		}
		if seen[s] {
			return nil, r.errorf(v, "%s names %q twice: remove one", p.key, s)
		}
		seen[s] = true
		out = append(out, s)
	}
	return out, nil
}

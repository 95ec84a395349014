package rules

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds on an entity file, which may come from anywhere.
const (
	maxEntityFile = 64 << 20
	maxNesting    = 32  // brackets
	maxIndent     = 128 // spaces and dashes before a line's first word
)

// ParseEntities reads the entities of one file, strictly: an unknown key, a
// value in another spelling, a source that is not declared are faults. file
// is its name in them. The error is Faults, every fault found.
func ParseEntities(file string, data []byte) (entities []Entity, err error) {
	defer guard(file, &err)
	if err := checkBounds(file, data); err != nil {
		return nil, err
	}
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, Faults{yamlFault(file, err)}
	}
	var faults Faults
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		entity, found := parseEntity(file, doc.Body)
		faults = append(faults, found...)
		if entity != nil {
			entities = append(entities, *entity)
		}
	}
	if len(entities) == 0 && len(faults) == 0 {
		faults = Faults{{File: file, Line: 1, Column: 1, Message: "the file holds no entity", Remedy: "write one, or remove the file"}}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return entities, nil
}

func parseEntity(file string, body ast.Node) (*Entity, Faults) {
	if p := refuseAliases(file, body); p != nil {
		return nil, p
	}
	var entity Entity
	if err := yaml.NodeToValue(body, &entity, yaml.Strict()); err != nil {
		return nil, Faults{yamlFault(file, err)}
	}
	faults := locate(file, body, entity.defects())
	if len(faults) > 0 {
		return nil, faults
	}
	return &entity, nil
}

// guard turns a panic of the YAML library, which some broken files cause, into
// a fault of the file.
func guard(file string, err *error) {
	if r := recover(); r != nil {
		*err = Faults{panicFault(file, r)}
	}
}

func panicFault(file string, r any) Fault {
	return Fault{File: file, Line: 1, Column: 1, Message: fmt.Sprintf("the file cannot be read as YAML (%v)", r), Remedy: "check its tags, lists and indentation"}
}

// locate gives each defect its place.
func locate(file string, body ast.Node, defects []defect) Faults {
	var faults Faults
	for _, d := range defects {
		line, column := place(body, d.path)
		faults = append(faults, Fault{file, line, column, d.message, d.remedy})
	}
	return faults
}

// checkBounds refuses what would make the parser work or recurse without end.
func checkBounds(file string, data []byte) error {
	if len(data) > maxEntityFile {
		return Faults{{File: file, Message: fmt.Sprintf("the file has %d bytes, more than %d", len(data), maxEntityFile), Remedy: "split it"}}
	}
	depth, line, indent, leading := 0, 1, 0, true
	for _, b := range data {
		switch b {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		case '\n':
			line, indent, leading = line+1, -1, true
		}
		leading = leading && (b == ' ' || b == '-' || b == '?' || b == '\n')
		if leading {
			indent++
		}
		if depth > maxNesting || indent > maxIndent {
			return Faults{{File: file, Line: line, Column: 1, Message: "the file is nested too deep", Remedy: "an entity needs a few levels only"}}
		}
	}
	return nil
}

// refuseAliases keeps a small file from standing for a huge one.
func refuseAliases(file string, body ast.Node) Faults {
	finder := &aliasFinder{}
	ast.Walk(finder, body)
	if finder.found == nil {
		return nil
	}
	pos := finder.found.GetToken().Position
	return Faults{{file, pos.Line, pos.Column, "YAML anchors and aliases are not read here", "write the value out"}}
}

type aliasFinder struct{ found ast.Node }

// Visit stops at the first anchor or alias.
func (f *aliasFinder) Visit(n ast.Node) ast.Visitor {
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.MergeKeyType:
		f.found = n
	}
	if f.found != nil {
		return nil
	}
	return f
}

// yamlFault turns an error of the YAML library into a fault with its place.
func yamlFault(file string, err error) Fault {
	p := Fault{File: file, Message: err.Error(), Remedy: "correct it; rules/entity.schema.json lists what is allowed"}
	var located yaml.Error
	if errors.As(err, &located) {
		p.Message = located.GetMessage()
		if token := located.GetToken(); token != nil && token.Position != nil {
			p.Line, p.Column = token.Position.Line, token.Position.Column
		}
	}
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) {
		p.Remedy = "remove the key or correct its spelling; rules/entity.schema.json lists what is allowed"
	}
	return p
}

// place finds where a path stands, or the nearest thing above it: what is
// missing has no line of its own.
func place(body ast.Node, path string) (line, column int) {
	for ; path != ""; path = parentPath(path) {
		query, err := yaml.PathString(path)
		if err != nil {
			continue
		}
		node, err := query.FilterNode(body)
		if err != nil || node == nil || node.GetToken() == nil {
			continue
		}
		token := node.GetToken()
		if m, ok := node.(*ast.MappingNode); ok && len(m.Values) > 0 {
			token = m.Values[0].Key.GetToken()
		}
		return token.Position.Line, token.Position.Column
	}
	return 1, 1
}

func parentPath(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			return path[:i]
		}
	}
	return ""
}

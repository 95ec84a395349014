package sigma

import (
	"fmt"
	"sort"
	"strings"
)

// Limits of a condition: rules come from packs, and packs are hostile input.
const (
	maxCondition = 16 << 10 // bytes
	maxNesting   = 64       // parentheses and "not"
)

// conditionParser turns a condition into an expression over the search
// identifiers of one rule. Precedence, least binding first: or, and, not, "x of".
type conditionParser struct {
	tokens []string
	pos    int
	depth  int
	items  map[string]expr
}

func parseCondition(s string, items map[string]expr) (expr, error) {
	if len(s) > maxCondition {
		return nil, fmt.Errorf("condition is longer than %d bytes", maxCondition)
	}
	if strings.ContainsRune(s, '|') {
		return nil, fmt.Errorf("aggregation in a condition (%q) is not supported: correlate in the SIEM", "|")
	}
	p := &conditionParser{tokens: conditionTokens(s), items: items}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.pos < len(p.tokens) {
		return nil, fmt.Errorf("condition: unexpected %q", p.tokens[p.pos])
	}
	return e, nil
}

// conditionTokens splits at spaces and parentheses.
func conditionTokens(s string) []string {
	s = strings.ReplaceAll(s, "(", " ( ")
	return strings.Fields(strings.ReplaceAll(s, ")", " ) "))
}

// peek returns the next token; keywords of the language in lower case.
func (p *conditionParser) peek() string {
	if p.pos >= len(p.tokens) {
		return ""
	}
	t := p.tokens[p.pos]
	switch l := strings.ToLower(t); l {
	case "and", "or", "not", "of", "them", "near":
		return l
	}
	return t
}

func (p *conditionParser) or() (expr, error) {
	return p.chain("or", p.and, func(l []expr) expr { return orExpr(l) })
}

func (p *conditionParser) and() (expr, error) {
	return p.chain("and", p.not, func(l []expr) expr { return andExpr(l) })
}

func (p *conditionParser) chain(op string, next func() (expr, error), join func([]expr) expr) (expr, error) {
	var list []expr
	for {
		e, err := next()
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if p.peek() != op {
			break
		}
		p.pos++
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return join(list), nil
}

func (p *conditionParser) not() (expr, error) {
	if p.peek() != "not" {
		return p.primary()
	}
	p.pos++
	if p.depth++; p.depth > maxNesting {
		return nil, fmt.Errorf("condition is nested deeper than %d", maxNesting)
	}
	defer func() { p.depth-- }()
	e, err := p.not()
	if err != nil {
		return nil, err
	}
	return notExpr{e}, nil
}

func (p *conditionParser) primary() (expr, error) {
	t := p.peek()
	switch t {
	case "":
		return nil, fmt.Errorf("condition ends where a search identifier should stand")
	case "(":
		return p.group()
	case ")", "and", "or", "of", "them":
		return nil, fmt.Errorf("condition: unexpected %q", t)
	case "near":
		return nil, fmt.Errorf("condition: %q is not supported: correlate in the SIEM", t)
	}
	p.pos++
	if p.peek() == "of" {
		p.pos++
		return p.quantified(t)
	}
	e, ok := p.items[t]
	if !ok {
		return nil, fmt.Errorf("condition names %q, which the detection does not define", t)
	}
	return e, nil
}

func (p *conditionParser) group() (expr, error) {
	p.pos++
	if p.depth++; p.depth > maxNesting {
		return nil, fmt.Errorf("condition is nested deeper than %d", maxNesting)
	}
	defer func() { p.depth-- }()
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.peek() != ")" {
		return nil, fmt.Errorf("condition: a parenthesis is not closed")
	}
	p.pos++
	return e, nil
}

// quantified reads what follows "1 of" or "all of".
func (p *conditionParser) quantified(quantity string) (expr, error) {
	all := strings.EqualFold(quantity, "all")
	if !all && quantity != "1" {
		return nil, fmt.Errorf("condition: %q is not supported, only \"1 of\" and \"all of\"", quantity+" of")
	}
	target := p.peek()
	switch target {
	case "", "(", ")", "and", "or", "not", "of":
		return nil, fmt.Errorf("condition: %q must be followed by \"them\" or a pattern", quantity+" of")
	}
	p.pos++
	list := p.selected(target)
	if len(list) == 0 {
		return nil, fmt.Errorf("condition: no search identifier fits %q", quantity+" of "+target)
	}
	if all {
		return andExpr(list), nil
	}
	return orExpr(list), nil
}

// selected returns the identifiers "them" or a pattern means, by name, so that
// a rule always evaluates the same way.
func (p *conditionParser) selected(target string) []expr {
	fits := compilePattern(parsePattern(strings.ReplaceAll(target, "?", `\?`)), true)
	var names []string
	for name := range p.items {
		if target == "them" && !strings.HasPrefix(name, "_") || target != "them" && fits.match(name) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	list := make([]expr, len(names))
	for i, name := range names {
		list[i] = p.items[name]
	}
	return list
}

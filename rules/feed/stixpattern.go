package feed

import (
	"fmt"
	"strings"
)

// Limits of one STIX pattern.
const (
	maxPattern        = 64 << 10
	maxPatternDepth   = 32
	maxPatternOptions = 1000 // values one pattern may stand for
)

// comparison is one test of a STIX pattern, such as ipv4-addr:value = '...'.
type comparison struct {
	path    string // "x509-certificate:hashes.SHA-1", quotes taken away
	op      string // "=", "!=", "<", ">", "<=", ">=", "IN", "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET", "EXISTS"
	not     bool
	literal []string
}

// option is a set of comparisons that must hold together. A pattern is a choice
// of options.
type option []comparison

// stixTokens splits a pattern. Comments, brackets and operators are as in the
// grammar of STIX 2.1, part 9.
type stixTokens struct {
	s     string
	pos   int
	depth int
}

type stixToken struct {
	kind rune // 'w' word, 's' text, 'p' punctuation, 0 end
	text string
}

func (t *stixTokens) next() (stixToken, error) {
	t.skip()
	if t.pos >= len(t.s) {
		return stixToken{}, nil
	}
	rest := t.s[t.pos:]
	for _, p := range []string{"==", "!=", "<>", "<=", ">=", "=", "<", ">", "[", "]", "(", ")", ",", ":", ".", "*"} {
		if strings.HasPrefix(rest, p) {
			t.pos += len(p)
			return stixToken{'p', p}, nil
		}
	}
	if rest[0] == '\'' {
		return t.quoted()
	}
	n := strings.IndexFunc(rest, func(r rune) bool {
		return !(r == '_' || r == '-' || r == '+' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	})
	if n == 0 {
		return stixToken{}, fmt.Errorf("unexpected %q", printable(rest[:1], 4))
	}
	if n < 0 {
		n = len(rest)
	}
	t.pos += n
	word := rest[:n]
	if (word == "t" || word == "h" || word == "b") && t.pos < len(t.s) && t.s[t.pos] == '\'' {
		tok, err := t.quoted()
		return tok, err
	}
	return stixToken{'w', word}, nil
}

func (t *stixTokens) skip() {
	for t.pos < len(t.s) {
		rest := t.s[t.pos:]
		trimmed := strings.TrimLeft(rest, " \t\r\n\v\f\u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000")
		t.pos += len(rest) - len(trimmed)
		end := ""
		switch {
		case strings.HasPrefix(trimmed, "/*"):
			end = "*/"
		case strings.HasPrefix(trimmed, "//"):
			end = "\n"
		default:
			return
		}
		if i := strings.Index(trimmed, end); i >= 0 {
			t.pos += i + len(end)
		} else {
			t.pos = len(t.s)
		}
	}
}

func (t *stixTokens) quoted() (stixToken, error) {
	var b strings.Builder
	for i := t.pos + 1; i < len(t.s); i++ {
		switch t.s[i] {
		case '\\':
			if i+1 < len(t.s) && (t.s[i+1] == '\'' || t.s[i+1] == '\\') {
				i++
			}
			b.WriteByte(t.s[i])
		case '\'':
			t.pos = i + 1
			return stixToken{'s', b.String()}, nil
		default:
			b.WriteByte(t.s[i])
		}
	}
	return stixToken{}, fmt.Errorf("a quote is not closed")
}

func (t *stixTokens) peek() stixToken {
	at := t.pos
	tok, _ := t.next()
	t.pos = at
	return tok
}

// is takes the next token when it is text.
func (t *stixTokens) is(text string) bool {
	if tok := t.peek(); tok.kind != 's' && tok.kind != 0 && tok.text == text {
		_, _ = t.next()
		return true
	}
	return false
}

func (t *stixTokens) want(text string) error {
	if t.is(text) {
		return nil
	}
	return fmt.Errorf("%q is missing before %q", text, printable(t.peek().text, 40))
}

// parsePattern reads a STIX pattern into its options. What ties observations in
// time cannot be an indicator, and is refused by name.
func parsePattern(s string) ([]option, error) {
	if len(s) > maxPattern {
		return nil, fmt.Errorf("a pattern longer than %d bytes", maxPattern)
	}
	t := &stixTokens{s: s}
	out, err := t.choice(t.observation)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	if tok, err := t.next(); err != nil || tok.kind != 0 {
		return nil, fmt.Errorf("pattern: %w", unexpected(tok, err))
	}
	return out, nil
}

func unexpected(tok stixToken, err error) error {
	switch tok.text {
	case "FOLLOWEDBY":
		return fmt.Errorf("FOLLOWEDBY is not supported: correlate in the SIEM")
	case "WITHIN", "REPEATS", "START":
		return fmt.Errorf("qualifier %s is not supported: correlate in the SIEM", tok.text)
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("unexpected %q", printable(tok.text, 40))
}

// choice reads parts joined by AND, and those joined by OR.
func (t *stixTokens) choice(part func() ([]option, error)) ([]option, error) {
	var out []option
	for {
		all, err := part()
		if err != nil {
			return nil, err
		}
		for t.is("AND") {
			more, err := part()
			if err != nil {
				return nil, err
			}
			if all, err = cross(all, more); err != nil {
				return nil, err
			}
		}
		out = append(out, all...)
		if len(out) > maxPatternOptions {
			return nil, fmt.Errorf("more than %d values", maxPatternOptions)
		}
		if !t.is("OR") {
			return out, nil
		}
	}
}

func cross(a, b []option) ([]option, error) {
	if len(a)*len(b) > maxPatternOptions {
		return nil, fmt.Errorf("more than %d combinations", maxPatternOptions)
	}
	out := make([]option, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			if len(x)+len(y) > maxPatternOptions {
				return nil, fmt.Errorf("more than %d comparisons together", maxPatternOptions)
			}
			out = append(out, append(append(option{}, x...), y...))
		}
	}
	return out, nil
}

func (t *stixTokens) nested(open, end string, part func() ([]option, error)) ([]option, error) {
	if err := t.want(open); err != nil {
		return nil, err
	}
	if t.depth++; t.depth > maxPatternDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxPatternDepth)
	}
	defer func() { t.depth-- }()
	out, err := t.choice(part)
	if err != nil {
		return nil, err
	}
	if !t.is(end) {
		tok, err := t.next()
		return nil, unexpected(tok, err)
	}
	return out, nil
}

// observation reads "[ ... ]" or "( ... )", and refuses qualifiers after it.
func (t *stixTokens) observation() ([]option, error) {
	var out []option
	var err error
	if t.peek().text == "(" {
		out, err = t.nested("(", ")", t.observation)
	} else {
		out, err = t.nested("[", "]", t.test)
	}
	if err != nil {
		return nil, err
	}
	switch tok := t.peek(); tok.text {
	case "WITHIN", "REPEATS", "START", "FOLLOWEDBY":
		return nil, unexpected(tok, nil)
	}
	return out, nil
}

func (t *stixTokens) test() ([]option, error) {
	if t.peek().text == "(" {
		return t.nested("(", ")", t.test)
	}
	c := comparison{not: t.is("NOT")}
	var err error
	if t.is("EXISTS") {
		c.op = "EXISTS"
		c.path, err = t.path()
		return []option{{c}}, err
	}
	if c.path, err = t.path(); err != nil {
		return nil, err
	}
	c.not = c.not || t.is("NOT")
	tok, err := t.next()
	if err != nil {
		return nil, err
	}
	switch tok.text {
	case "=", "==":
		c.op = "="
	case "!=", "<>":
		c.op = "!="
	case "<", ">", "<=", ">=", "IN", "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET":
		c.op = tok.text
	default:
		return nil, fmt.Errorf("%q is no comparison operator", printable(tok.text, 40))
	}
	c.literal, err = t.literals(c.op == "IN")
	return []option{{c}}, err
}

func (t *stixTokens) literals(set bool) ([]string, error) {
	if !set {
		l, err := t.literal()
		return []string{l}, err
	}
	if err := t.want("("); err != nil {
		return nil, err
	}
	var out []string
	for !t.is(")") {
		if len(out) > 0 {
			if err := t.want(","); err != nil {
				return nil, err
			}
		}
		l, err := t.literal()
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func (t *stixTokens) literal() (string, error) {
	tok, err := t.next()
	if err != nil {
		return "", err
	}
	if tok.kind != 's' && tok.kind != 'w' {
		return "", fmt.Errorf("%q stands where a value should", printable(tok.text, 40))
	}
	if tok.kind == 'w' && t.is(".") { // a float
		frac, err := t.next()
		return tok.text + "." + frac.text, err
	}
	return tok.text, nil
}

// path reads an object path and writes it without quotes.
func (t *stixTokens) path() (string, error) {
	object, err := t.next()
	if err != nil || object.kind != 'w' {
		return "", fmt.Errorf("%q is no object", printable(object.text, 40))
	}
	if err := t.want(":"); err != nil {
		return "", err
	}
	out := object.text + ":"
	for {
		tok, err := t.next()
		if err != nil {
			return "", err
		}
		if tok.kind != 'w' && tok.kind != 's' {
			return "", fmt.Errorf("%q stands where a property should", printable(tok.text, 40))
		}
		out += tok.text
		for t.is("[") {
			index, err := t.next()
			if err != nil {
				return "", err
			}
			if err := t.want("]"); err != nil {
				return "", err
			}
			out += "[" + index.text + "]"
		}
		if !t.is(".") {
			return out, nil
		}
		out += "."
	}
}

package sigma

import (
	"net/netip"
	"regexp"
	"strings"
)

// predicate is what one value of a rule asks of one value of an event.
type predicate interface {
	match(ev Event, v Value) bool
}

// anyText runs f over the texts of a value: over each element of a list.
func anyText(v Value, f func(string) bool) bool {
	switch v.Kind {
	case Null:
		return false
	case List:
		for _, s := range v.List {
			if f(s) {
				return true
			}
		}
		return false
	}
	return f(v.String())
}

// textTest compares with a pattern. A pattern that is an address compares as
// one, so that every way to write an IPv6 address means the same.
type textTest struct {
	pattern pattern
	addr    netip.Addr
}

func newTextTest(elems []elem, cased bool) *textTest {
	t := &textTest{pattern: compilePattern(elems, cased)}
	if s, ok := plain(elems); ok {
		if a, err := netip.ParseAddr(s); err == nil {
			t.addr = a.Unmap()
		}
	}
	return t
}

func (t *textTest) match(_ Event, v Value) bool {
	switch v.Kind {
	case Text:
		return t.pattern.match(v.Text)
	case IP:
		if t.addr.IsValid() {
			return v.Addr == t.addr
		}
	}
	return anyText(v, t.pattern.match)
}

// regexTest searches: an expression is not anchored unless it says so.
type regexTest struct{ re *regexp.Regexp }

func (t *regexTest) match(_ Event, v Value) bool { return anyText(v, t.re.MatchString) }

// cidrTest asks for an address in a prefix, in texts too.
type cidrTest struct{ prefix netip.Prefix }

func (t *cidrTest) match(_ Event, v Value) bool {
	if v.Kind == IP {
		return t.prefix.Contains(v.Addr)
	}
	return anyText(v, func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && t.prefix.Contains(a.Unmap())
	})
}

// numberTest is a number as it stands in a rule, without a modifier.
type numberTest struct {
	num  float64
	text string // as written, for events that hold the number as text
}

func (t *numberTest) match(_ Event, v Value) bool {
	if v.Kind == Number {
		return v.Num == t.num
	}
	return anyText(v, func(s string) bool { return s == t.text })
}

// compareTest is gt, gte, lt, lte: of numbers only.
type compareTest struct {
	op  string
	num float64
}

func (t *compareTest) match(_ Event, v Value) bool {
	if v.Kind != Number {
		return false
	}
	switch t.op {
	case "gt":
		return v.Num > t.num
	case "gte":
		return v.Num >= t.num
	case "lt":
		return v.Num < t.num
	}
	return v.Num <= t.num
}

type boolTest struct{ want bool }

func (t *boolTest) match(_ Event, v Value) bool {
	if v.Kind == Bool {
		return v.Bool == t.want
	}
	want := "false"
	if t.want {
		want = "true"
	}
	return anyText(v, func(s string) bool { return s == want })
}

// refTest compares with another field of the same event.
type refTest struct {
	field string
	cased bool
}

func (t *refTest) match(ev Event, v Value) bool {
	other, ok := ev.Field(t.field)
	if !ok {
		return false
	}
	return anyText(v, func(a string) bool {
		return anyText(other, func(b string) bool {
			if t.cased {
				return a == b
			}
			return strings.EqualFold(a, b)
		})
	})
}

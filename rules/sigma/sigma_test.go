package sigma

import (
	"errors"
	"iter"
	"net/netip"
	"strings"
	"testing"
)

// fakeEvent is an event from a map.
type fakeEvent map[string]Value

func (e fakeEvent) Field(name string) (Value, bool) { v, ok := e[name]; return v, ok }

func (e fakeEvent) Keywords() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, v := range e {
			for _, s := range append([]string{v.String()}, v.List...) {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// ruleOf wraps a detection, indented by four, into a whole rule. The detection
// begins on line 3.
func ruleOf(detection string) []byte {
	return []byte("title: t\ndetection:\n" + detection + "\nlogsource: {category: network_connection}\n")
}

func mustParse(t *testing.T, p Parser, detection string) *Rule {
	t.Helper()
	r, err := p.Parse("r.yml", ruleOf(detection))
	if err != nil {
		t.Fatalf("%s: %v", detection, err)
	}
	return r
}

func TestConditions(t *testing.T) {
	ev := fakeEvent{"yes": TextValue("1")}
	base := `    y1: {yes: '1'}
    y2: {yes: '1'}
    n1: {yes: '0'}
    n2: {yes: '0'}
    _hidden: {yes: '0'}
    condition: `
	for _, tt := range []struct {
		condition string
		want      bool
	}{
		{"y1", true},
		{"n1", false},
		{"y1 and n1", false},
		{"y1 or n1", true},
		{"not n1", true},
		{"not not y1", true},
		{"n1 and n2 or y1", true},
		{"n1 and (n2 or y1)", false},
		{"y1 or y2 and n1", true},
		{"(y1 or y2) and n1", false},
		{"not n1 and y1", true},
		{"not (n1 or y1)", false},
		{"not n1 or n2 and n1", true},
		{"1 of y*", true},
		{"1 of n*", false},
		{"all of y*", true},
		{"all of *1", false},
		{"1 of *1", true},
		{"1 of them", true},
		{"all of them", false},
		{"not 1 of n*", true},
		{"y1 and not 1 of n*", true},
		{"1 of _*", false},
		{"1 of y1", true},
		{"y1 AND NOT n1", true},
		{"(y1)and(y2)", true},
		{"[n1, y1]", true},
		{"[n1, n2]", false},
	} {
		t.Run(tt.condition, func(t *testing.T) {
			r, err := Parse("r.yml", ruleOf(base+tt.condition))
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Match(ev); got != tt.want {
				t.Errorf("match %v, want %v", got, tt.want)
			}
		})
	}
}

func TestThemLeavesOutUnderscore(t *testing.T) {
	r := mustParse(t, Parser{}, "    a: {f: x}\n    _b: {f: y}\n    condition: all of them")
	if !r.Match(fakeEvent{"f": TextValue("x")}) {
		t.Error("all of them asked for _b")
	}
}

func TestItems(t *testing.T) {
	ev := fakeEvent{
		"text":  TextValue(`C:\Windows\System32\Cmd.exe -x`),
		"plain": TextValue("Grüße*?"),
		"empty": TextValue(""),
		"null":  {},
		"num":   NumberValue(4444),
		"frac":  NumberValue(1.5),
		"bool":  BoolValue(true),
		"ip":    IPValue(netip.MustParseAddr("::ffff:192.0.2.7")),
		"ip6":   IPValue(netip.MustParseAddr("2001:db8::1")),
		"iptxt": TextValue("192.0.2.9"),
		"list":  ListValue([]string{"a.example", "www.example.org"}),
		"same":  TextValue("GRÜSSE"),
		"low":   TextValue("grüsse"),
		"lines": TextValue("one\ntwo"),
		"slash": TextValue(`a\*b`),
	}
	for _, tt := range []struct {
		item string
		want bool
	}{
		// text, wildcards, escaping
		{`text: 'c:\windows\system32\cmd.exe -x'`, true},
		{`text: 'c:\windows\system32\cmd.exe'`, false},
		{`text: '*\cmd.exe*'`, true},
		{`text: '*\\cmd.exe*'`, true},
		{`text: 'c:\*\cmd.ex? -x'`, false}, // the backslash makes the star plain
		{`text: 'c:\\*\cmd.ex? -x'`, true},
		{`text: 'c:*?'`, true},
		{`text: '*-x?'`, false},
		{`plain: 'grüße\*\?'`, true},
		{`plain: 'grüße\*\*'`, false},
		{`plain: 'GRÜSSE*'`, false},
		{`plain: 'gr??e??'`, true},
		{`plain|contains: 'ÜSS'`, false},
		{`plain|contains: 'ÜßE'`, true},
		{`slash: 'a\\\*b'`, true},
		{`slash: 'a\\*'`, true},
		{`slash: 'a\*b'`, false},
		{`empty: ''`, true},
		{`text: ''`, false},
		{`gone: ''`, false},
		// null and exists
		{`null: null`, true},
		{`gone: null`, true},
		{`empty: null`, false},
		{`text|neq: null`, true},
		{`null|exists: true`, true},
		{`gone|exists: true`, false},
		{`gone|exists: false`, true},
		// lists and places
		{`text|startswith: 'c:\WIN'`, true},
		{`text|endswith: ['.dll', '.EXE -X']`, true},
		{`text|contains|all: [windows, cmd]`, true},
		{`text|contains|all: [windows, powershell]`, false},
		{`text|contains: 'sys*32\cmd'`, true},
		{`list: a.example`, true},
		{`list|endswith: .example.org`, true},
		{`list|startswith: example`, false},
		// cased
		{`text|contains|cased: 'Cmd'`, true},
		{`text|contains|cased: 'cmd'`, false},
		{`same|cased: 'GRÜSSE'`, true},
		{`same|cased: 'Grüsse'`, false},
		{`same: 'grüsse'`, true},
		// regular expressions
		{`text|re: 'System\d+'`, true},
		{`text|re: 'system\d+'`, false},
		{`text|re|i: 'system\d+'`, true},
		{`text|re: '^System'`, false},
		{`lines|re: '^two$'`, false},
		{`lines|re|m: '^two$'`, true},
		{`lines|re: 'one.two'`, false},
		{`lines|re|s: 'one.two'`, true},
		{`lines|re|i|s|m: 'ONE.TWO'`, true},
		{`list|re: '^www\.'`, true},
		// addresses
		{`ip|cidr: 192.0.2.0/24`, true},
		{`ip|cidr: [198.51.100.0/24, 192.0.2.1/24]`, true},
		{`ip6|cidr: '2001:db8::/32'`, true},
		{`ip6|cidr: 192.0.2.0/24`, false},
		{`iptxt|cidr: 192.0.2.8/29`, true},
		{`text|cidr: 192.0.2.0/24`, false},
		{`ip: 192.0.2.7`, true},
		{`ip6: '2001:0db8:0::1'`, true},
		{`ip|startswith: '192.0.2.'`, true},
		{`ip|neq: 192.0.2.7`, false},
		// numbers and booleans
		{`num: 4444`, true},
		{`num: '4444'`, true},
		{`num: [1, 4444]`, true},
		{`num: 4445`, false},
		{`frac: 1.5`, true},
		{`num|gt: 4443`, true},
		{`num|gt: 4444`, false},
		{`num|gte: 4444`, true},
		{`num|lt: 4444`, false},
		{`num|lte: 4444`, true},
		{`num|neq: 4444`, false},
		{`num|neq: [1, 2]`, true},
		{`num|startswith: 44`, true},
		{`text|gt: 1`, false},
		{`bool: 'true'`, true},
		{`bool: true`, true},
		{`bool: 'False'`, false},
		// neq is the negation of the whole
		{`text|contains|neq: cmd`, false},
		{`text|contains|neq: [a9, b9]`, true},
		{`gone|neq: x`, true},
		// fieldref
		{`same|fieldref: low`, true},
		{`same|fieldref|cased: low`, false},
		{`same|fieldref|neq: text`, true},
		{`same|fieldref: gone`, false},
		// maps are joined with and
		{`{num: 4444, bool: true}`, true},
		{`{num: 4444, bool: false}`, false},
	} {
		t.Run(tt.item, func(t *testing.T) {
			item := tt.item
			if !strings.HasPrefix(item, "{") {
				item = "\n        " + item
			}
			r := mustParse(t, Parser{}, "    s: "+item+"\n    condition: s")
			if got := r.Match(ev); got != tt.want {
				t.Errorf("match %v, want %v", got, tt.want)
			}
		})
	}
}

func TestListsAndKeywords(t *testing.T) {
	ev := fakeEvent{"cmd": TextValue("svchost -n Evil"), "n": NumberValue(7)}
	for _, tt := range []struct {
		item string
		want bool
	}{
		{"[{cmd|endswith: nothing}, {n: 7}]", true},
		{"[{cmd|endswith: nothing}, {n: 8}]", false},
		{"[evil]", true},
		{"['svchost*evil']", true},
		{"[absent, SVCHOST]", true},
		{"[absent]", false},
		{"[absent, {n: 7}]", true},
		{"{'|all': [svchost, evil]}", true},
		{"{'|all': [svchost, absent]}", false},
		{"{'|re': ['-n [A-Z]']}", true},
		{"{'|cased': ['evil']}", false},
		{"[7]", true},
	} {
		t.Run(tt.item, func(t *testing.T) {
			r := mustParse(t, Parser{}, "    s: "+tt.item+"\n    condition: s")
			if got := r.Match(ev); got != tt.want {
				t.Errorf("match %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPlaceholders(t *testing.T) {
	p := Parser{Placeholders: map[string][]string{"servers": {"srv*", "db1"}, "net": {"192.0.2.0/24"}}}
	ev := fakeEvent{"host": TextValue("SRV9"), "url": TextValue("x/%plain/db1"), "ip": TextValue("192.0.2.1")}
	for _, tt := range []struct {
		item string
		want bool
	}{
		{`host|expand: '%servers%'`, true},
		{`host: '%servers%'`, false},
		{`host|expand: '%servers%x'`, false},
		{`url|expand|endswith: '\%plain/%servers%'`, true},
		{`url|expand|endswith: '\%plane/%servers%'`, false},
		{`ip|cidr|expand: '%net%'`, true},
	} {
		t.Run(tt.item, func(t *testing.T) {
			r := mustParse(t, p, "    s:\n        "+tt.item+"\n    condition: s")
			if got := r.Match(ev); got != tt.want {
				t.Errorf("match %v, want %v", got, tt.want)
			}
		})
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	r := mustParse(t, Parser{}, `    s:
        host|endswith: ['.example', '.invalid']
        port: [1, 2, 3]
    f:
        ip|cidr: 10.0.0.0/8
    condition: s and not f`)
	var ev Event = fakeEvent{
		"host": ListValue([]string{"www.test", "www.example"}), "port": NumberValue(3),
		"ip": IPValue(netip.MustParseAddr("192.0.2.1")),
	}
	if !r.Match(ev) {
		t.Fatal("no match")
	}
	if n := testing.AllocsPerRun(100, func() { r.Match(ev) }); n != 0 {
		t.Errorf("%v allocations a match", n)
	}
}

func TestUses(t *testing.T) {
	r := mustParse(t, Parser{}, "    s:\n        a|contains: x\n        b|fieldref: c\n    condition: s")
	want := []FieldUse{{"a", 4}, {"b", 5}, {"c", 5}}
	if len(r.Uses()) != 3 || r.Uses()[0] != want[0] || r.Uses()[1] != want[1] || r.Uses()[2] != want[2] {
		t.Errorf("uses %v, want %v", r.Uses(), want)
	}
}

func TestErrorNamesFileAndLine(t *testing.T) {
	_, err := Parse("a/b.yml", ruleOf("    s:\n        f|wide: x\n    condition: s"))
	var e *Error
	if !errors.As(err, &e) || e.File != "a/b.yml" || e.Line != 4 {
		t.Fatalf("got %v, want a/b.yml line 4", err)
	}
	_, err = Parse("a/b.yml", []byte("title: [\nx: : :"))
	if !errors.As(err, &e) || e.Line == 0 {
		t.Fatalf("got %v, want a line for broken YAML", err)
	}
}

package sigma

import (
	"strings"
	"testing"
)

func TestRefusals(t *testing.T) {
	in := func(item string) string { return string(ruleOf("    s:\n        " + item + "\n    condition: s")) }
	cond := func(c string) string { return string(ruleOf("    s: {f: x}\n    condition: " + c)) }
	head := func(h string) string {
		return h + "\ntitle: t\nlogsource: {}\ndetection: {s: {f: x}, condition: s}\n"
	}
	for _, tt := range []struct{ name, rule, want string }{
		{"correlation", "title: c\ncorrelation:\n    type: event_count\n", "correlation rules are not supported"},
		{"filter", "title: c\nlogsource: {}\nfilter:\n    rules: [x]\n", "Sigma filters are not supported"},
		{"collection", "action: global\ntitle: x\n", "rule collections"},
		{"documents", head("") + "---\n" + head(""), "2 YAML documents"},
		{"empty", "", "0 YAML documents"},
		{"no mapping", "- a\n", "must hold a mapping"},
		{"no title", "logsource: {}\ndetection: {s: {f: x}, condition: s}\n", "title is missing"},
		{"no logsource", "title: t\ndetection: {s: {f: x}, condition: s}\n", "logsource is missing"},
		{"no detection", "title: t\nlogsource: {}\n", "detection is missing"},
		{"no condition", "title: t\nlogsource: {}\ndetection: {s: {f: x}}\n", "no condition"},
		{"twice", head("title: a"), "already defined"},
		{"taxonomy", head("taxonomy: ecs"), `taxonomy "ecs" is not supported`},
		{"status", head("status: great"), "must be one of stable"},
		{"level", head("level: severe"), "must be one of informational"},
		{"id", head("id: 7"), "id must be a string"},
		{"id form", head("id: abc"), "must be a UUID"},
		{"date", head("date: 2024-13-01"), "must be YYYY-MM-DD"},
		{"tags", head("tags: [Attack.T1]"), "has not the form"},
		{"tags twice", head("tags: [a.b, a.b]"), "twice"},
		{"related", head("related: [{id: x, type: y}]"), "related must hold"},
		{"logsource key", "title: t\nlogsource: {brand: x}\ndetection: {s: {f: x}, condition: s}\n", `"brand" is not supported`},
		{"timeframe", string(ruleOf("    s: {f: x}\n    timeframe: 5m\n    condition: s")), "timeframe is not supported"},
		{"aggregation", cond("s | count() > 5"), "aggregation"},
		{"near", cond("near s and s"), `"near" is not supported`},
		{"2 of", cond("2 of s*"), `"2 of" is not supported`},
		{"any of", cond("any of them"), `"any of" is not supported`},
		{"of nothing", cond("1 of x*"), "no search identifier fits"},
		{"unknown", cond("s and other"), `names "other"`},
		{"case", cond("S"), `names "S"`},
		{"open", cond("(s"), "not closed"},
		{"closed", cond("s)"), `unexpected ")"`},
		{"dangling", cond("s and"), "ends where"},
		{"two", cond("s s"), `unexpected "s"`},
		{"deep", cond(strings.Repeat("(", 100) + "s" + strings.Repeat(")", 100)), "deeper than 64"},
		{"nots", cond(strings.Repeat("not ", 100) + "s"), "deeper than 64"},
		{"unknown modifier", in("f|foo: x"), `"foo" is unknown`},
		{"re order", in("f|i|re: x"), `"i" needs re before it`},
		{"two places", in("f|contains|endswith: x"), "contradict each other"},
		{"re contains", in("f|re|contains: x"), "contradict each other"},
		{"twice modifier", in("f|all|all: [x, y]"), "stands twice"},
		{"cased cidr", in("f|cidr|cased: 10.0.0.0/8"), `"cased" does not go with "cidr"`},
		{"all neq", in("f|all|neq: [a, b]"), "ambiguous"},
		{"all one", in("f|contains|all: x"), "at least two"},
		{"cidr", in("f|cidr: 10.0.0.0"), "cidr takes a prefix"},
		{"gt", in("f|gt: ten"), "gt takes a number"},
		{"gt text", in("f|gt: '10'"), "gt takes a number"},
		{"exists", in("f|exists: 'yes'"), "exists takes true or false"},
		{"null in list", in("f: [a, null]"), "null must not stand in a list"},
		{"null modified", in("f|contains: null"), "null takes no modifier"},
		{"look-around", in("f|re: '(?=x)y'"), "regular expression"},
		{"back-reference", in(`f|re: '(x)\1'`), "regular expression"},
		{"empty list", in("f: []"), "must not be empty"},
		{"map value", in("f: {a: b}"), "must be a string"},
		{"placeholder", in("f|expand: '%gone%'"), "has no values"},
		{"lone percent", in("f|expand: '100% sure'"), "neither begins nor ends"},
		{"anchor", in("f: &a x"), "must be a string, a number or a boolean"},
		{"alias", "title: t\nx: &a [1]\ny: *a\nlogsource: {}\ndetection: {s: {f: x}, condition: s}\n", "anchors"},
		{"scalar identifier", string(ruleOf("    s: x\n    condition: s")), "must hold a map or a list"},
		{"keyword modifier", string(ruleOf("    s: {'|endswith': [x]}\n    condition: s")), "keywords take no modifier"},
		{"flow bomb", strings.Repeat("[", 5000), "nested too deep"},
		{"dash bomb", strings.Repeat("- ", 5000), "nested too deep"},
		{"size", strings.Repeat("#", maxFile+1), "larger than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("r.yml", []byte(tt.rule))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "r.yml:") {
				t.Errorf("got %v, want r.yml: ... %s", err, tt.want)
			}
		})
	}
	for _, m := range RefusedModifiers {
		t.Run(m, func(t *testing.T) {
			_, err := Parse("r.yml", []byte(in("f|"+m+": x")))
			if want := `modifier "` + m + `" is not supported`; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(ruleOf("    s:\n        f|contains|all: [x, 'y*\\?']\n    k: [a, {b|re|i: '^c'}]\n    condition: 1 of s* and not (k or all of them)")), "text", 7.0)
	f.Add(string(ruleOf("    s: {f|cidr: 10.0.0.0/8, g|gt: 3, h: null, i|exists: true, j|fieldref|neq: f}\n    condition: s")), "10.0.0.1", 4.0)
	f.Add("title: [x", "", 0.0)
	f.Fuzz(func(t *testing.T, rule, text string, num float64) {
		r, err := Parse("r.yml", []byte(rule))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "r.yml") {
				t.Fatalf("error without its file: %v", err)
			}
			return
		}
		ev := fakeEvent{"f": TextValue(text), "g": NumberValue(num), "b": ListValue([]string{text, "c"})}
		if r.Match(ev) != r.Match(ev) {
			t.Fatal("a rule must not change its mind")
		}
	})
}

package sigma

import (
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

var (
	uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	dateForm = regexp.MustCompile(`^\d{4}-(0[1-9]|1[012])-(0[1-9]|[12][0-9]|3[01])$`)
	tagForm  = regexp.MustCompile(`^[a-z0-9_-]+\.[a-z0-9._-]+$`)

	statuses = []string{"stable", "test", "experimental", "deprecated", "unsupported"}
	levels   = []string{"informational", "low", "medium", "high", "critical"}
	relates  = []string{"derived", "obsolete", "merged", "renamed", "similar"}
)

// attributes are those of the specification: what each may hold, and where it
// goes.
var attributes = map[string]func(*reader, *Rule, pair) error{
	"title":          bounded(256, func(u *Rule) *string { return &u.Title }),
	"id":             formed(uuidForm, "a UUID", func(u *Rule) *string { return &u.ID }),
	"name":           bounded(256, func(u *Rule) *string { return &u.Name }),
	"related":        related,
	"taxonomy":       taxonomy,
	"status":         oneOf(statuses, func(u *Rule) *string { return &u.Status }),
	"description":    bounded(65535, func(u *Rule) *string { return &u.Description }),
	"license":        bounded(256, func(u *Rule) *string { return &u.License }),
	"author":         bounded(65535, func(u *Rule) *string { return &u.Author }),
	"references":     list(nil, func(u *Rule) *[]string { return &u.References }),
	"date":           formed(dateForm, "YYYY-MM-DD", func(u *Rule) *string { return &u.Date }),
	"modified":       formed(dateForm, "YYYY-MM-DD", func(u *Rule) *string { return &u.Modified }),
	"logsource":      logSource,
	"detection":      detection,
	"fields":         list(nil, func(u *Rule) *[]string { return &u.FieldsToShow }),
	"falsepositives": list(atLeastTwo, func(u *Rule) *[]string { return &u.FalsePositives }),
	"level":          oneOf(levels, func(u *Rule) *string { return &u.Level }),
	"tags":           list(tagForm.MatchString, func(u *Rule) *[]string { return &u.Tags }),
	"scope":          list(atLeastTwo, func(u *Rule) *[]string { return &u.Scope }),
}

func atLeastTwo(s string) bool { return len(s) >= 2 }

func bounded(limit int, to func(*Rule) *string) func(*reader, *Rule, pair) error {
	return func(r *reader, rule *Rule, p pair) error {
		s, err := r.text(p)
		if err != nil {
			return err
		}
		if s == "" || len(s) > limit {
			return r.errorf(p.node, "%s must hold 1 to %d characters", p.key, limit)
		}
		*to(rule) = s
		return nil
	}
}

func formed(form *regexp.Regexp, words string, to func(*Rule) *string) func(*reader, *Rule, pair) error {
	return func(r *reader, rule *Rule, p pair) error {
		s, err := r.text(p)
		if err != nil {
			return err
		}
		if !form.MatchString(s) {
			return r.errorf(p.node, "%s %q must be %s", p.key, s, words)
		}
		*to(rule) = s
		return nil
	}
}

func oneOf(values []string, to func(*Rule) *string) func(*reader, *Rule, pair) error {
	return func(r *reader, rule *Rule, p pair) error {
		s, err := r.text(p)
		if err != nil {
			return err
		}
		if !slices.Contains(values, s) {
			return r.errorf(p.node, "%s %q must be one of %s", p.key, s, strings.Join(values, ", "))
		}
		*to(rule) = s
		return nil
	}
}

func list(fits func(string) bool, to func(*Rule) *[]string) func(*reader, *Rule, pair) error {
	return func(r *reader, rule *Rule, p pair) error {
		l, err := r.texts(p)
		if err != nil {
			return err
		}
		for _, s := range l {
			if fits != nil && !fits(s) {
				return r.errorf(p.node, "%s: %q has not the form the specification asks for", p.key, s)
			}
		}
		*to(rule) = l
		return nil
	}
}

func taxonomy(r *reader, _ *Rule, p pair) error {
	s, err := r.text(p)
	if err != nil {
		return err
	}
	if s != "sigma" {
		return r.errorf(p.node, "taxonomy %q is not supported, only \"sigma\"", s)
	}
	return nil
}

func related(r *reader, rule *Rule, p pair) error {
	seq, ok := p.value.(*ast.SequenceNode)
	if !ok {
		return r.errorf(p.node, "related must be a list: write each behind a dash, with id and type")
	}
	for _, v := range seq.Values {
		m, ok := v.(ast.MapNode)
		if !ok {
			return r.errorf(v, "each of related must hold id and type")
		}
		rel, err := r.relation(m)
		if err != nil {
			return err
		}
		if !uuidForm.MatchString(rel.ID) || !slices.Contains(relates, rel.Type) {
			return r.errorf(v, "related must hold the id of a rule and a type of %s", strings.Join(relates, ", "))
		}
		rule.Related = append(rule.Related, rel)
	}
	return nil
}

func (r *reader) relation(m ast.MapNode) (Related, error) {
	var rel Related
	err := r.strings(m, "related", map[string]*string{"id": &rel.ID, "type": &rel.Type})
	return rel, err
}

func logSource(r *reader, rule *Rule, p pair) error {
	m, ok := p.value.(ast.MapNode)
	if !ok {
		return r.errorf(p.node, "logsource must be a mapping: of category, product and service")
	}
	l := &rule.LogSource
	return r.strings(m, "logsource", map[string]*string{
		"category": &l.Category, "product": &l.Product, "service": &l.Service, "definition": &l.Definition,
	})
}

// strings reads a mapping of strings. Further keys are allowed by the
// specification in a log source, but would say something this package cannot heed.
func (r *reader) strings(m ast.MapNode, name string, to map[string]*string) error {
	pairs, err := r.pairs(m)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		dst, ok := to[p.key]
		if !ok {
			return r.errorf(p.node, "%s: %q is not supported", name, p.key)
		}
		if *dst, err = r.text(p); err != nil {
			return err
		}
	}
	return nil
}

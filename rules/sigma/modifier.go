package sigma

import (
	"fmt"
	"slices"
	"strings"
)

// modifiers are those of one key, checked to make sense together.
type modifiers struct {
	names    []string
	place    string // "contains", "startswith", "endswith"
	compare  string // "gt", "gte", "lt", "lte"
	flags    string // of re
	all      bool
	cased    bool
	cidr     bool
	exists   bool
	expand   bool
	fieldref bool
	neq      bool
	re       bool
}

// RefusedModifiers are those of the specification that this package does not
// support, by name.
var RefusedModifiers = []string{
	"base64", "base64offset", "day", "hour", "minute", "month", "utf16", "utf16be", "utf16le", "week", "wide", "windash", "year",
}

// kinds are the modifiers that say what a value is. Two of them contradict each
// other.
var kinds = []string{
	"cidr", "contains", "endswith", "exists", "fieldref", "gt", "gte", "lt", "lte", "re", "startswith",
}

// companions are what each kind goes with.
var companions = map[string][]string{
	"cidr":       {"neq", "expand"},
	"contains":   {"all", "cased", "expand", "neq"},
	"endswith":   {"all", "cased", "expand", "neq"},
	"startswith": {"all", "cased", "expand", "neq"},
	"exists":     {},
	"fieldref":   {"neq", "cased", "all"},
	"gt":         {"all"},
	"gte":        {"all"},
	"lt":         {"all"},
	"lte":        {"all"},
	"re":         {"all", "i", "m", "neq", "s"},
	"":           {"all", "cased", "expand", "neq"},
}

// parseModifiers splits a key at its bars and checks the modifiers.
func parseModifiers(key string) (string, modifiers, error) {
	parts := strings.Split(key, "|")
	m := modifiers{names: parts[1:]}
	kind := ""
	for i, name := range m.names {
		if slices.Contains(m.names[:i], name) {
			return "", m, fmt.Errorf("%s: modifier %q stands twice", key, name)
		}
		if slices.Contains(kinds, name) {
			if kind != "" {
				return "", m, fmt.Errorf("%s: modifiers %q and %q contradict each other", key, kind, name)
			}
			kind = name
		}
		if err := m.set(name); err != nil {
			return "", m, fmt.Errorf("%s: %w", key, err)
		}
	}
	for _, name := range m.names {
		if name != kind && !slices.Contains(companions[kind], name) {
			if kind == "" {
				return "", m, fmt.Errorf("%s: modifier %q needs re before it", key, name)
			}
			return "", m, fmt.Errorf("%s: modifier %q does not go with %q", key, name, kind)
		}
	}
	if m.all && m.neq {
		return "", m, fmt.Errorf("%s: modifiers all and neq together are ambiguous: negate in the condition", key)
	}
	return parts[0], m, nil
}

func (m *modifiers) set(name string) error {
	switch name {
	case "contains", "startswith", "endswith":
		m.place = name
	case "gt", "gte", "lt", "lte":
		m.compare = name
	case "i", "m", "s":
		if !m.re {
			return fmt.Errorf("modifier %q needs re before it", name)
		}
		m.flags += name
	case "all":
		m.all = true
	case "cased":
		m.cased = true
	case "cidr":
		m.cidr = true
	case "exists":
		m.exists = true
	case "expand":
		m.expand = true
	case "fieldref":
		m.fieldref = true
	case "neq":
		m.neq = true
	case "re":
		m.re = true
	default:
		if slices.Contains(RefusedModifiers, name) {
			return fmt.Errorf("modifier %q is not supported", name)
		}
		return fmt.Errorf("modifier %q is unknown", name)
	}
	return nil
}

// only reports whether no other modifiers stand than these.
func (m *modifiers) only(names ...string) bool {
	for _, n := range m.names {
		if !slices.Contains(names, n) {
			return false
		}
	}
	return true
}

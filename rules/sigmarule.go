package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"

	"sallyport/rules/detections"
	"sallyport/rules/sigma"
)

// SigmaRule is a detection written as a Sigma rule.
type SigmaRule struct {
	*sigma.Rule
	// Enabled is false for a rule that ships switched off, and for a deprecated
	// one. The configuration can switch it on by its id.
	Enabled bool

	class    Class
	digest   string // SHA-256 of the file
	fallback bool
	fits     func(*Observation) bool
	events   sync.Pool // of *event: a rule is asked about every flow
}

var _ Detection = (*SigmaRule)(nil)

// ParseSigmaRule reads a Sigma rule and checks that it can fire here: its log
// source is one that observations stand for, and it asks for fields of the field
// table only. The rule's own attribute "sallyport" may hold enabled, class and
// fallback. Errors name file and line.
func ParseSigmaRule(file string, data []byte, placeholders map[string][]string) (*SigmaRule, error) {
	r, err := sigma.Parser{Placeholders: placeholders}.Parse(file, data)
	if err != nil {
		return nil, err
	}
	source, err := findLogSource(r.LogSource)
	if err != nil {
		return nil, &sigma.Error{File: file, Line: r.Lines["logsource"], Message: err.Error()}
	}
	for _, u := range r.Uses() {
		if _, ok := FieldByName(u.Name); !ok {
			return nil, &sigma.Error{File: file, Line: u.Line, Message: fmt.Sprintf("field %q is not in the field table; docs/fields.md lists the fields", u.Name)}
		}
	}
	if r.Status == "unsupported" {
		return nil, &sigma.Error{File: file, Line: r.Lines["status"], Message: "status unsupported: its author says it cannot be used in its current state"}
	}
	s := &SigmaRule{Rule: r, Enabled: r.Status != "deprecated", class: ClassContact, fits: source.fits}
	sum := sha256.Sum256(data)
	s.digest = hex.EncodeToString(sum[:])
	if err := s.readOwn(r.Custom["sallyport"]); err != nil {
		return nil, &sigma.Error{File: file, Line: r.Lines["sallyport"], Message: err.Error()}
	}
	return s, nil
}

// readOwn reads the attribute "sallyport", strictly.
func (s *SigmaRule) readOwn(attribute any) error {
	if attribute == nil {
		return nil
	}
	m, ok := attribute.(map[string]any)
	if !ok {
		return fmt.Errorf("sallyport must be a mapping of enabled, class and fallback")
	}
	for key, value := range m {
		switch key {
		case "enabled":
			s.Enabled, ok = value.(bool)
		case "fallback":
			s.fallback, ok = value.(bool)
		case "class":
			var name string
			name, _ = value.(string)
			s.class, ok = Class(name), slices.Contains(classes, Class(name))
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("sallyport: %s: %v is not supported; use enabled and fallback (true or false) and class (one of %v)", key, value, classes)
		}
	}
	return nil
}

var classes = []Class{ClassRemoteDesktop, ClassVPN, ClassRemoteAccess, ClassContact, ClassQuery}

// Detects reports whether the observation, with what it matched, meets the rule.
func (s *SigmaRule) Detects(o *Observation, m []Match) bool {
	if !s.fits(o) {
		return false
	}
	ev, ok := s.events.Get().(*event)
	if !ok {
		ev = new(event)
	}
	ev.o, ev.m = o, m
	met := s.Match(ev)
	ev.o, ev.m = nil, nil
	s.events.Put(ev)
	return met
}

// Ref is what a finding says of the rule.
func (s *SigmaRule) Ref() RuleRef {
	return RuleRef{ID: s.ID, Title: s.Title, Level: s.Level, Tags: s.Tags, Source: s.File}
}

// Class is what kind of contact the rule is about.
func (s *SigmaRule) Class() Class { return s.class }

// Digest is that of the rule's file.
func (s *SigmaRule) Digest() string { return s.digest }

// Fallback rules speak only where no other has.
func (s *SigmaRule) Fallback() bool { return s.fallback }

// ShippedSigmaRules returns the detections that ship with Sallyport, the ones
// switched off included.
func ShippedSigmaRules() ([]*SigmaRule, error) { return LoadSigmaRules(detections.FS, nil) }

// LoadSigmaRules reads every .yml file at the top of a file system, in order of
// name. Ids must be there and differ.
func LoadSigmaRules(fsys fs.FS, placeholders map[string][]string) ([]*SigmaRule, error) {
	names, err := fs.Glob(fsys, "*.yml")
	if err != nil {
		return nil, fmt.Errorf("list detections: %w", err)
	}
	var out []*SigmaRule
	seen := map[string]string{}
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("read detection: %w", err)
		}
		d, err := ParseSigmaRule(path.Base(name), data, placeholders)
		if err != nil {
			return nil, err
		}
		if other, twice := seen[d.ID]; twice || d.ID == "" {
			return nil, &sigma.Error{File: name, Message: fmt.Sprintf("needs an id of its own (%q is also in %q)", d.ID, other)}
		}
		seen[d.ID] = name
		out = append(out, d)
	}
	return out, nil
}

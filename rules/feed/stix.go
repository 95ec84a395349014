package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"sallyport/rules"
)

// stixObject holds the properties of the STIX 2.1 objects we read.
type stixObject struct {
	Type           string   `json:"type"`
	ID             string   `json:"id"`
	SpecVersion    string   `json:"spec_version"`
	Modified       string   `json:"modified"`
	Revoked        bool     `json:"revoked"`
	CreatedBy      string   `json:"created_by_ref"`
	Name           string   `json:"name"`
	Description    string   `json:"description"`
	Confidence     *int     `json:"confidence"`
	Pattern        string   `json:"pattern"`
	PatternType    string   `json:"pattern_type"`
	ValidFrom      string   `json:"valid_from"`
	ValidUntil     string   `json:"valid_until"`
	IndicatorTypes []string `json:"indicator_types"`
	Infrastructure []string `json:"infrastructure_types"`
	ObjectMarkings []string `json:"object_marking_refs"`
	Relationship   string   `json:"relationship_type"`
	SourceRef      string   `json:"source_ref"`
	TargetRef      string   `json:"target_ref"`
	Value          string   `json:"value"`
	FirstSeen      string   `json:"first_seen"`
	LastSeen       string   `json:"last_seen"`
	line           int
}

// readSTIX reads a bundle, from a file or a URL.
func readSTIX(ctx context.Context, j *job) error {
	r, err := j.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read bundle: %w", err)
	}
	objects, err := j.stixObjects(data, "bundle")
	if err != nil {
		return err
	}
	return j.addSTIX(objects)
}

// stixObjects reads the objects of a bundle or of a TAXII envelope. An object
// that cannot be read is rejected; the others stand.
func (j *job) stixObjects(data []byte, kind string) (map[string]*stixObject, error) {
	if kind == "bundle" {
		var top struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(data, &top); err != nil {
			return nil, fmt.Errorf("parse bundle: %w", err)
		}
		if top.Type != "bundle" {
			return nil, fmt.Errorf("not a STIX bundle: its type is %q", printable(top.Type, 60))
		}
	}
	out := map[string]*stixObject{}
	lines := lineCounter{data: data}
	err := eachElement(data, "objects", func(raw json.RawMessage, at int64) error {
		line := lines.at(at)
		var o stixObject
		if err := json.Unmarshal(raw, &o); err != nil {
			j.report.Rows++
			j.reject(line, string(raw), "an object that cannot be read: "+printable(err.Error(), 200))
			return nil
		}
		o.line = line
		if len(out) >= j.req.Limits.Rows {
			return errTooMany
		}
		// Of two versions of an object the one modified last counts (STIX 3.6).
		if old, ok := out[o.ID]; !ok || old.Modified <= o.Modified {
			out[o.ID] = &o
		}
		return nil
	})
	return out, err
}

// eachElement calls do for each element of the array under key in the object
// data holds, with the offset behind it.
func eachElement(data []byte, key string, do func(raw json.RawMessage, at int64) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("parse JSON: %w", err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fmt.Errorf("parse JSON: %w", err)
		}
		if name != key {
			var skip json.RawMessage
			if err := d.Decode(&skip); err != nil {
				return fmt.Errorf("parse JSON: %w", err)
			}
			continue
		}
		open, err := d.Token()
		if err != nil || open != json.Delim('[') {
			return fmt.Errorf("parse JSON: %s is not a list", key)
		}
		for d.More() {
			var raw json.RawMessage
			if err := d.Decode(&raw); err != nil {
				return fmt.Errorf("parse JSON: %w", err)
			}
			if err := do(raw, d.InputOffset()-int64(len(raw))); err != nil {
				return err
			}
		}
		if _, err := d.Token(); err != nil {
			return fmt.Errorf("parse JSON: %w", err)
		}
	}
	return nil
}

// lineCounter turns rising offsets into lines.
type lineCounter struct {
	data []byte
	done int64
	line int
}

func (l *lineCounter) at(offset int64) int {
	offset = min(max(offset, l.done), int64(len(l.data)))
	l.line += bytes.Count(l.data[l.done:offset], []byte("\n"))
	l.done = offset
	return l.line + 1
}

// addSTIX takes indicators, and addresses and names that an infrastructure
// consists of.
func (j *job) addSTIX(objects map[string]*stixObject) error {
	links := stixLinks(objects)
	ordered := make([]*stixObject, 0, len(objects))
	for _, o := range objects {
		ordered = append(ordered, o)
	}
	slices.SortFunc(ordered, func(a, b *stixObject) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, o := range ordered {
		var err error
		switch {
		case o.Type == "indicator":
			err = j.addSTIXIndicator(o, objects, links[o.ID])
		case o.Type == "relationship" && o.Relationship == "consists-of" && !o.Revoked:
			err = j.addSTIXPart(o, objects, links[o.SourceRef])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stixLinks maps an object to what it indicates, is attributed to or belongs to.
func stixLinks(objects map[string]*stixObject) map[string][]*stixObject {
	out := map[string][]*stixObject{}
	for _, r := range objects {
		target := objects[r.TargetRef]
		if r.Type != "relationship" || r.Revoked || target == nil || target.Revoked {
			continue
		}
		switch r.Relationship {
		case "indicates", "attributed-to", "related-to":
			out[r.SourceRef] = append(out[r.SourceRef], target)
		case "uses": // an actor uses an infrastructure
			if actor := objects[r.SourceRef]; actor != nil && !actor.Revoked {
				out[r.TargetRef] = append(out[r.TargetRef], actor)
			}
		}
	}
	for _, l := range out {
		slices.SortFunc(l, func(a, b *stixObject) int { return strings.Compare(a.ID, b.ID) })
	}
	return out
}

func (j *job) addSTIXIndicator(o *stixObject, objects map[string]*stixObject, links []*stixObject) error {
	j.report.Rows++
	switch {
	case o.Revoked:
		j.reject(o.line, o.ID, "revoked by its producer")
		j.withdraw(o.Pattern)
		return nil
	case o.PatternType != "stix" && o.PatternType != "":
		j.reject(o.line, o.ID, fmt.Sprintf("pattern type %q is not supported", printable(o.PatternType, 40)))
		return nil
	}
	options, err := parsePattern(o.Pattern)
	if err != nil {
		j.reject(o.line, o.Pattern, err.Error())
		return nil
	}
	for _, opt := range options {
		values, err := opt.values()
		if err != nil {
			j.reject(o.line, o.Pattern, err.Error())
			continue
		}
		for _, in := range values {
			j.describe(&in, o, objects, links)
			if in.ValidTo.Known() && in.ValidFrom.Known() && in.ValidTo.End().Before(in.ValidFrom.Start()) {
				j.reject(o.line, in.Value, "valid until before it is valid from")
				continue
			}
			if err := j.add(o.line, in.Value, in); err != nil {
				return err
			}
		}
	}
	return nil
}

// withdraw remembers the values of a revoked indicator: an import that only adds
// must take them from what was imported before.
func (j *job) withdraw(pattern string) {
	options, err := parsePattern(pattern)
	if err != nil {
		return
	}
	for _, opt := range options {
		values, err := opt.values()
		if err != nil {
			continue
		}
		for _, in := range values {
			if normal, err := rules.Normal(in.Type, in.Value); err == nil && len(j.withdrawn) < j.req.Limits.Rows {
				j.withdrawn = append(j.withdrawn, Withdrawal{Type: in.Type, Value: normal})
			}
		}
	}
}

// addSTIXPart takes the address or name at the far end of a consists-of.
func (j *job) addSTIXPart(r *stixObject, objects map[string]*stixObject, links []*stixObject) error {
	infra, part := objects[r.SourceRef], objects[r.TargetRef]
	if infra == nil || part == nil || infra.Type != "infrastructure" {
		return nil
	}
	j.report.Rows++
	if infra.Revoked || part.Revoked {
		j.reject(r.line, part.ID, "revoked by its producer")
		return nil
	}
	kind, ok := stixValues[part.Type+":value"]
	if !ok {
		j.reject(r.line, part.ID, "nothing that a flow shows: "+printable(part.Type, 40))
		return nil
	}
	in, err := stixIndicator(kind, part.Value)
	if err != nil {
		j.reject(part.line, part.Value, reason(err))
		return nil
	}
	j.describe(&in, infra, objects, links)
	in.Role = printable(strings.Join(infra.Infrastructure, ", "), 100)
	return j.add(part.line, part.Value, in)
}

// describe adds what the object and its links say. A link to an intrusion set or
// a threat actor names the actor; other links stay in the note.
func (j *job) describe(in *rules.Indicator, o *stixObject, objects map[string]*stixObject, links []*stixObject) {
	if c := o.Confidence; c != nil && in.Confidence == "" {
		in.Confidence = confidence(strconv.Itoa(*c))
	}
	in.ValidFrom, in.ValidTo = date(o.ValidFrom), date(o.ValidUntil)
	in.Role = printable(strings.Join(o.IndicatorTypes, ", "), 100)
	in.TLP = tlpOf(o.ObjectMarkings)
	notes := []string{in.Note, o.Name}
	for _, l := range links {
		if (l.Type == "intrusion-set" || l.Type == "threat-actor") && in.Actor == "" {
			in.Actor = j.actor(l.Name)
			continue
		}
		notes = append(notes, l.Type+" "+l.Name)
	}
	in.Note = strings.Join(slices.DeleteFunc(notes, func(s string) bool { return strings.TrimSpace(s) == "" }), "; ")
	source := j.req.Source.ID
	if by := objects[o.CreatedBy]; by != nil && by.Name != "" {
		source = j.source(rules.Source{Name: by.Name, Date: date(o.Modified), ID: slug(j.req.Source.ID + "-" + by.Name)})
	}
	in.Sources = []rules.Claim{j.claim(source, o.FirstSeen, o.LastSeen)}
	if in.Sources[0] == j.claims[0] {
		in.Sources = nil
	}
}

// tlpOf reads the fixed ids of the TLP marking definitions: STIX 2.1 section
// 7.2.1.4 for TLP 1, OASIS's extension for TLP 2.
func tlpOf(markings []string) string {
	for _, m := range markings {
		switch m {
		case "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9", "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487":
			return "clear"
		case "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb":
			return "green"
		case "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82", "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421":
			return "amber"
		case "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003":
			return "amber+strict"
		case "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed", "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1":
			return "red"
		}
	}
	return ""
}

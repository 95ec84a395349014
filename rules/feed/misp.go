package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"sallyport/rules"
)

// mispEvent holds what we read of a MISP event (draft-10 misp-core-format).
type mispEvent struct {
	UUID       string          `json:"uuid"`
	Info       string          `json:"info"`
	Date       string          `json:"date"`
	Orgc       mispOrg         `json:"Orgc"`
	Attributes []mispAttribute `json:"Attribute"`
	Objects    []mispObject    `json:"Object"`
	Tags       []mispTag       `json:"Tag"`
	Galaxies   []mispGalaxy    `json:"Galaxy"`
}

type mispOrg struct {
	Name string `json:"name"`
}

type mispAttribute struct {
	UUID      string          `json:"uuid"`
	Type      string          `json:"type"`
	ToIDS     json.RawMessage `json:"to_ids"`
	Deleted   json.RawMessage `json:"deleted"`
	Value     string          `json:"value"`
	Comment   string          `json:"comment"`
	FirstSeen string          `json:"first_seen"`
	LastSeen  string          `json:"last_seen"`
	Tags      []mispTag       `json:"Tag"`
	Galaxies  []mispGalaxy    `json:"Galaxy"`
}

type mispObject struct {
	Name       string          `json:"name"`
	Deleted    json.RawMessage `json:"deleted"`
	Attributes []mispAttribute `json:"Attribute"`
}

type mispTag struct {
	Name string `json:"name"`
}

type mispGalaxy struct {
	Type     string `json:"type"`
	Clusters []struct {
		Value string `json:"value"`
	} `json:"GalaxyCluster"`
}

// yes reads MISP's booleans: true, 1, "1".
func yes(raw json.RawMessage) bool {
	s := strings.Trim(string(raw), `"`)
	return s == "true" || s == "1"
}

// readMISP reads an event, a search result of several, or a feed.
func readMISP(ctx context.Context, j *job) error {
	r, err := j.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read MISP document: %w", err)
	}
	if path.Base(strings.TrimSuffix(shown(j.req.From), "/")) == "manifest.json" {
		return j.mispFeed(ctx, data)
	}
	events, err := mispEvents(data)
	if err != nil {
		return err
	}
	for i := range events {
		if err := j.addMISP(&events[i], data); err != nil {
			return err
		}
	}
	return nil
}

// mispEvents unwraps {"Event": ...}, {"response": [{"Event": ...}]} and
// [{"Event": ...}].
func mispEvents(data []byte) ([]mispEvent, error) {
	type wrapped struct {
		Event    *mispEvent      `json:"Event"`
		Response json.RawMessage `json:"response"`
	}
	var one wrapped
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '[' {
		one.Response = data
	} else if err := json.Unmarshal(data, &one); err != nil {
		return nil, fmt.Errorf("parse MISP event: %w", err)
	}
	if one.Event != nil {
		return []mispEvent{*one.Event}, nil
	}
	var many []wrapped
	if one.Response == nil || json.Unmarshal(one.Response, &many) != nil {
		return nil, errors.New("not a MISP event: the document holds no Event")
	}
	var out []mispEvent
	for _, w := range many {
		if w.Event != nil {
			out = append(out, *w.Event)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("not a MISP event: the document holds no Event")
	}
	return out, nil
}

// mispManifest is one event of a feed's manifest.json, under its uuid.
type mispManifest struct {
	Timestamp json.RawMessage `json:"timestamp"`
}

// mispFeed reads the events of a feed that are newer than the last import.
func (j *job) mispFeed(ctx context.Context, data []byte) error {
	var manifest map[string]mispManifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return fmt.Errorf("parse manifest: %w", err)
	}
	if len(manifest) > j.req.Limits.Objects {
		return fmt.Errorf("the manifest lists %d events, more than %d", len(manifest), j.req.Limits.Objects)
	}
	since, newest := j.state.Since, j.state.Since
	latest := j.latest().Unix()
	j.partial = since > 0
	var uuids []string
	for uuid, m := range manifest {
		at, err := strconv.ParseInt(strings.Trim(string(m.Timestamp), `"`), 10, 64)
		if err != nil || !isUUID(uuid) {
			j.report.Rows++
			j.reject(0, uuid, "a manifest entry without a uuid or timestamp")
			continue
		}
		if at > latest { // else nothing would count as newer until then
			j.report.Rows++
			j.reject(0, uuid, "a timestamp in the future: the event is read, the feed's position stays in the present")
		}
		if at > since {
			uuids = append(uuids, uuid)
			newest = max(newest, min(at, latest))
		}
	}
	slices.Sort(uuids)
	for _, uuid := range uuids {
		if err := j.mispFeedEvent(ctx, uuid+".json"); err != nil {
			return err
		}
	}
	j.document, j.state.Since = "", newest
	return nil
}

func (j *job) mispFeedEvent(ctx context.Context, name string) error {
	j.document = name
	r, err := j.openBeside(ctx, name)
	if err != nil {
		return fmt.Errorf("open event %s: %w", name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read event %s: %w", name, err)
	}
	events, err := mispEvents(data)
	if err != nil {
		j.report.Rows++
		j.reject(1, name, printable(err.Error(), 200))
		return nil
	}
	for i := range events {
		if err := j.addMISP(&events[i], data); err != nil {
			return err
		}
	}
	return nil
}

func isUUID(s string) bool {
	return len(s) == 36 && strings.Trim(strings.ToLower(s), "0123456789abcdef-") == ""
}

func (j *job) addMISP(e *mispEvent, data []byte) error {
	name := "MISP event " + e.Info
	if e.Orgc.Name != "" {
		name = e.Orgc.Name + ": " + e.Info
	}
	source := j.source(rules.Source{
		Name: name, Date: date(e.Date), Reference: printable(e.UUID, 36), ID: slug(j.req.Source.ID + "-" + e.UUID),
	})
	attributes := e.Attributes
	for _, o := range e.Objects {
		if !yes(o.Deleted) {
			attributes = append(attributes, o.Attributes...)
		}
	}
	lines := lineFinder{data: data}
	for i := range attributes {
		if err := j.addAttribute(&attributes[i], e, source, lines.of(attributes[i].UUID)); err != nil {
			return err
		}
	}
	return nil
}

// lineFinder finds the lines of attributes by their uuids. Attributes come in
// the document's order, so it looks forward only and reads the document once.
type lineFinder struct {
	data []byte
	line int
}

// of returns the line, 0 when the attribute has no uuid or is not ahead.
func (f *lineFinder) of(uuid string) int {
	if !isUUID(uuid) {
		return 0
	}
	i := bytes.Index(f.data, []byte(uuid))
	if i < 0 {
		f.data = nil // out of order: the uuids alone must do from here
		return 0
	}
	f.line += bytes.Count(f.data[:i], []byte("\n"))
	f.data = f.data[i:]
	return f.line + 1
}

func (j *job) addAttribute(a *mispAttribute, e *mispEvent, source string, line int) error {
	j.report.Rows++
	switch {
	case yes(a.Deleted):
		j.reject(line, a.Value, "deleted by its producer")
		return nil
	case !yes(a.ToIDS):
		j.reject(line, a.Value, "to_ids is not set: context, not an indicator")
		return nil
	}
	found, err := mispValues(a.Type, a.Value)
	if err != nil {
		j.reject(line, a.Value, reason(err))
		return nil
	}
	for _, in := range found {
		in.Sources = []rules.Claim{j.claim(source, a.FirstSeen, a.LastSeen)}
		in.TLP = mispTLP(slices.Concat(a.Tags, e.Tags))
		in.Actor = j.mispActor(a, e)
		if a.Comment != "" {
			in.Note = strings.Trim(in.Note+"; "+a.Comment, "; ")
		}
		if err := j.add(line, a.Value, in); err != nil {
			return err
		}
	}
	return nil
}

// mispValues turns an attribute into indicators. Composite types hold two values
// separated by a bar.
func mispValues(kind, value string) ([]rules.Indicator, error) {
	first, second, both := strings.Cut(value, "|")
	switch kind {
	case "ip-src", "ip-dst":
		if in, ok := guessAddress(value); ok {
			return []rules.Indicator{in}, nil
		}
		return nil, fmt.Errorf("%q is not an address or prefix", printable(value, 60))
	case "ip-src|port", "ip-dst|port":
		in, ok := guessAddress(first)
		port, err := strconv.ParseUint(second, 10, 16)
		if !ok || err != nil || port == 0 {
			return nil, fmt.Errorf("%q is not an address and a port", printable(value, 60))
		}
		in.Ports = []uint16{uint16(port)}
		return []rules.Indicator{in}, nil
	case "domain":
		return []rules.Indicator{indicator(rules.TypeDomain, value)}, nil
	case "hostname":
		return []rules.Indicator{indicator(rules.TypeURLHost, value)}, nil
	case "domain|ip":
		if _, err := netip.ParseAddr(second); err != nil || !both {
			return nil, fmt.Errorf("%q is not a domain and an address", printable(value, 60))
		}
		return []rules.Indicator{indicator(rules.TypeDomain, first), indicator(rules.TypeIP, second)}, nil
	case "url", "uri", "link":
		in, err := fromURL(value)
		return []rules.Indicator{in}, err
	case "AS":
		return []rules.Indicator{indicator(rules.TypeASN, "AS"+strings.TrimPrefix(strings.ToUpper(value), "AS"))}, nil
	case "x509-fingerprint-sha1":
		return []rules.Indicator{indicator(rules.TypeTLSSHA1, value)}, nil
	case "x509-fingerprint-sha256":
		return []rules.Indicator{indicator(rules.TypeTLSSHA256, value)}, nil
	case "ja3-fingerprint-md5":
		return []rules.Indicator{indicator(rules.TypeJA3, value)}, nil
	case "hassh-md5", "hasshserver-md5":
		return []rules.Indicator{indicator(rules.TypeHASSH, value)}, nil
	}
	return nil, fmt.Errorf("type %q, which no flow shows", printable(kind, 60))
}

// mispTLP reads the strictest TLP tag.
func mispTLP(tags []mispTag) string {
	order := []string{"clear", "green", "amber", "amber+strict", "red"}
	best := -1
	for _, t := range tags {
		if name, ok := strings.CutPrefix(strings.ToLower(t.Name), "tlp:"); ok {
			if name == "white" {
				name = "clear"
			}
			best = max(best, slices.Index(order, name))
		}
	}
	if best < 0 {
		return ""
	}
	return order[best]
}

// mispActor is the one actor the attribute, or else the event, is tied to. With
// several it is not said which one meant, so none is named.
func (j *job) mispActor(a *mispAttribute, e *mispEvent) string {
	for _, names := range [][]string{mispActors(a.Galaxies, a.Tags), mispActors(e.Galaxies, e.Tags)} {
		switch len(names) {
		case 0:
			continue
		case 1:
			return j.actor(names[0])
		}
		return ""
	}
	return ""
}

func mispActors(galaxies []mispGalaxy, tags []mispTag) []string {
	var out []string
	add := func(name string) {
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, g := range galaxies {
		if g.Type != "threat-actor" && g.Type != "mitre-intrusion-set" && g.Type != "microsoft-activity-group" {
			continue
		}
		for _, c := range g.Clusters {
			add(c.Value)
		}
	}
	for _, t := range tags {
		if name, ok := strings.CutPrefix(t.Name, `misp-galaxy:threat-actor="`); ok {
			add(strings.TrimSuffix(name, `"`))
		}
	}
	return out
}

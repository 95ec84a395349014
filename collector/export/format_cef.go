package export

import (
	"strconv"
	"strings"

	"sallyport/rules"
)

// cefFormat writes ArcSight's Common Event Format. Version 0 is what nearly every
// parser takes, and has no IPv6 in src and dst; version 1 has.
type cefFormat struct{ version int }

func (cefFormat) ContentType() string { return "text/plain; charset=utf-8" }

func (c cefFormat) Append(dst []byte, item *Item) ([]byte, error) {
	f := &item.Finding
	title := f.Rule.Title
	if title == "" {
		title = f.Title
	}
	dst = append(dst, "CEF:"+strconv.Itoa(c.version)...)
	// The class id and the name are the rule's: SIEM content is keyed on them.
	for _, field := range []string{"Sallyport", "Sallyport", f.Agent.Version, f.Rule.ID, title, strconv.Itoa(levelOf(f.Severity).cef)} {
		dst = append(append(dst, '|'), cefHeader(field)...)
	}
	dst = append(dst, '|')
	x := cefExtension{dst: dst, first: true}
	x.finding(f)
	if hasFlow(f) {
		x.flow(&f.Observation, c.version)
	}
	return x.dst, nil
}

// cefHeader escapes a header field: | and \ are escaped, = is not.
func cefHeader(s string) string {
	return strings.NewReplacer(`\`, `\\`, `|`, `\|`).Replace(strings.TrimSpace(clean(s, "")))
}

// cefValue escapes an extension value: = and \ are escaped, | is not. A value
// must not end with a space, which parsers take for the one before the next key.
func cefValue(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\r", `\r`, "\n", `\n`).Replace(clean(s, "\r\n"))
	return strings.TrimRight(s, " ")
}

// cefExtension collects key=value pairs.
type cefExtension struct {
	dst   []byte
	first bool
}

// put adds a pair; a value that is empty is left out, one over limit is cut.
func (x *cefExtension) put(key, value string, limit int) {
	value = cefValue(cut(value, limit))
	if value == "" {
		return
	}
	if !x.first {
		x.dst = append(x.dst, ' ')
	}
	x.first = false
	x.dst = append(append(append(x.dst, key...), '='), value...)
}

// custom adds one of the dictionary's custom fields, which say nothing without
// their labels.
func (x *cefExtension) custom(key, label, value string, limit int) {
	if cefValue(value) != "" {
		x.put(key, value, limit)
		x.put(key+"Label", label, limit)
	}
}

// Limits of ArcSight's dictionary, in characters.
const (
	cefShort = 63
	cefLong  = 1023
	cefText  = 4000 // cs1 to cs6
)

func (x *cefExtension) finding(f *rules.Finding) {
	x.put("rt", epoch(milliseconds(f.Created)), cefShort)
	x.put("start", epoch(milliseconds(f.First)), cefShort)
	x.put("end", epoch(milliseconds(f.Last)), cefShort)
	x.put("cnt", number(f.Count), cefShort)
	x.put("externalId", f.ID, 40)
	x.put("deviceExternalId", f.Agent.Name, 255)
	x.put("dvchost", f.Observation.Host, 100)
	x.put("cat", f.Rule.Source, cefLong)
	x.put("msg", summary(f), cefLong)
	x.put("reason", strings.Join(f.Why, "; "), cefLong)
	x.custom("cn1", "Revision", decimal(f.Revision), cefShort)
	x.custom("cs1", "Entity", strings.Join(entities(f.Matches), ", "), cefText)
	x.custom("cs2", "Designation", strings.Join(acts(f.Matches), ", "), cefText)
	x.custom("cs3", "Indicator", strings.Join(indicators(f.Matches), ", "), cefText)
	x.put("sallyportState", f.State, cefShort)
	x.put("sallyportTest", truth(f.Test), cefShort)
	x.put("sallyportRetro", truth(f.Retro), cefShort)
	if f.Suppressed != nil {
		x.put("sallyportSuppressed", f.Suppressed.Reason, cefLong)
	}
}

func (x *cefExtension) flow(o *rules.Observation, version int) {
	source, destination := ends(o)
	x.end("src", "spt", "c6a2", "Source IPv6 Address", source, version)
	x.end("dst", "dpt", "c6a3", "Destination IPv6 Address", destination, version)
	// The dictionary's in is what flows from source to destination.
	x.put("in", decimal(source.bytes), cefShort)
	x.put("out", decimal(destination.bytes), cefShort)
	x.put("proto", strings.ToUpper(protocolName(o.Transport)), 31)
	x.put("app", strings.ToUpper(identified(o)), 31)
	x.put("outcome", string(o.Outcome), cefShort)
	side, other := "s", "d"
	switch o.Direction {
	case rules.Outbound:
		x.put("deviceDirection", "1", cefShort)
	case rules.Inbound:
		x.put("deviceDirection", "0", cefShort)
		side, other = "d", "s"
	}
	x.put(side+"host", o.Host, cefLong)
	x.put(other+"host", remoteName(o), cefLong)
	if p := o.Owner.Process; p != nil {
		x.put(side+"pid", number(p.PID), cefShort)
		x.put(side+"proc", p.Name, cefLong)
		x.put(side+"uid", decimal(p.UID), cefLong)
		x.put(side+"user", p.User, cefLong)
		x.put("filePath", p.Executable, cefLong)
		x.custom("cs4", "Command Line", strings.Join(p.Args, " "), cefText)
	}
	x.custom("cs5", "Identification", o.Identification.State+" "+o.Identification.Evidence, cefText)
	if c := o.Owner.Container; c != nil {
		x.custom("cs6", "Container", containerText(c), cefText)
	}
	if o.Geo != nil {
		x.custom("cn2", "Remote ASN", number(o.Geo.ASN), cefShort)
	}
	if o.RemoteAsked != nil {
		x.put("sallyportRemoteAsked", addrText(o.RemoteAsked.Addr)+" port "+decimal(o.RemoteAsked.Port), cefShort)
	}
}

// end writes an address where the version of the format has room for it.
func (x *cefExtension) end(addrKey, portKey, key6, label6 string, e end, cefVersion int) {
	if cefVersion == 0 && e.Addr.IsValid() && version(e.Addr) == 6 {
		x.custom(key6, label6, addrText(e.Addr), cefShort)
	} else {
		x.put(addrKey, addrText(e.Addr), cefShort)
	}
	x.put(portKey, number(e.Port), cefShort)
}

func epoch(ms int64) string {
	if ms == 0 {
		return ""
	}
	return strconv.FormatInt(ms, 10)
}

// containerText is where the owner runs, in a few words.
func containerText(c *rules.Container) string {
	var parts []string
	for _, p := range []struct{ name, value string }{
		{"namespace", c.Namespace}, {"pod", c.Pod}, {"workload", c.Workload}, {"image", c.Image}, {"id", c.ID},
	} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	return strings.Join(parts, ", ")
}

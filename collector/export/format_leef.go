package export

import (
	"strconv"
	"strings"

	"sallyport/rules"
)

// leefDelimiter stands between attributes: a tab, LEEF's usual one, is escaped by
// syslog daemons.
const leefDelimiter = '^'

// leefFormat writes IBM QRadar's Log Event Extended Format 2.0. The event id is
// the rule's and the category never changes: QRadar maps both to a QID.
type leefFormat struct{}

func (leefFormat) ContentType() string { return "text/plain; charset=utf-8" }

func (leefFormat) Append(dst []byte, item *Item) ([]byte, error) {
	f := &item.Finding
	dst = append(dst, "LEEF:2.0"...)
	for _, field := range []string{"Sallyport", "Sallyport", f.Agent.Version, f.Rule.ID, string(leefDelimiter)} {
		dst = append(append(dst, '|'), leefHeader(field)...)
	}
	dst = append(dst, '|')
	x := leefAttributes{dst: dst, first: true}
	x.finding(f)
	if hasFlow(f) {
		x.flow(&f.Observation)
	}
	return x.dst, nil
}

// leefHeader replaces the pipe, for which the format has no escape.
func leefHeader(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(clean(s, ""), "|", "/"))
}

// leefValue replaces the delimiter, for which the format has no escape.
func leefValue(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(clean(s, ""), string(leefDelimiter), " "))
}

type leefAttributes struct {
	dst   []byte
	first bool
}

// leefLong bounds a value, in characters: QRadar cuts a whole payload.
const leefLong = 2000

func (x *leefAttributes) put(key, value string) {
	value = leefValue(cut(value, leefLong))
	if value == "" {
		return
	}
	if !x.first {
		x.dst = append(x.dst, leefDelimiter)
	}
	x.first = false
	x.dst = append(append(append(x.dst, key...), '='), value...)
}

func (x *leefAttributes) finding(f *rules.Finding) {
	x.put("cat", "finding")
	x.put("sev", strconv.Itoa(levelOf(f.Severity).cef))
	x.put("devTime", epoch(milliseconds(f.Created)))
	x.put("identHostName", f.Observation.Host)
	x.put("resource", f.Agent.Name)
	x.put("findingId", f.ID)
	x.put("findingRevision", decimal(f.Revision))
	x.put("findingState", f.State)
	x.put("findingTest", truth(f.Test))
	x.put("findingRetro", truth(f.Retro))
	if f.Suppressed != nil {
		x.put("findingSuppressed", f.Suppressed.Reason)
	}
	x.put("title", f.Title)
	x.put("summary", summary(f))
	x.put("reason", strings.Join(f.Why, "; "))
	x.put("confidence", f.Confidence)
	x.put("firstSeen", stamp(f.First))
	x.put("lastSeen", stamp(f.Last))
	x.put("flowCount", number(f.Count))
	x.put("policy", f.Rule.Title)
	x.put("entity", strings.Join(entities(f.Matches), ", "))
	x.put("designation", strings.Join(acts(f.Matches), ", "))
	x.put("indicator", strings.Join(indicators(f.Matches), ", "))
}

func (x *leefAttributes) flow(o *rules.Observation) {
	source, destination := ends(o)
	x.put("src", addrText(source.Addr))
	x.put("srcPort", number(source.Port))
	x.put("srcBytes", decimal(source.bytes))
	x.put("srcPackets", decimal(source.packets))
	x.put("dst", addrText(destination.Addr))
	x.put("dstPort", number(destination.Port))
	x.put("dstBytes", decimal(destination.bytes))
	x.put("dstPackets", decimal(destination.packets))
	x.put("proto", strings.ToUpper(protocolName(o.Transport)))
	x.put("direction", string(o.Direction))
	x.put("outcome", string(o.Outcome))
	x.put("application", identified(o))
	x.put("applicationState", o.Identification.State)
	x.put("applicationEvidence", o.Identification.Evidence)
	x.put("remoteName", remoteName(o))
	if g := o.Geo; g != nil {
		x.put("calCountryOrRegion", g.Country)
		x.put("remoteAsn", number(g.ASN))
	}
	if o.RemoteAsked != nil {
		x.put("remoteAsked", addrText(o.RemoteAsked.Addr))
		x.put("remoteAskedPort", number(o.RemoteAsked.Port))
	}
	x.put("attribution", string(o.Owner.Attribution))
	if p := o.Owner.Process; p != nil {
		x.put("usrName", p.User)
		x.put("processName", p.Name)
		x.put("processId", number(p.PID))
		x.put("processPath", p.Executable)
		x.put("commandLine", strings.Join(p.Args, " "))
	}
	if c := o.Owner.Container; c != nil {
		x.put("container", containerText(c))
	}
}

package export

import (
	"encoding/csv"
	"fmt"
	"strings"

	"sallyport/rules"
)

// csvFormat writes RFC 4180 without a header line; docs/exporters.md names the columns.
type csvFormat struct{}

func (csvFormat) ContentType() string { return "text/csv; charset=utf-8; header=absent" }

// csvColumn is one column.
type csvColumn struct {
	name string
	get  func(*rules.Finding) string
}

// csvColumns never change their order; new ones are added at the end.
var csvColumns = []csvColumn{
	{"created", func(f *rules.Finding) string { return stamp(f.Created) }},
	{"id", func(f *rules.Finding) string { return f.ID }},
	{"revision", func(f *rules.Finding) string { return decimal(f.Revision) }},
	{"state", func(f *rules.Finding) string { return f.State }},
	{"severity", func(f *rules.Finding) string { return string(f.Severity) }},
	{"confidence", func(f *rules.Finding) string { return f.Confidence }},
	{"test", func(f *rules.Finding) string { return truth(f.Test) }},
	{"retro", func(f *rules.Finding) string { return truth(f.Retro) }},
	{"suppressed", func(f *rules.Finding) string { return truth(f.Suppressed != nil) }},
	{"agent", func(f *rules.Finding) string { return f.Agent.Name }},
	{"host", func(f *rules.Finding) string { return f.Observation.Host }},
	{"rule", func(f *rules.Finding) string { return f.Rule.ID }},
	{"title", func(f *rules.Finding) string { return f.Title }},
	{"entity", func(f *rules.Finding) string { return strings.Join(entities(f.Matches), "; ") }},
	{"designation", func(f *rules.Finding) string { return strings.Join(acts(f.Matches), "; ") }},
	{"indicator", func(f *rules.Finding) string { return strings.Join(indicators(f.Matches), "; ") }},
	{"why", func(f *rules.Finding) string { return strings.Join(f.Why, "; ") }},
	{"first", func(f *rules.Finding) string { return stamp(f.First) }},
	{"last", func(f *rules.Finding) string { return stamp(f.Last) }},
	{"count", func(f *rules.Finding) string { return decimal(f.Count) }},
	{"transport", func(f *rules.Finding) string { return protocolName(f.Observation.Transport) }},
	{"protocol", func(f *rules.Finding) string { return identified(&f.Observation) }},
	{"direction", func(f *rules.Finding) string { return string(f.Observation.Direction) }},
	{"outcome", func(f *rules.Finding) string { return string(f.Observation.Outcome) }},
	{"local_address", func(f *rules.Finding) string { return addrText(f.Observation.Local.Addr) }},
	{"local_port", func(f *rules.Finding) string { return number(f.Observation.Local.Port) }},
	{"remote_address", func(f *rules.Finding) string { return addrText(f.Observation.Remote.Addr) }},
	{"remote_port", func(f *rules.Finding) string { return number(f.Observation.Remote.Port) }},
	{"remote_name", func(f *rules.Finding) string { return remoteName(&f.Observation) }},
	{"bytes_out", func(f *rules.Finding) string { return decimal(f.Observation.BytesOut) }},
	{"bytes_in", func(f *rules.Finding) string { return decimal(f.Observation.BytesIn) }},
	{"process", func(f *rules.Finding) string { return process(f).Executable }},
	{"command_line", func(f *rules.Finding) string { return strings.Join(process(f).Args, " ") }},
	{"user", func(f *rules.Finding) string { return process(f).User }},
	{"namespace", func(f *rules.Finding) string { return container(f).Namespace }},
	{"pod", func(f *rules.Finding) string { return container(f).Pod }},
	{"container", func(f *rules.Finding) string { return container(f).ID }},
}

func process(f *rules.Finding) rules.Process {
	if p := f.Observation.Owner.Process; p != nil {
		return *p
	}
	return rules.Process{}
}

func container(f *rules.Finding) rules.Container {
	if c := f.Observation.Owner.Container; c != nil {
		return *c
	}
	return rules.Container{}
}

func (csvFormat) Append(dst []byte, item *Item) ([]byte, error) {
	row := make([]string, len(csvColumns))
	for i, c := range csvColumns {
		row[i] = csvCell(c.get(&item.Finding))
	}
	var text strings.Builder
	w := csv.NewWriter(&text)
	if err := w.Write(row); err != nil {
		return dst, fmt.Errorf("write CSV: %w", err)
	}
	w.Flush()
	return append(dst, strings.TrimSuffix(text.String(), "\n")...), nil
}

// csvCell keeps a row on one line, and puts an apostrophe before what a
// spreadsheet would run as a formula.
func csvCell(s string) string {
	s = strings.TrimSpace(clean(s, ""))
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}

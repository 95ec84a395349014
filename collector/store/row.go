package store

import (
	"sallyport/collector/stream"
	"sallyport/rules"
)

// row is the columns of a finding that come from its document.
type row struct {
	agent, id                            string
	revision                             int64
	state                                string
	severity                             int64
	test, retro, suppressed              int64
	host, rule                           string
	protocol, direction, outcome, remote string
	port                                 int64
	executable, user, pod                string
	first, last, received                int64
	document                             string
}

// rowColumns are the columns in the order of values.
const rowColumns = `agent, id, revision, state, severity, test, retro, suppressed, host, rule, protocol,
 direction, outcome, remote, remote_port, executable, username, pod, first_seen, last_seen, received, document`

func (r *row) values() []any {
	return []any{
		r.agent, r.id, r.revision, r.state, r.severity, r.test, r.retro, r.suppressed, r.host, r.rule, r.protocol,
		r.direction, r.outcome, r.remote, r.port, r.executable, r.user, r.pod, r.first, r.last, r.received, r.document,
	}
}

// fields are where values are read into.
func (r *row) fields() []any {
	return []any{
		&r.agent, &r.id, &r.revision, &r.state, &r.severity, &r.test, &r.retro, &r.suppressed, &r.host, &r.rule, &r.protocol,
		&r.direction, &r.outcome, &r.remote, &r.port, &r.executable, &r.user, &r.pod, &r.first, &r.last, &r.received, &r.document,
	}
}

func findingRow(e *stream.Entry, f *rules.Finding) (row, error) {
	// As it came, so that what a newer agent says is kept too.
	document, err := rules.WithoutPackets(e.Finding)
	if err != nil {
		return row{}, err
	}
	o := &f.Observation
	r := row{
		agent: e.Agent, id: f.ID, revision: int64(f.Revision), state: f.State, severity: Rank(f.Severity),
		test: number(f.Test), retro: number(f.Retro), suppressed: number(f.Suppressed != nil),
		host: o.Host, rule: f.Rule.ID, protocol: o.Identification.Protocol, direction: string(o.Direction), outcome: string(o.Outcome),
		remote: address(o.Remote), port: int64(o.Remote.Port),
		first: micros(f.First), last: micros(f.Last), received: micros(e.Received), document: string(document),
	}
	if p := o.Owner.Process; p != nil {
		r.executable, r.user = p.Executable, p.User
	}
	if c := o.Owner.Container; c != nil && c.Pod != "" {
		r.pod = c.Namespace + "/" + c.Pod
	}
	return r, nil
}

// facets are the words that a finding is found by besides its text's.
func (r *row) facets(f *rules.Finding) []string {
	var list []string
	for rank := int64(1); rank <= r.severity; rank++ {
		list = append(list, facetSeverity(rank))
	}
	if r.test == 1 {
		list = append(list, facetTest)
	}
	if r.suppressed == 1 {
		list = append(list, facetSuppressed)
	}
	for _, x := range []struct{ column, value string }{
		{"agent", r.agent}, {"host", r.host}, {"rule", r.rule}, {"protocol", r.protocol}, {"direction", r.direction}, {"outcome", r.outcome},
		{"state", r.state}, {"remote", r.remote}, {"executable", r.executable}, {"username", r.user}, {"pod", r.pod},
	} {
		if x.value != "" {
			list = append(list, facet(x.column, x.value))
		}
	}
	for _, m := range f.Matches {
		list = append(list, facet("entity", m.Entity.ID))
	}
	return list
}

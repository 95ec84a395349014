package collector

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"sallyport/collector/api"
	"sallyport/collector/fleet"
	"sallyport/collector/identity"
	"sallyport/collector/limit"
	"sallyport/collector/packs"
	"sallyport/collector/store"
)

// settings are the bounds of the configuration, in its order. A test holds that
// every number and time of the configuration is here.
var settings = []struct{ name, unit, what string }{
	{"listen.connections", "", "connections of agents"},
	{"identity.certificate_life", "", "an agent's certificate is valid"},
	{"identity.server_life", "", "the collector's own certificate is valid"},
	{"identity.enrol_per_second", "a second", "enrolments"},
	{"identity.enrol_per_second_address", "a second", "enrolments from one address; ten times that at once"},
	{"identity.requests_per_second", "a second", "requests of one agent; twice that at once"},
	{"identity.revocation_poll", "", "until another collector's revocation is seen"},
	{"ingest.max_body", "bytes", "a request of findings as it comes"},
	{"ingest.max_batch", "bytes", "a request of findings, unpacked"},
	{"ingest.max_line", "bytes", "one finding"},
	{"ingest.max_lines", "", "findings of a request"},
	{"ingest.max_heartbeat", "bytes", "a heartbeat"},
	{"ingest.concurrent", "", "requests of findings worked on at once"},
	{"ingest.retry_after", "", "those who must wait are told to wait"},
	{"stream.replicas", "", "servers of a cluster that hold each finding"},
	{"stream.max_bytes", "bytes", "the stream holds"},
	{"stream.keep", "", "the stream keeps what exporters have not sent"},
	{"stream.reserve", "bytes", "of the file system must stay free"},
	{"stream.duplicates", "", "a message id is remembered"},
	{"stream.append_timeout", "", "until a finding that the stream does not take is refused"},
	{"store.keep", "", "findings are kept (0: for ever)"},
	{"store.keep_evidence", "", "packets are kept (0: for ever)"},
	{"store.readers", "", "connections that read the store"},
	{"store.batch", "", "findings saved at once"},
	{"fleet.silent_after", "", "without a heartbeat makes an agent silent"},
	{"fleet.skew_after", "", "an agent's clock may be off"},
	{"fleet.check_every", "", "between looks at the agents"},
	{"fleet.burst_agents", "", "agents that report one indicator make a burst (0: none does)"},
	{"fleet.burst_window", "", "in which they report it"},
	{"record.checkpoint_every", "", "between signatures of the record"},
	{"record.stretch", "", "the longest entry about an agent's coverage"},
	{"record.batch", "", "entries recorded at once"},
	{"reports.concurrent", "", "reports of the record made at once"},
	{"reports.waiting", "", "reports that wait their turn"},
	{"reports.keep", "", "a report lies here to be fetched"},
	{"reports.timeout", "", "a report may take"},
	{"feeds.life", "", "a pack made of feeds is valid"},
	{"account.session_life", "", "a session lasts at most"},
	{"account.session_idle", "", "a session lasts without use"},
	{"account.sign_ins_per_minute", "a minute", "sign-ins of one user name, and of one address"},
	{"account.requests_per_second", "a second", "requests of one person; ten times that at once"},
	{"api.requests_per_second", "a second", "requests of one token; ten times that at once"},
	{"api.refused_per_minute", "a minute", "requests of one address without a valid token"},
	{"api.streams", "", "streams of findings open at once"},
	{"api.streams_per_token", "", "of them, one token's"},
	{"api.stream_life", "", "a stream lasts"},
	{"api.list", "", "lines of a list without pages"},
}

// fixed are bounds that are no settings: they hold the form of what is exchanged.
var fixed = []limit.Bound{
	{Name: "enrolment", Value: bytesOf(identity.MaxRequest), What: "the body of an enrolment or renewal"},
	{Name: "API body", Value: bytesOf(api.MaxBody), What: "what a program posts"},
	{Name: "page", Value: strconv.Itoa(store.MaxPage), What: "findings on a page of the API"},
	{Name: "labels", Value: strconv.Itoa(fleet.MaxLabels), What: "labels of an agent"},
	{Name: "pack", Value: bytesOf(packs.MaxArchive), What: "a pack's archive"},
	{Name: "configuration", Value: bytesOf(maxConfig), What: "the configuration file"},
	{Name: "request", Value: "2m0s", What: "a request may take to come"},
	{Name: "shutdown", Value: shutdownTimeout.String(), What: "requests may take to end when the collector stops"},
}

func bytesOf(n int64) string { return strconv.FormatInt(n, 10) + " bytes" }

// Limits lists every bound that is in force.
func (c Config) Limits() []limit.Bound {
	var out []limit.Bound
	for _, s := range settings {
		out = append(out, limit.Bound{Name: s.name, Value: strings.TrimSpace(valueText(c.setting(s.name)) + " " + s.unit), What: s.what})
	}
	for _, e := range c.Exporters {
		out = append(out,
			limit.Bound{Name: "exporters." + e.Name + ".batch", Value: strconv.Itoa(e.Batch), What: "findings sent at once"},
			limit.Bound{Name: "exporters." + e.Name + ".timeout", Value: e.Timeout.String(), What: "a request to the receiver may take"})
	}
	for _, f := range fixed {
		f.Fixed = true
		out = append(out, f)
	}
	return out
}

// setting finds a value by the names of the configuration file.
func (c Config) setting(name string) reflect.Value {
	v := reflect.ValueOf(c)
	for _, part := range strings.Split(name, ".") {
		v = fieldNamed(v, part)
	}
	return v
}

func fieldNamed(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name {
			return v.Field(i)
		}
	}
	panic("no setting " + name) // the table above is tested
}

func valueText(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	return fmt.Sprint(v.Interface())
}

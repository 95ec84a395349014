package export

import (
	"net/netip"
	"path"
	"strings"

	"sallyport/rules"
)

// ecsVersion is the Elastic Common Schema that is written.
const ecsVersion = "9.4.0"

// ecsFormat writes ECS. What ECS has no field for is under "sallyport".
type ecsFormat struct{}

func (ecsFormat) ContentType() string { return "application/json" }

func (ecsFormat) Append(dst []byte, item *Item) ([]byte, error) {
	f := &item.Finding
	o := object{
		"@timestamp": stamp(f.Created),
		"ecs":        object{"version": ecsVersion},
		"event":      ecsEvent(f),
		"observer":   object{"type": "sensor", "vendor": "Sallyport", "product": "Sallyport"}.put("version", f.Agent.Version).put("name", f.Agent.Name),
		"rule":       object{"id": f.Rule.ID}.put("name", f.Rule.Title).put("ruleset", f.Rule.Source),
		"sallyport":  ownOf(f),
	}
	o.put("message", summary(f)).put("tags", ecsTags(f)).put("threat", ecsThreat(f))
	host := f.Observation.Host
	if host == "" {
		host = f.Agent.Name
	}
	if host != "" {
		o["host"] = object{"name": host, "hostname": host}
	}
	if hasFlow(f) {
		ecsFlow(o, &f.Observation)
	}
	return o.appendTo(dst)
}

func ecsEvent(f *rules.Finding) object {
	e := object{
		"kind": "alert", "module": "sallyport", "dataset": "sallyport.finding", "provider": "sallyport",
		"id": f.MessageID(), "code": f.Rule.ID, "action": "finding-" + f.State, "severity": levelOf(f.Severity).ecs,
		"category": []string{"host"}, "type": []string{"info"}, "created": stamp(f.Created), "sequence": f.Revision,
	}
	e.put("start", stamp(f.First)).put("end", stamp(f.Last)).put("reason", strings.Join(f.Why, "; "))
	if !f.First.IsZero() && f.Last.After(f.First) {
		e["duration"] = f.Last.Sub(f.First).Nanoseconds()
	}
	if !hasFlow(f) {
		return e
	}
	o := &f.Observation
	e["category"], e["type"], e["outcome"] = []string{"network", "threat"}, []string{"connection", "indicator"}, "success"
	switch o.Outcome {
	case rules.OutcomeBlocked, rules.OutcomeRefused:
		e["type"], e["outcome"] = []string{"connection", "indicator", "denied"}, "failure"
	case rules.OutcomeAttempted:
		e["outcome"] = "failure"
	}
	return e
}

func ecsTags(f *rules.Finding) []string {
	tags := []string{"sallyport"}
	for _, t := range []struct {
		on   bool
		name string
	}{{f.Test, "test"}, {f.Retro, "retro"}, {f.Suppressed != nil, "suppressed"}} {
		if t.on {
			tags = append(tags, t.name)
		}
	}
	return append(tags, f.Rule.Tags...)
}

func ecsFlow(doc object, o *rules.Observation) {
	source, destination := ends(o)
	doc["source"], doc["destination"] = ecsEnd(o, source), ecsEnd(o, destination)
	doc["network"] = ecsNetwork(o)
	related := object{"ip": ecsAddresses(o)}
	related.put("hosts", ecsHosts(o)).put("hash", ecsHashes(o.TLS))
	if p := o.Owner.Process; p != nil {
		doc["process"] = ecsProcess(p, o.Owner.Parents)
		doc["user"] = object{"id": decimal(p.UID)}.put("name", p.User)
		if p.User != "" {
			related["user"] = []string{p.User}
		}
	}
	doc["related"] = related
	ecsContainer(doc, o.Owner.Container)
	doc.put("tls", ecsTLS(o.TLS))
	if o.Query != "" {
		doc["dns"] = object{"type": "query", "question": object{"name": o.Query}}
	}
}

func ecsEnd(o *rules.Observation, e end) object {
	ip := addrText(e.Addr)
	x := object{"bytes": e.bytes, "packets": e.packets}.put("ip", ip).put("address", ip).put("port", e.Port)
	if e.host {
		return x
	}
	x.put("domain", remoteName(o))
	if g := o.Geo; g != nil {
		x.put("geo", object{}.put("country_iso_code", g.Country).put("city_name", g.City))
		x.put("as", object{}.put("number", g.ASN).put("organization", object{}.put("name", g.Organisation)))
	}
	return x
}

// ecsNetwork gives the direction as ECS asks of a host's own view.
func ecsNetwork(o *rules.Observation) object {
	direction := map[rules.Direction]string{rules.Inbound: "ingress", rules.Outbound: "egress"}[o.Direction]
	if direction == "" {
		direction = "unknown"
	}
	n := object{
		"direction": direction, "bytes": o.BytesIn + o.BytesOut, "packets": o.PacketsIn + o.PacketsOut,
		"type": map[int]string{4: "ipv4", 6: "ipv6"}[version(o.Remote.Addr)], "transport": protocolName(o.Transport),
	}
	if number, ok := protocolNumber(o.Transport); ok {
		n["iana_number"] = decimal(uint64(number))
	}
	return n.put("protocol", identified(o)).put("application", strings.ToLower(o.Identification.Product))
}

func ecsProcess(p *rules.Process, parents []rules.Process) object {
	x := object{"pid": p.PID}.put("name", p.Name).put("executable", p.Executable).put("start", stamp(p.Start))
	x.put("args", p.Args).put("command_line", strings.Join(p.Args, " "))
	if p.Name == "" && p.Executable != "" {
		x["name"] = path.Base(p.Executable)
	}
	if len(p.Args) > 0 {
		x["args_count"] = len(p.Args)
	}
	x["user"] = object{"id": decimal(p.UID)}.put("name", p.User)
	if len(parents) > 0 {
		x["parent"] = ecsProcess(&parents[0], nil)
	}
	return x
}

func ecsContainer(doc object, c *rules.Container) {
	if c == nil {
		return
	}
	x := object{}.put("id", c.ID).put("runtime", c.Runtime)
	doc.put("container", x.put("image", object{}.put("name", c.Image)))
	if c.Pod != "" || c.Namespace != "" {
		resource := object{"type": "pod"}.put("name", c.Pod).put("id", c.PodUID)
		if c.Workload != "" {
			resource["parent"] = object{"type": c.Workload}
		}
		doc["orchestrator"] = object{"type": "kubernetes", "resource": resource}.put("namespace", c.Namespace)
	}
}

func ecsTLS(t *rules.TLSFacts) object {
	if t == nil {
		return nil
	}
	x := object{}.put("client", object{}.put("ja3", t.JA3).put("server_name", t.SNI))
	if name, v, ok := strings.Cut(t.Version, " "); ok {
		x.put("version_protocol", strings.ToLower(name)).put("version", v)
	}
	if len(t.ALPN) > 0 {
		x["next_protocol"] = strings.ToLower(t.ALPN[0])
	}
	if len(t.Certificates) > 0 {
		c := t.Certificates[0]
		hash := object{}.put("sha1", strings.ToUpper(c.SHA1)).put("sha256", strings.ToUpper(c.SHA256))
		x["server"] = object{"hash": hash}.put("subject", c.Subject).put("issuer", c.Issuer).put("not_after", stamp(c.Until))
	}
	return x
}

func ecsAddresses(o *rules.Observation) []string {
	var list []string
	for _, a := range []netip.Addr{o.Local.Addr, o.Remote.Addr, asked(o), hiddenAddr(o)} {
		if text := addrText(a); text != "" {
			list = append(list, text)
		}
	}
	return list
}

func asked(o *rules.Observation) netip.Addr {
	if o.RemoteAsked == nil {
		return netip.Addr{}
	}
	return o.RemoteAsked.Addr
}

func hiddenAddr(o *rules.Observation) netip.Addr {
	if o.Hidden == nil {
		return netip.Addr{}
	}
	return o.Hidden.Addr
}

func ecsHosts(o *rules.Observation) []string {
	var list []string
	hidden := ""
	if o.Hidden != nil {
		hidden = o.Hidden.Host
	}
	for _, name := range []string{o.Host, remoteName(o), hidden, o.Query} {
		if name != "" {
			list = append(list, name)
		}
	}
	return list
}

func ecsHashes(t *rules.TLSFacts) []string {
	if t == nil {
		return nil
	}
	var list []string
	for _, c := range t.Certificates {
		list = append(list, c.SHA1, c.SHA256)
	}
	if t.JA3 != "" {
		list = append(list, t.JA3)
	}
	return list
}

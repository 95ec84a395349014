package export

import (
	"path"
	"strings"

	"sallyport/rules"
)

// ocsfFlow is a flow's two ends and what joins them.
func ocsfFlow(o *rules.Observation) object {
	source, destination := ends(o)
	flow := object{"connection_info": ocsfConnection(o), "src_endpoint": ocsfEndpoint(o, source), "dst_endpoint": ocsfEndpoint(o, destination)}
	return flow.put("tls", ocsfTLS(o.TLS))
}

func ocsfConnection(o *rules.Observation) object {
	c := object{"direction_id": map[rules.Direction]int{rules.Inbound: 1, rules.Outbound: 2}[o.Direction]}
	c.put("direction", string(o.Direction)).put("uid", o.FlowID).put("protocol_name", protocolName(o.Transport))
	if n, ok := protocolNumber(o.Transport); ok {
		c["protocol_num"] = n
	}
	return c.put("protocol_ver_id", version(o.Remote.Addr))
}

func ocsfEndpoint(o *rules.Observation, e end) object {
	x := object{}.put("ip", addrText(e.Addr)).put("port", e.Port)
	if s := o.SSH; s != nil {
		hassh := s.HASSHServer
		if e.host == (o.Direction != rules.Inbound) {
			hassh = s.HASSH // of the side that opened the flow
		}
		if hassh != "" {
			x["fingerprints"] = []object{{"algorithm_id": 20, "algorithm": "HASSH", "value": hassh}}
		}
	}
	if e.host {
		return x.put("hostname", o.Host)
	}
	x.put("hostname", remoteName(o))
	if g := o.Geo; g != nil {
		x.put("autonomous_system", object{}.put("number", g.ASN).put("name", g.Organisation))
		x.put("location", object{}.put("country", g.Country).put("city", g.City))
	}
	return x
}

// ocsfTraffic counts from the source's side.
func ocsfTraffic(o *rules.Observation) object {
	source, destination := ends(o)
	return object{
		"bytes": o.BytesIn + o.BytesOut, "bytes_out": source.bytes, "bytes_in": destination.bytes,
		"packets": o.PacketsIn + o.PacketsOut, "packets_out": source.packets, "packets_in": destination.packets,
	}
}

// ocsfTLS leaves the certificates to unmapped: the schema wants their serial
// numbers, and indicators go by digest.
func ocsfTLS(t *rules.TLSFacts) object {
	if t == nil {
		return nil
	}
	v := t.Version
	if v == "" {
		v = "unknown" // the schema wants one
	}
	x := object{"version": v}.put("sni", t.SNI)
	if t.JA3 != "" {
		x["ja3_hash"] = object{"algorithm_id": 1, "algorithm": "MD5", "value": t.JA3}
	}
	return x
}

func ocsfJA4(value string) object { return object{"type_id": 1, "type": "JA4", "value": value} }

func ocsfDevice(f *rules.Finding) object {
	host := f.Observation.Host
	if host == "" {
		host = f.Agent.Name
	}
	d := object{"type_id": 0}.put("hostname", host)
	if f.Agent.Name != "" {
		d["agent_list"] = []object{object{"name": f.Agent.Name, "vendor_name": "Sallyport"}.put("version", f.Agent.Version)}
	}
	return d
}

func ocsfActor(o *rules.Observation) object {
	p := o.Owner.Process
	if p == nil {
		return nil
	}
	x := ocsfProcess(p)
	if len(o.Owner.Parents) > 0 {
		x["parent_process"] = ocsfProcess(&o.Owner.Parents[0])
	}
	x.put("container", ocsfContainer(o.Owner.Container))
	return object{"process": x, "user": ocsfUser(p)}
}

func ocsfProcess(p *rules.Process) object {
	x := object{"pid": p.PID, "user": ocsfUser(p)}
	x.put("name", p.Name).put("cmd_line", strings.Join(p.Args, " ")).put("created_time", milliseconds(p.Start))
	if p.Executable != "" {
		x["path"] = p.Executable
		x["file"] = object{"name": path.Base(p.Executable), "path": p.Executable, "type_id": 1}
	}
	return x
}

func ocsfUser(p *rules.Process) object {
	return object{"uid": decimal(p.UID)}.put("name", p.User)
}

func ocsfContainer(c *rules.Container) object {
	if c == nil || c.ID == "" && c.Pod == "" {
		return nil
	}
	x := object{}.put("uid", c.ID).put("name", c.Pod).put("pod_uuid", c.PodUID).put("runtime", c.Runtime)
	if c.Image != "" {
		x["image"] = object{"uid": c.Image, "name": c.Image}
	}
	if c.Namespace != "" {
		x["orchestrator"] = "kubernetes"
		x["labels"] = []string{"namespace=" + c.Namespace, "workload=" + c.Workload}
	}
	return x
}

func ocsfAnalytic(r rules.RuleRef) object {
	return object{"type_id": 1, "type": "Rule", "uid": r.ID}.put("name", r.Title).put("category", r.Source)
}

func ocsfAttacks(tags []string) []object {
	a := attackOf(tags)
	var list []object
	for _, name := range a.tactics {
		list = append(list, object{"tactic": object{"name": name}})
	}
	for _, id := range a.techniques {
		list = append(list, object{"technique": object{"uid": id}})
	}
	for _, id := range a.subtechniques {
		technique, _, _ := strings.Cut(id, ".")
		list = append(list, object{"technique": object{"uid": technique}, "sub_technique": object{"uid": id}})
	}
	return list
}

// ocsfIntelligence is the matches' provenance. The entity is what an indicator is
// attributed to; what it is as a party in law stays in unmapped.
func ocsfIntelligence(matches []rules.Match) []object {
	var list []object
	for _, m := range matches {
		i := m.Indicator
		id, name := ocsfIndicator(i.Type)
		x := object{"type_id": id, "type": name, "value": i.Value}
		x.put("name", m.Entity.Name).put("uid", m.Entity.ID).put("desc", m.Statement).put("category", i.Role)
		x.put("created_time", milliseconds(day(i.ValidFrom))).put("expiration_time", milliseconds(day(i.ValidTo)))
		x.put("tlp", ocsfTLP(i.TLP)).put("labels", designationLabels(m.Designations))
		if c := ocsfConfidence(i.Confidence); c != 0 {
			x["confidence_id"], x["confidence"] = c, i.Confidence
		}
		if i.Actor != "" {
			x["threat_actor"] = object{"name": i.Actor}
		}
		if len(i.Sources) > 0 {
			x.put("vendor_name", i.Sources[0].Name).put("src_url", i.Sources[0].Reference)
			x.put("references", references(i.Sources))
		}
		list = append(list, x)
	}
	return list
}

func designationLabels(list []rules.DesignationRef) []string {
	var out []string
	for _, d := range list {
		out = append(out, "designation="+designation(d))
	}
	return out
}

func references(sources []rules.SourceRef) []string {
	var out []string
	for _, s := range sources {
		if s.Reference != "" {
			out = append(out, s.Reference)
		}
	}
	return out
}

func ocsfIndicator(kind string) (int, string) {
	switch rules.IndicatorType(kind) {
	case rules.TypeIP:
		return 1, "IP Address"
	case rules.TypeDomain:
		return 2, "Domain"
	case rules.TypeURLHost:
		return 3, "Hostname"
	case rules.TypeTLSSHA1, rules.TypeTLSSHA256:
		return 7, "Digital Certificate"
	}
	return 99, kind
}

func ocsfConfidence(c string) int {
	return map[string]int{"low": 1, "medium": 2, "high": 3}[c]
}

func ocsfTLP(s string) string {
	switch t := strings.ToUpper(strings.TrimPrefix(strings.ToUpper(s), "TLP:")); t {
	case "AMBER", "CLEAR", "GREEN", "RED", "WHITE":
		return t
	case "AMBER+STRICT":
		return "AMBER STRICT"
	}
	return ""
}

// ocsfObservables point at where an analyst would pivot from.
func ocsfObservables(f *rules.Finding, class int) []object {
	if !hasFlow(f) {
		return nil
	}
	o := &f.Observation
	at := ""
	if class == ocsfDetection {
		at = "evidences[0]."
	}
	remote := at + "dst_endpoint."
	if o.Direction == rules.Inbound {
		remote = at + "src_endpoint."
	}
	list := []object{{"name": remote + "ip", "type_id": 2, "type": "IP Address", "value": addrText(o.Remote.Addr)}}
	if name := remoteName(o); name != "" {
		list = append(list, object{"name": remote + "hostname", "type_id": 1, "type": "Hostname", "value": name})
	}
	if o.TLS != nil && o.TLS.JA3 != "" {
		list = append(list, object{"name": at + "tls.ja3_hash", "type_id": 30, "type": "Fingerprint", "value": o.TLS.JA3})
	}
	if p := o.Owner.Process; p != nil && p.Name != "" {
		list = append(list, object{"name": "actor.process.name", "type_id": 9, "type": "Process Name", "value": p.Name})
	}
	return list
}

package export

import (
	"strings"

	"sallyport/rules"
)

// ecsThreat is the matches as ECS enrichments, and the rule's techniques.
func ecsThreat(f *rules.Finding) object {
	x := object{}
	if a := attackOf(f.Rule.Tags); len(a.tactics)+len(a.techniques)+len(a.subtechniques) > 0 {
		x["framework"] = "MITRE ATT&CK"
		x.put("tactic", object{}.put("name", a.tactics))
		technique := object{}.put("id", a.techniques)
		x.put("technique", technique.put("subtechnique", object{}.put("id", a.subtechniques)))
	}
	if len(f.Matches) == 0 {
		return x
	}
	var enrichments []object
	for _, m := range f.Matches {
		enrichments = append(enrichments, object{
			"indicator": ecsIndicator(m),
			"matched":   object{"atomic": m.Value, "field": m.Field, "id": f.MessageID(), "type": "indicator_match_rule"},
		})
	}
	x["enrichments"] = enrichments
	x["indicator"] = ecsIndicator(f.Matches[0])
	if actor := f.Matches[0].Indicator.Actor; actor != "" {
		x["group"] = object{"name": actor}
	}
	return x
}

func ecsIndicator(m rules.Match) object {
	i := m.Indicator
	x := object{"name": i.Value}.put("description", m.Statement).put("confidence", ecsConfidence(i.Confidence))
	x.put("first_seen", stamp(day(i.FirstSeen))).put("last_seen", stamp(day(i.LastSeen))).put("modified_at", stamp(day(i.Checked)))
	if tlp := strings.TrimPrefix(strings.ToUpper(i.TLP), "TLP:"); tlp != "" {
		x["marking"] = object{"tlp": tlp}
	}
	if len(i.Sources) > 0 {
		x.put("provider", i.Sources[0].Name).put("reference", i.Sources[0].Reference)
	}
	switch rules.IndicatorType(i.Type) {
	case rules.TypeIP:
		x["ip"] = i.Value
		x["type"] = "ipv4-addr"
		if strings.Contains(i.Value, ":") {
			x["type"] = "ipv6-addr"
		}
	case rules.TypeCIDR:
		x["type"] = "ipv4-addr"
		if strings.Contains(i.Value, ":") {
			x["type"] = "ipv6-addr"
		}
	case rules.TypeASN:
		x["type"] = "autonomous-system"
	case rules.TypeDomain, rules.TypeURLHost:
		x["type"] = "domain-name"
		x["url"] = object{"domain": i.Value}
	case rules.TypeTLSSHA1, rules.TypeTLSSHA256:
		x["type"] = "x509-certificate"
	}
	return x
}

func ecsConfidence(c string) string {
	return map[string]string{"low": "Low", "medium": "Medium", "high": "High", "": "Not Specified"}[c]
}

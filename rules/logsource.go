package rules

import (
	"fmt"

	"sallyport/rules/sigma"
)

// logSource is a Sigma log source that observations can stand for, and which of
// them do.
type logSource struct {
	source sigma.LogSource
	events string // for docs/fields.md
	fits   func(*Observation) bool
}

var logSources = []logSource{
	{sigma.LogSource{Category: "network_connection", Product: "linux"}, "every flow", everyFlow},
	{sigma.LogSource{Category: "network_connection"}, "every flow", everyFlow},
	{sigma.LogSource{Category: "network", Service: "connection"}, "every flow", everyFlow},
	{sigma.LogSource{Category: "firewall"}, "every flow", everyFlow},
	{sigma.LogSource{Category: "dns"}, "DNS questions", isQuestion},
	{sigma.LogSource{Category: "dns_query", Product: "linux"}, "DNS questions", isQuestion},
	{sigma.LogSource{Category: "network", Service: "dns"}, "DNS questions", isQuestion},
	{sigma.LogSource{Product: "zeek", Service: "conn"}, "every flow", everyFlow},
	{sigma.LogSource{Product: "zeek", Service: "dns"}, "DNS questions", isQuestion},
	{sigma.LogSource{Product: "zeek", Service: "rdp"}, "flows found to be RDP", isRDP},
}

func everyFlow(*Observation) bool { return true }

func isQuestion(o *Observation) bool { return o.Query != "" }

func isRDP(o *Observation) bool { return o.Identification.Protocol == "rdp" }

func findLogSource(l sigma.LogSource) (logSource, error) {
	l.Definition = ""
	for _, s := range logSources {
		if s.source == l {
			return s, nil
		}
	}
	return logSource{}, fmt.Errorf("log source (category %q, product %q, service %q) is not one Sallyport observes; docs/fields.md lists those it does", l.Category, l.Product, l.Service)
}

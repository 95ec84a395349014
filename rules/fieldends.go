package rules

import "sallyport/rules/sigma"

// Sigma's source is the side that opened the flow and its destination the
// other. The model has local and remote, so these getters look at the direction.

// asked is the remote as the owner asked for it: what a rule's author means by
// a destination, where a redirect put a proxy in its place.
func asked(o *Observation) Endpoint {
	if o.RemoteAsked != nil {
		return *o.RemoteAsked
	}
	return o.Remote
}

func source(o *Observation) Endpoint {
	if o.Direction == Inbound {
		return o.Remote
	}
	return o.Local
}

func destination(o *Observation) Endpoint {
	if o.Direction == Inbound {
		return o.Local
	}
	return asked(o)
}

var (
	sourceIP        = address(source)
	sourcePort      = port(source)
	destinationIP   = address(destination)
	destinationPort = port(destination)
)

func isIPv6(ip getter) getter {
	return func(o *Observation, m []Match) (sigma.Value, bool) {
		v, ok := ip(o, m)
		return sigma.BoolValue(v.Addr.Is6()), ok
	}
}

func initiated(o *Observation, _ []Match) (sigma.Value, bool) {
	return sigma.BoolValue(o.Direction == Outbound), o.Direction == Outbound || o.Direction == Inbound
}

func sourceNames(o *Observation, m []Match) (sigma.Value, bool) {
	if o.Direction == Inbound {
		return remoteNames(o, m)
	}
	return ownName(o)
}

func destinationNames(o *Observation, m []Match) (sigma.Value, bool) {
	if o.Direction == Inbound {
		return ownName(o)
	}
	return remoteNames(o, m)
}

func ownName(o *Observation) (sigma.Value, bool) {
	if o.Host == "" {
		return sigma.Value{}, false
	}
	return listOf([]string{o.Host})
}

// remoteNames are the remote's names. The name a DNS question asks for is not a
// name of the resolver it is sent to.
func remoteNames(o *Observation, _ []Match) (sigma.Value, bool) {
	var out []string
	for i := range o.Names {
		if o.Names[i].Source != "dns_query" {
			out = append(out, o.Names[i].Name)
		}
	}
	if o.TLS != nil && o.TLS.SNI != "" {
		out = append(out, o.TLS.SNI)
	}
	if o.Hidden != nil && o.Hidden.Host != "" {
		out = append(out, o.Hidden.Host)
	}
	return listOf(out)
}

// attributed tells a tie of the remote from a mere question about a name.
func attributed(_ *Observation, m []Match) (sigma.Value, bool) {
	for i := range m {
		if m[i].Field != FieldQuery {
			return sigma.BoolValue(true), true
		}
	}
	return sigma.BoolValue(false), true
}

func action(o *Observation, _ []Match) (sigma.Value, bool) {
	switch o.Outcome {
	case OutcomeBlocked:
		return sigma.TextValue("block"), true
	case OutcomeEstablished, OutcomeData:
		return sigma.TextValue("accept"), true
	}
	return sigma.Value{}, false
}

func blocked(o *Observation, _ []Match) (sigma.Value, bool) {
	return sigma.BoolValue(o.Outcome == OutcomeBlocked), o.Outcome != ""
}

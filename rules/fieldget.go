package rules

import (
	"strconv"

	"sallyport/rules/sigma"
)

// getter reads one field. The functions below make getters for the rows of the
// table; an empty text counts as absent, since the model writes "" for unknown.
type getter = func(o *Observation, m []Match) (sigma.Value, bool)

func textOf(s string) (sigma.Value, bool) { return sigma.TextValue(s), s != "" }

func listOf(l []string) (sigma.Value, bool) { return sigma.ListValue(l), len(l) > 0 }

func text(get func(*Observation) string) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) { return textOf(get(o)) }
}

func number(get func(*Observation) uint64) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		return sigma.NumberValue(float64(get(o))), true
	}
}

func address(get func(*Observation) Endpoint) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		a := get(o).Addr
		return sigma.IPValue(a), a.IsValid()
	}
}

func port(get func(*Observation) Endpoint) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		p := get(o).Port
		return sigma.NumberValue(float64(p)), p != 0
	}
}

func process(get func(*Process) string) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		if o.Owner.Process == nil {
			return sigma.Value{}, false
		}
		return textOf(get(o.Owner.Process))
	}
}

func processNumber(get func(*Process) float64) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		if o.Owner.Process == nil {
			return sigma.Value{}, false
		}
		return sigma.NumberValue(get(o.Owner.Process)), true
	}
}

func parent(get func(*Process) string) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		if len(o.Owner.Parents) == 0 {
			return sigma.Value{}, false
		}
		return textOf(get(&o.Owner.Parents[0]))
	}
}

func parentNumber(get func(*Process) float64) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		if len(o.Owner.Parents) == 0 {
			return sigma.Value{}, false
		}
		return sigma.NumberValue(get(&o.Owner.Parents[0])), true
	}
}

func container(get func(*Container) string) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		if o.Owner.Container == nil {
			return sigma.Value{}, false
		}
		return textOf(get(o.Owner.Container))
	}
}

func hidden(get func(*Hidden) string) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		if o.Hidden == nil {
			return sigma.Value{}, false
		}
		return textOf(get(o.Hidden))
	}
}

func tls(get func(*TLSFacts) string) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		if o.TLS == nil {
			return sigma.Value{}, false
		}
		return textOf(get(o.TLS))
	}
}

func ssh(get func(*SSHFacts) string) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		if o.SSH == nil {
			return sigma.Value{}, false
		}
		return textOf(get(o.SSH))
	}
}

func geo(get func(*Geo) string) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		if o.Geo == nil {
			return sigma.Value{}, false
		}
		return textOf(get(o.Geo))
	}
}

// collect gathers the texts of n things, without the empty ones.
func collect(n int, get func(i int) string) (sigma.Value, bool) {
	var out []string
	for i := range n {
		if s := get(i); s != "" {
			out = append(out, s)
		}
	}
	return listOf(out)
}

func matches[T ~string](get func(*Match) T) getter {
	return func(_ *Observation, m []Match) (sigma.Value, bool) {
		return collect(len(m), func(i int) string { return string(get(&m[i])) })
	}
}

func designationFacts(get func(*DesignationRef) string) getter {
	return func(_ *Observation, m []Match) (sigma.Value, bool) {
		var out []string
		for i := range m {
			for j := range m[i].Designations {
				if s := get(&m[i].Designations[j]); s != "" {
					out = append(out, s)
				}
			}
		}
		return listOf(out)
	}
}

func certificates(get func(*CertificateFact) string) getter {
	return func(o *Observation, _ []Match) (sigma.Value, bool) {
		if o.TLS == nil {
			return sigma.Value{}, false
		}
		return collect(len(o.TLS.Certificates), func(i int) string { return get(&o.TLS.Certificates[i]) })
	}
}

func alpn(o *Observation, _ []Match) (sigma.Value, bool) {
	if o.TLS == nil {
		return sigma.Value{}, false
	}
	return listOf(o.TLS.ALPN)
}

func ech(o *Observation, _ []Match) (sigma.Value, bool) {
	if o.TLS == nil {
		return sigma.Value{}, false
	}
	return sigma.BoolValue(o.TLS.ECH), true
}

func asNumber(o *Observation, _ []Match) (sigma.Value, bool) {
	if o.Geo == nil || o.Geo.ASN == 0 {
		return sigma.Value{}, false
	}
	return sigma.NumberValue(float64(o.Geo.ASN)), true
}

func userName(p *Process) string {
	if p.User != "" {
		return p.User
	}
	return strconv.FormatUint(uint64(p.UID), 10)
}

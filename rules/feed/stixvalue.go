package feed

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sallyport/rules"
)

// stixValues are the object paths whose value a flow can show.
var stixValues = map[string]rules.IndicatorType{
	"ipv4-addr:value":                 rules.TypeIP,
	"ipv6-addr:value":                 rules.TypeIP,
	"network-traffic:dst_ref.value":   rules.TypeIP,
	"network-traffic:src_ref.value":   rules.TypeIP,
	"domain-name:value":               rules.TypeDomain,
	"url:value":                       rules.TypeURLHost,
	"autonomous-system:number":        rules.TypeASN,
	"x509-certificate:hashes.SHA-1":   rules.TypeTLSSHA1,
	"x509-certificate:hashes.SHA1":    rules.TypeTLSSHA1,
	"x509-certificate:hashes.SHA-256": rules.TypeTLSSHA256,
	"x509-certificate:hashes.SHA256":  rules.TypeTLSSHA256,
}

// values turns an option into indicators. Several values of one option would
// have to be seen together, which one flow seldom shows: each is kept, at low
// confidence, and says so.
func (o option) values() ([]rules.Indicator, error) {
	var out []rules.Indicator
	var ports []uint16
	var besides []string
	for _, c := range o {
		if kind, ok := stixValues[c.path]; ok {
			found, err := c.indicators(kind)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
			continue
		}
		if p, ok := c.ports(); ok {
			ports = append(ports, p...)
			continue
		}
		besides = append(besides, c.String())
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("nothing that a flow shows: %s", strings.Join(besides, ", "))
	}
	together := len(o)-len(besides) > 1 && distinctPaths(o) > 1
	for i := range out {
		out[i].Ports = append(out[i].Ports, ports...)
		if together {
			out[i].Confidence = rules.ConfidenceLow
			out[i].Note = "the source asks for several values together; this is one of them"
		}
		if len(besides) > 0 {
			out[i].Confidence = rules.ConfidenceLow
			out[i].Note = strings.Trim(out[i].Note+"; the source also asks for "+strings.Join(besides, ", "), "; ")
		}
	}
	return out, nil
}

// distinctPaths counts the comparisons of values (not ports) in an option.
func distinctPaths(o option) int {
	n := 0
	for _, c := range o {
		if _, ok := stixValues[c.path]; ok {
			n++
		}
	}
	return n
}

// String writes the comparison for a person.
func (c comparison) String() string {
	not := ""
	if c.not {
		not = "NOT "
	}
	return printable(fmt.Sprintf("%s %s%s %s", c.path, not, c.op, strings.Join(c.literal, ", ")), 120)
}

func (c comparison) indicators(kind rules.IndicatorType) ([]rules.Indicator, error) {
	if c.not {
		return nil, errors.New("NOT of a value, which cannot be an indicator")
	}
	switch c.op {
	case "=", "IN", "ISSUBSET":
	case "LIKE":
		return c.like(kind)
	default:
		return nil, fmt.Errorf("operator %s on a value, which cannot be an indicator", c.op)
	}
	out := make([]rules.Indicator, 0, len(c.literal))
	for _, l := range c.literal {
		in, err := stixIndicator(kind, l)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

func stixIndicator(kind rules.IndicatorType, l string) (rules.Indicator, error) {
	switch kind {
	case rules.TypeIP:
		in, ok := guessAddress(l)
		if !ok {
			return in, fmt.Errorf("%q is not an address or prefix", printable(l, 60))
		}
		return in, nil
	case rules.TypeURLHost:
		return fromURL(l)
	case rules.TypeASN:
		return indicator(kind, "AS"+l), nil
	}
	return indicator(kind, l), nil
}

// like supports the one form of LIKE that is a domain: "%.name" and "name".
func (c comparison) like(kind rules.IndicatorType) ([]rules.Indicator, error) {
	value := c.literal[0]
	if kind == rules.TypeDomain {
		value = strings.TrimPrefix(value, "%.")
	}
	if strings.ContainsAny(value, "%_") {
		return nil, errors.New("LIKE with wildcards, which cannot be an indicator")
	}
	in, err := stixIndicator(kind, value)
	return []rules.Indicator{in}, err
}

// ports reads a comparison that names ports.
func (c comparison) ports() ([]uint16, bool) {
	if c.path != "network-traffic:dst_port" && c.path != "network-traffic:src_port" || c.not || c.op != "=" && c.op != "IN" {
		return nil, false
	}
	var out []uint16
	for _, l := range c.literal {
		n, err := strconv.ParseUint(l, 10, 16)
		if err != nil || n == 0 {
			return nil, false
		}
		out = append(out, uint16(n))
	}
	return out, true
}

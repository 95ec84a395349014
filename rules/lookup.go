package rules

import (
	"errors"
	"net/netip"
	"strings"
	"time"
)

// ErrNoValue is returned for a question that is no address, prefix, autonomous
// system, name, certificate hash or fingerprint.
var ErrNoValue = errors.New("not an address, prefix, autonomous system (AS64496), name, certificate hash or fingerprint")

// Lookup answers for one value written by a person, with ages as of at. For a
// prefix it returns what covers it and what lies inside it.
func (s *Set) Lookup(value string, at time.Time) ([]Match, error) {
	q := query{set: s, flow: at}
	value = refang(strings.TrimSpace(value))
	host := hostOf(value)
	if addr, err := netip.ParseAddr(host); err == nil {
		value = addr.String()
	}
	if p, err := parsePrefix(value); err == nil {
		if p.IsSingleIP() {
			q.addr(FieldAsked, p.Addr(), 0)
		} else {
			q.prefix(p)
		}
		return q.out, nil
	}
	if asn, err := parseASN(value); err == nil {
		q.asn(FieldAsked, asn)
		return q.out, nil
	}
	known := false
	for _, kind := range []IndicatorType{TypeTLSSHA1, TypeTLSSHA256, TypeJA3, TypeHASSH, TypeJA4} {
		if normal, err := normalise(kind, value); err == nil {
			known = true
			q.value(FieldAsked, kind, normal)
		}
	}
	if name, err := normaliseName(host); err == nil && !known {
		known = true
		q.name(FieldAsked, name)
	}
	if !known {
		return nil, ErrNoValue
	}
	return q.out, nil
}

// prefix adds what covers p and what lies inside it.
func (q *query) prefix(p netip.Prefix) {
	for super, head := range q.set.prefixes.Supernets(p) {
		q.add(FieldAsked, p.String(), super.String(), head, 0)
	}
	for sub, head := range q.set.prefixes.Subnets(p) {
		if sub != p {
			q.add(FieldAsked, p.String(), sub.String(), head, 0)
		}
	}
	for i := range q.set.addrs.size() {
		addr, ok := netip.AddrFromSlice(q.set.addrs.key(uint32(i)))
		if ok && p.Contains(addr) {
			q.add(FieldAsked, p.String(), addr.String(), q.set.addrs.heads[i], 0)
		}
	}
}

// hostOf takes the host out of a URL, or out of "host:port" or "host/path". An
// address or prefix stays what it is.
func hostOf(value string) string {
	_, after, isURL := strings.Cut(value, "://")
	switch {
	case isURL:
		value = after
	case strings.Contains(value, "/"):
		if _, err := netip.ParsePrefix(value); err == nil {
			return value
		}
	}
	if end := strings.IndexAny(value, "/?#"); end >= 0 {
		value = value[:end]
	}
	value = value[strings.LastIndexByte(value, '@')+1:]
	if inside, ok := strings.CutPrefix(value, "["); ok {
		inside, _, _ = strings.Cut(inside, "]")
		return inside
	}
	if host, _, ok := strings.Cut(value, ":"); ok && strings.Count(value, ":") == 1 {
		return host
	}
	return value
}

// refang undoes the spellings by which reports keep a value from being clicked.
func refang(value string) string {
	return refanger.Replace(value)
}

var refanger = strings.NewReplacer("[.]", ".", "(.)", ".", "[:]", ":", "hxxp", "http")

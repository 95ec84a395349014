package rules

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Fields of an observation that an indicator can meet.
const (
	FieldRemote      = "remote.addr"
	FieldRemoteAsked = "remote_asked.addr"
	FieldHiddenAddr  = "hidden.addr"
	FieldHiddenHost  = "hidden.host"
	FieldName        = "name"
	FieldQuery       = "dns.query"
	FieldSNI         = "tls.sni"
	FieldCertHash    = "tls.certificate"
	FieldCertName    = "tls.certificate.name"
	FieldJA3         = "tls.ja3"
	FieldJA4         = "tls.ja4"
	FieldHASSH       = "ssh.hassh"
	FieldASN         = "geo.asn"
	FieldAsked       = "asked" // of Lookup: a person asked
)

// Match tests every remote, name, certificate and fingerprint of an observation
// against the set. Ages are those at the time of the flow; now decides which
// designations were lifted since. Addresses come first, then names, then
// certificates and fingerprints, so that the first match of an entity stays the
// same while a flow is learnt. Nothing found allocates nothing.
func (s *Set) Match(o *Observation, now time.Time) []Match {
	q := query{set: s, flow: o.Last}
	if q.flow.IsZero() {
		q.flow = now
	}
	q.addr(FieldRemote, o.Remote.Addr, o.Remote.Port)
	if o.RemoteAsked != nil {
		q.addr(FieldRemoteAsked, o.RemoteAsked.Addr, o.RemoteAsked.Port)
	}
	if h := o.Hidden; h != nil {
		q.addr(FieldHiddenAddr, h.Addr, h.Port)
		q.name(FieldHiddenHost, h.Host)
	}
	if o.Geo != nil && o.Geo.ASN != 0 {
		q.asn(FieldASN, o.Geo.ASN)
	}
	q.name(FieldQuery, o.Query)
	for i := range o.Names {
		if n := &o.Names[i]; n.Source != "dns_query" || n.Name != o.Query {
			q.name(FieldName, n.Name)
		}
	}
	if o.TLS != nil {
		q.tls(o.TLS)
	}
	if o.SSH != nil {
		q.value(FieldHASSH, TypeHASSH, o.SSH.HASSH)
		q.value(FieldHASSH, TypeHASSH, o.SSH.HASSHServer)
	}
	return q.out
}

// query collects the matches of one observation.
type query struct {
	set  *Set
	flow time.Time
	out  []Match
}

func (q *query) tls(t *TLSFacts) {
	q.name(FieldSNI, t.SNI)
	for i := range t.Certificates {
		c := &t.Certificates[i]
		q.value(FieldCertHash, TypeTLSSHA1, c.SHA1)
		q.value(FieldCertHash, TypeTLSSHA256, c.SHA256)
		for _, name := range c.Names {
			q.name(FieldCertName, strings.TrimPrefix(name, "*."))
		}
	}
	q.value(FieldJA3, TypeJA3, t.JA3)
	q.value(FieldJA4, TypeJA4, t.JA4)
}

func (q *query) addr(field string, addr netip.Addr, port uint16) {
	if !addr.IsValid() {
		return
	}
	addr = addr.Unmap().WithZone("")
	listed, covered := true, true
	if q.set.sieve != nil && addr.Is4() {
		listed, covered = q.set.sieve.has(addr)
	}
	if listed {
		if head, ok := q.set.addrs.findAddr(addr); ok {
			q.add(field, addr.String(), addr.String(), head, port)
		}
	}
	if !covered || !q.set.prefixes.Contains(addr) {
		return
	}
	for p, head := range q.set.prefixes.Supernets(netip.PrefixFrom(addr, addr.BitLen())) {
		q.add(field, addr.String(), p.String(), head, port)
	}
}

func (q *query) asn(field string, asn uint32) {
	if head, ok := q.set.asns[asn]; ok {
		value := asnString(asn)
		q.add(field, value, value, head, 0)
	}
}

// name tests a name as it is, and every name above it as a domain. The names
// above share a line of the sieve with it.
func (q *query) name(field, name string) {
	if name == "" || q.set.named.lines == nil {
		return
	}
	name = strings.TrimSuffix(name, ".")
	var room [8]int
	starts, lower := q.set.named.sift(name, room[:0])
	if !lower {
		name = strings.ToLower(name)
		starts, _ = q.set.named.sift(name, room[:0])
	}
	for _, start := range slices.Backward(starts) { // the longest first
		q.named(field, name, name[start:])
	}
}

// named looks for a name that the sieve lets through: a host is met by itself, a
// domain by every name below it.
func (q *query) named(field, name, suffix string) {
	if suffix == name {
		q.value(field, TypeURLHost, name)
	}
	if domains := q.set.names[TypeDomain]; domains != nil {
		if head, ok := domains.find(suffix); ok {
			q.add(field, name, suffix, head, 0)
		}
	}
}

func (q *query) value(field string, kind IndicatorType, value string) {
	index := q.set.names[kind]
	if index == nil || value == "" {
		return
	}
	if head, ok := index.find(value); ok {
		q.add(field, value, value, head, 0)
	}
}

// add appends a match for every record under one value, once for each value and
// entity: SNI and certificate often say the same.
func (q *query) add(field, seen, value string, head uint32, port uint16) {
	for next := head + 1; next != 0; {
		r := q.set.records[next-1]
		next = r.next
		m := q.set.match(field, seen, value, r.shared, q.flow)
		m.OtherPort = otherPort(m.Indicator.Ports, port)
		if !q.had(&m) {
			q.out = append(q.out, m)
		}
	}
}

func (q *query) had(m *Match) bool {
	for i := range q.out {
		o := &q.out[i]
		if o.Indicator.Type == m.Indicator.Type && o.Indicator.Value == m.Indicator.Value && o.Entity.ID == m.Entity.ID && o.Indicator.Pack == m.Indicator.Pack {
			return true
		}
	}
	return false
}

func otherPort(ports []uint16, port uint16) bool {
	if len(ports) == 0 || port == 0 {
		return false
	}
	for _, p := range ports {
		if p == port {
			return false
		}
	}
	return true
}

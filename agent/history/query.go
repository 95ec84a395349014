package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"sallyport/rules"
)

// Filter chooses past flows; what is zero chooses all. At most one of Prefix,
// Domain, Certificate and Fingerprint leads the search, the rest filter.
type Filter struct {
	Prefix      netip.Prefix // of the remote, as it left, as asked for, or hidden in a proxy request
	Domain      string       // the name and every name below it
	Host        string       // this name alone
	Certificate string       // SHA-1 or SHA-256, hexadecimal
	JA3, JA4    string
	HASSH       string
	ASN         uint32
	Port        uint16 // the remote's; of an inbound flow the local one
	Protocol    string
	Executable  string // a part of the executable's path
	From, To    time.Time
}

// Query yields the past flows that the filter chooses, oldest hour first, until
// yield says false. What is still in memory is not seen: Flush first. The file is
// open meanwhile: yield must not call History.
func (h *History) Query(ctx context.Context, f Filter, yield func(Past) bool) error {
	return h.read(func(tx *bolt.Tx) error {
		hours := tx.Bucket(bucketHours)
		if hours == nil {
			return nil
		}
		c := hours.Cursor()
		k, _ := c.First()
		if !f.From.IsZero() && f.From.Unix() > 0 {
			k, _ = c.Seek(hourKey(f.From.Truncate(period).Unix()))
		}
		for ; k != nil; k, _ = c.Next() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if len(k) != 8 || !f.To.IsZero() && int64(binary.BigEndian.Uint64(k)) > f.To.Unix() {
				break
			}
			if s := newSearch(tx, k, f, yield); s != nil && !s.run(ctx) {
				break
			}
		}
		return nil
	})
}

// ByPrefix yields past flows whose remote lies in the prefix.
func (h *History) ByPrefix(ctx context.Context, p netip.Prefix, yield func(Past) bool) error {
	return h.Query(ctx, Filter{Prefix: p}, yield)
}

// ByDomain yields past flows to the name or any name below it.
func (h *History) ByDomain(ctx context.Context, name string, yield func(Past) bool) error {
	return h.Query(ctx, Filter{Domain: name}, yield)
}

// ByCertificate yields past flows whose server showed the certificate.
func (h *History) ByCertificate(ctx context.Context, hash string, yield func(Past) bool) error {
	return h.Query(ctx, Filter{Certificate: hash}, yield)
}

// search is one hour's search.
type search struct {
	filter              Filter
	host                string
	hour                uint64
	rows, index, owners *bolt.Bucket
	known               map[uint32]*rules.Owner
	seen                map[string]bool
	yield               func(Past) bool
}

// run says false when yield had enough.
func (s *search) run(ctx context.Context) bool {
	f := s.filter
	switch {
	case f.Prefix.IsValid():
		return s.prefix(f.Prefix)
	case f.Domain != "":
		v := nameValue(f.Domain)
		return s.indexed(v+"\x00") && s.indexed(v+".")
	case f.Host != "":
		return s.indexed(nameValue(f.Host) + "\x00")
	case f.Certificate != "":
		return s.indexed(value(kindCertificate, f.Certificate) + "\x00")
	case f.JA3 != "":
		return s.indexed(value(kindJA3, f.JA3) + "\x00")
	case f.JA4 != "":
		return s.indexed(value(kindJA4, f.JA4) + "\x00")
	case f.HASSH != "":
		return s.indexed(value(kindHASSH, f.HASSH) + "\x00")
	}
	c := s.rows.Cursor()
	n := 0
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return false
		}
		if !s.row(k, v, "", 0) {
			return false
		}
	}
	return true
}

// prefix scans the range of addresses, among main keys and among indexed ones.
func (s *search) prefix(p netip.Prefix) bool {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	from := p.Masked().Addr().As16()
	end := from
	for i := bits; i < 128; i++ {
		end[i/8] |= 0x80 >> (i % 8)
	}
	c := s.rows.Cursor()
	for k, v := c.Seek(from[:]); len(k) == mainKeySize && bytes.Compare(k[:16], end[:]) <= 0; k, v = c.Next() {
		if !s.row(k, v, "", 0) {
			return false
		}
	}
	c = s.index.Cursor()
	start := append([]byte{kindAddr}, from[:]...)
	for k, _ := c.Seek(start); len(k) > 17+mainKeySize && k[0] == kindAddr && bytes.Compare(k[1:17], end[:]) <= 0; k, _ = c.Next() {
		key := k[len(k)-mainKeySize:]
		if bytes.Compare(key[:16], from[:]) >= 0 && bytes.Compare(key[:16], end[:]) <= 0 {
			continue // found by its own address already
		}
		if !s.row(key, nil, "", 0) {
			return false
		}
	}
	return true
}

// indexed scans the index keys that begin with start.
func (s *search) indexed(start string) bool {
	if len(start) < 2 {
		return true
	}
	c := s.index.Cursor()
	for k, v := c.Seek([]byte(start)); bytes.HasPrefix(k, []byte(start)); k, v = c.Next() {
		if len(k) < mainKeySize+2 || len(v) == 0 {
			continue
		}
		name := ""
		if k[0] == kindName {
			name = reverse(string(k[1 : len(k)-mainKeySize-1]))
		}
		if !s.row(k[len(k)-mainKeySize:], nil, name, v[0]) {
			return false
		}
	}
	return true
}

// row yields one row, once. name is the one it was found by, which the row
// itself may have let go.
func (s *search) row(key, raw []byte, name string, source byte) bool {
	if len(key) != mainKeySize {
		return true
	}
	if raw == nil {
		if s.seen[string(key)+name] {
			return true
		}
		s.seen[string(key)+name] = true
		raw = s.rows.Get(key)
	}
	r, err := decodeRow(raw)
	if err != nil {
		return true // a damaged row costs itself
	}
	if name != "" && !slices.ContainsFunc(r.names, func(n rules.Name) bool { return n.Name == name }) {
		r.names = append(r.names, rules.Name{Name: name, Source: sources[int(source)%len(sources)], At: r.last})
	}
	o := s.observation(key, r)
	if !s.filter.chooses(&o) {
		return true
	}
	return s.yield(Past{Observation: o, Count: r.count})
}

// chooses applies what did not lead the search.
func (f Filter) chooses(o *rules.Observation) bool {
	port := o.Remote.Port
	if o.Direction == rules.Inbound {
		port = o.Local.Port
	}
	switch {
	case f.Port != 0 && port != f.Port,
		f.Protocol != "" && o.Identification.Protocol != f.Protocol,
		f.ASN != 0 && (o.Geo == nil || o.Geo.ASN != f.ASN),
		f.Executable != "" && (o.Owner.Process == nil || !strings.Contains(o.Owner.Process.Executable, f.Executable)),
		!f.From.IsZero() && o.Last.Before(f.From),
		!f.To.IsZero() && o.First.After(f.To):
		return false
	}
	return true
}

// observation builds what the judge needs of a row.
func (s *search) observation(key []byte, r *row) rules.Observation {
	addr := netip.AddrFrom16([16]byte(key)).Unmap()
	port := binary.BigEndian.Uint16(key[16:])
	hash := fnv.New128a()
	hash.Write(binary.BigEndian.AppendUint64(nil, s.hour))
	hash.Write(key)
	o := rules.Observation{
		FlowID: "history-" + hex.EncodeToString(hash.Sum(nil)), Host: s.host, Sensor: "history",
		Transport: transportOf(key[18]), Direction: directions[int(key[19])%len(directions)],
		Remote: rules.Endpoint{Addr: addr, Port: port}, Outcome: r.outcome, First: r.first, Last: r.last, Closed: true,
		BytesOut: r.bytesOut, BytesIn: r.bytesIn, PacketsOut: r.packetsOut, PacketsIn: r.packetsIn,
		Owner: s.owner(binary.BigEndian.Uint32(key[20:])), Hidden: r.hidden, Names: r.names,
		Identification: rules.Identification{Protocol: r.protocol, State: r.state, Product: r.product, Source: "history"},
		Notes:          []string{fmt.Sprintf("from this host's history: %d flows within an hour", r.count)},
	}
	if o.Direction == rules.Inbound {
		o.Remote.Port, o.Local.Port = 0, port
	}
	if r.asked.IsValid() {
		o.RemoteAsked = &rules.Endpoint{Addr: r.asked.Addr(), Port: r.asked.Port()}
	}
	for _, n := range r.names {
		if n.Source == "dns_query" {
			o.Query = n.Name
		}
	}
	if r.geo != (rules.Geo{}) {
		geo := r.geo
		o.Geo = &geo
	}
	for _, n := range r.names {
		if n.Source == "sni" && o.TLS == nil {
			o.TLS = &rules.TLSFacts{SNI: n.Name}
		}
	}
	if r.tls != nil {
		if o.TLS == nil {
			o.TLS = &rules.TLSFacts{}
		}
		o.TLS.JA3, o.TLS.JA4 = r.tls[2], r.tls[3]
		if r.tls[0] != "" || r.tls[1] != "" {
			o.TLS.Certificates = []rules.CertificateFact{{SHA256: r.tls[0], SHA1: r.tls[1]}}
		}
	}
	if r.hassh != "" || r.hasshServer != "" {
		o.SSH = &rules.SSHFacts{HASSH: r.hassh, HASSHServer: r.hasshServer}
	}
	return o
}

func (s *search) owner(n uint32) rules.Owner {
	if o, ok := s.known[n]; ok {
		return *o
	}
	o := &rules.Owner{Attribution: rules.AttributionUnknown}
	if raw := s.owners.Get(binary.BigEndian.AppendUint32(nil, n)); raw != nil {
		json.Unmarshal(raw, o) // a damaged owner reads as unknown
	}
	s.known[n] = o
	return *o
}

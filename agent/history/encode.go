package history

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/rules"
)

// A main key is address 16 | port 2 | IP protocol 1 | direction 1 | owner 4; an
// index key is kind 1 | value | 0 | main key. A name's value is its labels in
// reverse order, so that a suffix is a prefix; an address's is its 16 bytes,
// IPv4 in ::ffff:0:0/96.
const mainKeySize = 24

// Kinds of indexed values.
const (
	kindAddr        = 'i' // a remote as asked for, or hidden in a proxy request
	kindName        = 'n'
	kindCertificate = 'c'
	kindJA3         = '3'
	kindJA4         = '4'
	kindHASSH       = 'h'
)

// Sources of an indexed value, in one byte.
const (
	sourceAsked = iota + 100
	sourceHidden
	sourceConnect = 5
)

var sources = []string{"", "dns", "sni", "quic_sni", "certificate", "connect", "socks", "dns_query"}

func sourceOf(s string) byte { return byte(max(0, slices.Index(sources, s))) }

var directions = []rules.Direction{rules.DirectionUnknown, rules.Outbound, rules.Inbound}

func value(kind byte, text string) string {
	if text == "" {
		return ""
	}
	return string(kind) + strings.ToLower(text)
}

func addrValue(a netip.Addr) string {
	b := a.As16()
	return string(kindAddr) + string(b[:])
}

func nameValue(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || len(name) > 255 || strings.Contains(name, "\x00") {
		return ""
	}
	return string(kindName) + reverse(name)
}

// reverse turns the order of labels: www.example.com is com.example.www.
func reverse(name string) string {
	labels := strings.Split(name, ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".")
}

func mainKey(k pendingKey, owner uint32) []byte {
	a := k.remote.Addr().As16()
	b := append(make([]byte, 0, mainKeySize), a[:]...)
	b = binary.BigEndian.AppendUint16(b, k.remote.Port())
	b = append(b, transportByte(k.transport), byte(max(0, slices.Index(directions, k.direction))))
	return binary.BigEndian.AppendUint32(b, owner)
}

// transportByte is the IP protocol number (RFC 5237 keeps it in one byte).
func transportByte(t rules.Transport) byte {
	switch t {
	case rules.TCP:
		return 6
	case rules.UDP:
		return 17
	}
	n, err := strconv.ParseUint(string(t), 10, 8)
	if err != nil {
		return 255
	}
	return byte(n)
}

func transportOf(b byte) rules.Transport {
	switch b {
	case 6:
		return rules.TCP
	case 17:
		return rules.UDP
	}
	return rules.Transport(strconv.Itoa(int(b)))
}

const rowVersion = 1

var errRow = errors.New("row is damaged")

// encode writes a row without its owner, which the key refers to.
func (r *row) encode() []byte {
	b := []byte{rowVersion, byte(max(0, outcomeRank(r.outcome)))}
	first := r.first.UnixMilli()
	for _, n := range []uint64{uint64(max(0, first)), uint64(max(0, r.last.UnixMilli()-first)), r.count, r.bytesOut, r.bytesIn, r.packetsOut, r.packetsIn, uint64(r.geo.ASN)} {
		b = binary.AppendUvarint(b, n)
	}
	text := func(s string) {
		s = s[:min(len(s), 1024)]
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	for _, s := range []string{r.protocol, r.state, r.product, r.geo.Country, r.geo.City, r.geo.Organisation, r.hassh} {
		text(s)
	}
	tls := r.tls
	if tls == nil {
		tls = make([]string, 4)
	}
	for i, s := range tls {
		if raw, err := hex.DecodeString(s); err == nil && i < 3 { // hashes in half the space
			text(string(raw))
		} else {
			text(s)
		}
	}
	text(addrText(r.asked))
	if r.hidden == nil {
		text("")
	} else {
		text(r.hidden.By)
		text(r.hidden.Host)
		text(addrText(netip.AddrPortFrom(r.hidden.Addr, r.hidden.Port)))
	}
	b = binary.AppendUvarint(b, uint64(len(r.names)))
	for _, n := range r.names {
		b = append(b, sourceOf(n.Source))
		b = binary.AppendUvarint(b, uint64(max(0, n.At.Unix())))
		text(n.Name)
	}
	text(r.hasshServer)
	return b
}

func addrText(a netip.AddrPort) string {
	raw, err := a.MarshalBinary()
	if err != nil || !a.Addr().IsValid() && a.Port() == 0 {
		return ""
	}
	return string(raw)
}

// decoder reads what encode wrote; the first fault sticks.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) text() string {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) addr() (a netip.AddrPort) {
	if s := d.text(); s != "" && a.UnmarshalBinary([]byte(s)) != nil {
		d.bad = true
	}
	return a
}

func (d *decoder) time() time.Time { return time.Unix(int64(d.number()&(1<<40-1)), 0).UTC() }

func decodeRow(b []byte) (*row, error) {
	d := &decoder{b: b}
	if d.byte() != rowVersion {
		return nil, errRow
	}
	r := &row{}
	if n := d.byte(); int(n) < len(outcomes) {
		r.outcome = outcomes[n]
	}
	first := int64(d.number() & (1<<50 - 1))
	r.first = time.UnixMilli(first).UTC()
	r.last = time.UnixMilli(first + int64(d.number()&(1<<50-1))).UTC()
	r.count, r.bytesOut, r.bytesIn, r.packetsOut, r.packetsIn = d.number(), d.number(), d.number(), d.number(), d.number()
	r.geo.ASN = uint32(d.number())
	for _, s := range []*string{&r.protocol, &r.state, &r.product, &r.geo.Country, &r.geo.City, &r.geo.Organisation, &r.hassh} {
		*s = d.text()
	}
	tls := make([]string, 4)
	for i := range tls {
		tls[i] = d.text()
		if i < 3 {
			tls[i] = hex.EncodeToString([]byte(tls[i]))
		}
		if tls[i] != "" {
			r.tls = tls
		}
	}
	r.asked = d.addr()
	if by := d.text(); by != "" {
		r.hidden = &rules.Hidden{By: by, Host: d.text()}
		at := d.addr()
		r.hidden.Addr, r.hidden.Port = at.Addr(), at.Port()
	}
	for n := min(d.number(), maxNames); n > 0 && !d.bad; n-- {
		source := d.byte()
		at := d.time()
		r.names = append(r.names, rules.Name{Name: d.text(), Source: sources[int(source)%len(sources)], At: at})
	}
	if len(d.b) > 0 { // rows of before have not got it
		r.hasshServer = d.text()
	}
	if d.bad {
		return nil, errRow
	}
	return r, nil
}

// merge adds an older row of the same key to this one.
func (r *row) merge(old *row) {
	if old.first.Before(r.first) {
		r.first = old.first
	}
	if old.last.After(r.last) {
		r.last = old.last
	}
	r.count += old.count
	r.bytesOut += old.bytesOut
	r.bytesIn += old.bytesIn
	r.packetsOut += old.packetsOut
	r.packetsIn += old.packetsIn
	if outcomeRank(old.outcome) > outcomeRank(r.outcome) {
		r.outcome = old.outcome
	}
	if old.protocol != "" && (r.protocol == "" || r.protocol == "none" || r.state != "confirmed" && old.state == "confirmed") {
		r.protocol, r.state, r.product = old.protocol, old.state, old.product
	}
	if !r.asked.IsValid() {
		r.asked = old.asked
	}
	if r.hidden == nil {
		r.hidden = old.hidden
	}
	if r.geo == (rules.Geo{}) {
		r.geo = old.geo
	}
	if r.tls == nil {
		r.tls = old.tls
	}
	r.hassh, r.hasshServer = cmp.Or(r.hassh, old.hassh), cmp.Or(r.hasshServer, old.hasshServer)
	for _, n := range old.names {
		if len(r.names) < maxNames && !slices.ContainsFunc(r.names, func(m rules.Name) bool { return m.Name == n.Name && m.Source == n.Source }) {
			r.names = append([]rules.Name{n}, r.names...)
		}
	}
}

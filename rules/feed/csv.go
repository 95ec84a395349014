package feed

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sallyport/rules"
)

// csvColumns are the headings understood, in lower case with spaces and hyphens
// as underscores.
var csvColumns = map[string]string{
	"value": "value", "indicator": "value", "ioc": "value", "ip": "value", "ip_address": "value", "address": "value",
	"domain": "value", "host": "value", "hostname": "value", "observable": "value", "dst_ip": "value", "url": "value",
	"type": "type", "indicator_type": "type", "ioc_type": "type",
	"port": "ports", "ports": "ports", "dst_port": "ports",
	"first_seen": "first", "firstseen": "first", "first_seen_utc": "first", "valid_from": "valid_from",
	"last_seen": "last", "lastseen": "last", "last_seen_utc": "last", "last_online": "last", "valid_to": "valid_to", "valid_until": "valid_to",
	"confidence": "confidence", "confidence_level": "confidence",
	"role": "role", "category": "role",
	"actor": "actor", "threat_actor": "actor",
	"note": "note", "comment": "note", "description": "note",
	"source": "source", "reference": "reference",
	"holder": "holder",
}

// csvTypes are the words for types, besides our own.
var csvTypes = map[string]rules.IndicatorType{
	"ipv4": rules.TypeIP, "ipv6": rules.TypeIP, "ip_address": rules.TypeIP, "ipv4-addr": rules.TypeIP, "ipv6-addr": rules.TypeIP,
	"ip-dst": rules.TypeIP, "ip-src": rules.TypeIP, "subnet": rules.TypeCIDR, "network": rules.TypeCIDR,
	"hostname": rules.TypeURLHost, "fqdn": rules.TypeURLHost, "host": rules.TypeURLHost, "domain-name": rules.TypeDomain,
	"as": rules.TypeASN, "ja3_fingerprint": rules.TypeJA3, "x509-fingerprint-sha1": rules.TypeTLSSHA1, "x509-fingerprint-sha256": rules.TypeTLSSHA256,
	"sha1_cert": rules.TypeTLSSHA1, "ssl_sha1": rules.TypeTLSSHA1,
}

// readCSV reads a table whose first line that is no comment names the columns.
func readCSV(ctx context.Context, j *job) error {
	r, err := j.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	t := &csvTable{job: j}
	// Each line is a record of its own: a quote that a hostile row does not close
	// must not swallow the rest of the feed.
	if err := scanLines(ctx, r, t.line); err != nil {
		return err
	}
	if t.columns == nil {
		return errors.New("no header line")
	}
	return nil
}

type csvTable struct {
	*job
	comma   rune
	columns []string // what each column means, "" for nothing to us
}

func (t *csvTable) line(line int, s string) error {
	if strings.TrimSpace(s) == "" || (strings.HasPrefix(s, "#") && (t.columns != nil || !strings.Contains(s, ","))) {
		return nil
	}
	if t.columns == nil {
		return t.header(strings.TrimLeft(s, "# "))
	}
	t.report.Rows++
	cells, err := t.split(s)
	if err != nil || len(cells) != len(t.columns) {
		t.reject(line, s, fmt.Sprintf("a row of other than %d columns", len(t.columns)))
		return nil
	}
	row := map[string]string{}
	for i, c := range t.columns {
		if v := strings.TrimSpace(cells[i]); c != "" && v != "" && row[c] == "" {
			row[c] = v
		}
	}
	return t.row(line, s, row)
}

func (t *csvTable) split(s string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(s))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = t.comma, true, -1
	cells, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return cells, err
}

func (t *csvTable) header(s string) error {
	for _, c := range []rune{'\t', ';', ','} {
		if strings.ContainsRune(s, c) {
			t.comma = c
			break
		}
	}
	if t.comma == 0 {
		t.comma = ','
	}
	names, err := t.split(s)
	if err != nil {
		return fmt.Errorf("read header: %w", err)
	}
	found := false
	for _, name := range names {
		plain := strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(strings.TrimSpace(name)))
		meaning := csvColumns[plain]
		if meaning == "" {
			t.report.note("column %q is not read", printable(name, 60))
		}
		found = found || meaning == "value"
		t.columns = append(t.columns, meaning)
	}
	if !found {
		return fmt.Errorf("header %q names no column of values (value, indicator, ioc, ip, domain, ...)", printable(s, 200))
	}
	return nil
}

func (t *csvTable) row(line int, raw string, row map[string]string) error {
	in, err := t.typed(row["type"], row["value"])
	if err != nil {
		t.reject(line, raw, reason(err))
		return nil
	}
	for _, p := range strings.FieldsFunc(row["ports"], func(r rune) bool { return r == ' ' || r == '|' || r == '/' || r == ',' }) {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			t.reject(line, raw, fmt.Sprintf("port %q is not 1 to 65535", printable(p, 20)))
			return nil
		}
		in.Ports = append(in.Ports, uint16(n))
	}
	in.Confidence = confidence(row["confidence"])
	in.Role = printable(row["role"], 100)
	in.Actor = t.actor(row["actor"])
	in.ValidFrom, in.ValidTo = date(row["valid_from"]), date(row["valid_to"])
	if in.ValidFrom.Known() && in.ValidTo.Known() && in.ValidTo.End().Before(in.ValidFrom.Start()) {
		t.reject(line, raw, "valid until before it is valid from")
		return nil
	}
	if row["note"] != "" {
		in.Note = strings.Trim(in.Note+"; "+row["note"], "; ")
	}
	if row["holder"] != "" {
		in.Holder = &rules.Holder{Name: printable(row["holder"], 200)}
	}
	source := t.req.Source.ID
	if row["source"] != "" {
		source = t.source(rules.Source{Name: row["source"], Reference: printable(row["reference"], 300)})
	}
	if c := t.claim(source, row["first"], row["last"]); c != t.claims[0] {
		in.Sources = []rules.Claim{c}
	}
	return t.add(line, raw, in)
}

// typed reads a value of a type the row names, in our words or in others'.
func (t *csvTable) typed(kind, value string) (rules.Indicator, error) {
	if value == "" {
		return rules.Indicator{}, errNoValue
	}
	kind = strings.ToLower(strings.TrimSpace(kind))
	in, err := guess(value, rules.IndicatorType(kind))
	switch known, ok := csvTypes[kind]; {
	case kind == "" || kind == "ip" || kind == "url" || kind == "uri":
		return guess(value, t.req.Type)
	case ok && err == nil && (known == in.Type || known == rules.TypeIP && in.Type == rules.TypeCIDR):
		return in, nil
	case ok:
		return indicator(known, refang(value)), nil
	case isOwnType(kind):
		if err == nil && string(in.Type) == kind {
			return in, nil
		}
		return indicator(rules.IndicatorType(kind), refang(value)), nil
	}
	return rules.Indicator{}, fmt.Errorf("type %q, which no flow shows or we do not know", printable(kind, 60))
}

func isOwnType(kind string) bool {
	switch rules.IndicatorType(kind) {
	case rules.TypeIP, rules.TypeCIDR, rules.TypeASN, rules.TypeDomain, rules.TypeURLHost, rules.TypeTLSSHA1,
		rules.TypeTLSSHA256, rules.TypeJA3, rules.TypeJA4, rules.TypeHASSH:
		return true
	}
	return false
}

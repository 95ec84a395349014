package feed

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"sallyport/rules"
)

// refang undoes the ways in which reports make values harmless.
var refanger = strings.NewReplacer(
	"[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "(dot)", ".", "[:]", ":", "[://]", "://",
	"hxxps://", "https://", "hxxp://", "http://", "hXXps://", "https://", "hXXp://", "http://", "[/]", "/", "\\.", ".",
)

func refang(s string) string { return refanger.Replace(strings.TrimSpace(s)) }

var (
	errBareHash = errors.New("a bare hash may be that of a file, which no flow shows: name its type (tls_cert_sha1, tls_cert_sha256, ja3, hassh)")
	errNoValue  = errors.New("not an address, prefix, autonomous system, name, URL or fingerprint")
)

// guess says what a value of unknown type is. hashes is the type of a bare hash.
func guess(raw string, hashes rules.IndicatorType) (rules.Indicator, error) {
	s := refang(raw)
	switch {
	case s == "":
		return rules.Indicator{}, errNoValue
	case strings.Contains(s, "://"):
		return fromURL(s)
	}
	if in, ok := guessAddress(s); ok {
		return in, nil
	}
	if digits, ok := strings.CutPrefix(strings.ToUpper(s), "AS"); ok {
		if _, err := strconv.ParseUint(digits, 10, 32); err == nil {
			return indicator(rules.TypeASN, s), nil
		}
	}
	if isHex(s, 32) || isHex(s, 40) || isHex(s, 64) {
		if hashes == "" {
			return rules.Indicator{}, errBareHash
		}
		return indicator(hashes, s), nil
	}
	if strings.Count(s, "_") == 2 && len(s) == 36 {
		return indicator(rules.TypeJA4, s), nil
	}
	return guessName(s)
}

func indicator(kind rules.IndicatorType, value string) rules.Indicator {
	return rules.Indicator{Type: kind, Value: value}
}

func isHex(s string, length int) bool {
	return len(s) == length && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

func guessAddress(s string) (rules.Indicator, bool) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return indicator(rules.TypeIP, a.Unmap().WithZone("").String()), true
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.IsSingleIP() {
			return indicator(rules.TypeIP, p.Addr().Unmap().String()), true
		}
		return indicator(rules.TypeCIDR, p.Masked().String()), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Port() != 0 {
		in := indicator(rules.TypeIP, ap.Addr().Unmap().WithZone("").String())
		in.Ports = []uint16{ap.Port()}
		return in, true
	}
	return rules.Indicator{}, false
}

// guessName reads a name, with or without a port, a leading "*." or ".", or a
// path: then the host alone is meant, as a URL without its scheme.
func guessName(s string) (rules.Indicator, error) {
	if strings.ContainsAny(s, "/?") {
		if strings.HasPrefix(s, "/") {
			return rules.Indicator{}, errors.New("a path without a host, which no flow shows")
		}
		return fromURL("x://" + s)
	}
	name := strings.TrimPrefix(strings.TrimPrefix(s, "*"), ".")
	if host, port, ok := strings.Cut(name, ":"); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return rules.Indicator{}, errNoValue
		}
		in := indicator(rules.TypeDomain, host)
		in.Ports = []uint16{uint16(n)}
		return in, nil
	}
	if !strings.Contains(name, ".") || strings.ContainsAny(name, " @\\*^$|") {
		return rules.Indicator{}, errNoValue
	}
	return indicator(rules.TypeDomain, name), nil
}

// fromURL keeps a URL at the level of its host: neither the names above the host
// nor those below it are meant.
func fromURL(s string) (rules.Indicator, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return rules.Indicator{}, errors.New("a URL that cannot be read")
	}
	var in rules.Indicator
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		in = indicator(rules.TypeIP, a.Unmap().WithZone("").String())
	} else {
		in = indicator(rules.TypeURLHost, u.Hostname())
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil && n != 0 {
		in.Ports = []uint16{uint16(n)}
	}
	if u.Path != "" && u.Path != "/" {
		in.Note = "the source names a URL on this host: " + strings.ReplaceAll(printable(strings.TrimPrefix(s, "x://"), 300), "://", "[://]")
	}
	return in, nil
}

// date returns a date of a feed, or none when it cannot be read.
func date(s string) rules.Date {
	s = strings.TrimSpace(s)
	if len(s) > 10 && (s[10] == 'T' || s[10] == ' ') {
		s = s[:10]
	}
	if d := rules.Date(s); d.Known() {
		return d
	}
	return ""
}

// claim is what one row says of first and last seen. Dates in the wrong order
// cannot both be right, so neither is kept.
func (j *job) claim(source, first, last string) rules.Claim {
	c := rules.Claim{Source: source, FirstSeen: date(first), LastSeen: date(last)}
	if c.FirstSeen.Known() && c.LastSeen.Known() && c.LastSeen.End().Before(c.FirstSeen.Start()) {
		c.FirstSeen, c.LastSeen = "", ""
		c.Note = "the source's dates contradict each other"
	}
	return c
}

// confidence reads a word, or a number from 0 to 100 as STIX has it (appendix A:
// low to 29, medium to 69, high above).
func confidence(s string) rules.Confidence {
	s = strings.ToLower(strings.TrimSpace(s))
	switch c := rules.Confidence(s); c {
	case rules.ConfidenceLow, rules.ConfidenceMedium, rules.ConfidenceHigh:
		return c
	case "med":
		return rules.ConfidenceMedium
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil || n < 0 || n > 100:
		return ""
	case n >= 70:
		return rules.ConfidenceHigh
	case n >= 30:
		return rules.ConfidenceMedium
	}
	return rules.ConfidenceLow
}

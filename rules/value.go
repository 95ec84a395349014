package rules

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ValueError says why a value cannot be an indicator, and what to do.
type ValueError struct{ Message, Remedy string }

// Error prints both.
func (e *ValueError) Error() string { return e.Message + "; " + e.Remedy }

// CheckValue says whether value may be an indicator of its type, in its one
// normal form. Special-use and over-broad prefixes, shared zones and values in
// another spelling are refused; a test entity may use documentation addresses
// and names below "example", and only those. The error is a *ValueError.
func CheckValue(kind IndicatorType, value string, test bool) error {
	normal, err := normalise(kind, value)
	if err != nil {
		return err
	}
	if normal != value {
		return &ValueError{fmt.Sprintf("%s %q is not in its normal form", kind, value), fmt.Sprintf("write %q", normal)}
	}
	switch kind {
	case TypeIP, TypeCIDR:
		return checkPrefix(value, test)
	case TypeDomain, TypeURLHost:
		return checkName(value, test)
	case TypeASN:
		return checkASN(value, test)
	}
	return nil
}

// specialASNs are reserved for documentation, private use and transition
// (RFC 5398, 6996, 7300, 6793).
var specialASNs = [][2]uint32{{23456, 23456}, {64496, 64511}, {64512, 65535}, {65536, 65551}, {65552, 131071}, {4200000000, 4294967295}}

func checkASN(value string, test bool) error {
	n, err := parseASN(value)
	if err != nil {
		return err
	}
	documentation := (n >= 64496 && n <= 64511) || (n >= 65536 && n <= 65551)
	if test {
		if !documentation {
			return &ValueError{value + " is not for documentation", "a test entity may use AS64496 to AS64511 and AS65536 to AS65551 only"}
		}
		return nil
	}
	for _, r := range specialASNs {
		if n >= r[0] && n <= r[1] {
			return &ValueError{value + " is reserved", "no entity can hold it; leave it out"}
		}
	}
	return nil
}

// normalise returns the one spelling of a value of this type.
func normalise(kind IndicatorType, value string) (string, error) {
	switch kind {
	case TypeIP:
		addr, err := netip.ParseAddr(value)
		if err != nil || addr.Zone() != "" {
			return "", &ValueError{fmt.Sprintf("%q is no address", value), "write one IPv4 or IPv6 address without a zone"}
		}
		return addr.Unmap().String(), nil
	case TypeCIDR:
		p, err := netip.ParsePrefix(value)
		if err != nil || p.Addr().Is4In6() {
			return "", &ValueError{fmt.Sprintf("%q is no prefix", value), "write an address, a slash and a length, such as 198.51.100.0/24"}
		}
		return p.Masked().String(), nil
	case TypeASN:
		n, err := parseASN(value)
		if err != nil {
			return "", err
		}
		return "AS" + strconv.FormatUint(uint64(n), 10), nil
	case TypeDomain, TypeURLHost:
		return normaliseName(value)
	case TypeTLSSHA1:
		return hexOf(value, 40)
	case TypeTLSSHA256:
		return hexOf(value, 64)
	case TypeJA3, TypeHASSH:
		return hexOf(value, 32)
	case TypeJA4:
		return normaliseJA4(value)
	}
	return "", &ValueError{fmt.Sprintf("unknown indicator type %q", kind), "use one of " + strings.Join(indicatorTypes, ", ")}
}

func parseASN(value string) (uint32, error) {
	digits, ok := strings.CutPrefix(strings.ToUpper(value), "AS")
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n == 0 {
		return 0, &ValueError{fmt.Sprintf("%q is no autonomous system", value), `write "AS" and its number, such as AS64496`}
	}
	return uint32(n), nil
}

func hexOf(value string, length int) (string, error) {
	lower := strings.ToLower(strings.ReplaceAll(value, ":", ""))
	if len(lower) != length || strings.Trim(lower, "0123456789abcdef") != "" {
		return "", &ValueError{fmt.Sprintf("%q is not a hash of %d hexadecimal digits", value, length), "check its type and length"}
	}
	return lower, nil
}

// normaliseJA4 accepts the form a_b_c of the JA4 client fingerprint.
func normaliseJA4(value string) (string, error) {
	lower := strings.ToLower(value)
	parts := strings.Split(lower, "_")
	if len(parts) != 3 || len(parts[0]) != 10 || len(parts[1]) != 12 || len(parts[2]) != 12 ||
		strings.Trim(parts[1]+parts[2], "0123456789abcdef") != "" {
		return "", &ValueError{fmt.Sprintf("%q is no JA4 client fingerprint", value), "write it whole, such as t13d1516h2_8daaf6152771_02713d6af862"}
	}
	return lower, nil
}

// normaliseName checks the letters of a DNS name (RFC 1123 2.1, with the
// underscore that is met in practice) and lowers them.
func normaliseName(value string) (string, error) {
	name := plainName(value)
	if !isDNSName(name) {
		return "", &ValueError{fmt.Sprintf("%q is no DNS name", value), "write a whole name, in punycode (xn--) where it is not ASCII, without wildcard, scheme or path"}
	}
	return name, nil
}

// isDNSName wants two labels or more, and a last one that is no number.
func isDNSName(name string) bool {
	if len(name) > 253 || strings.IndexByte(name, '.') < 0 {
		return false
	}
	for rest := name; ; {
		label, after, more := strings.Cut(rest, ".")
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		letters := 0
		for i := range len(label) {
			switch c := label[i]; {
			case c >= 'a' && c <= 'z':
				letters++
			case (c < '0' || c > '9') && c != '-' && c != '_':
				return false
			}
		}
		if !more {
			return len(label) >= 2 && letters > 0
		}
		rest = after
	}
}

// fileEndings are not top-level domains, and are met as "domains" in lists that
// a machine cut out of a report (conhost.exe).
var fileEndings = zones("exe dll php asp aspx txt pdf html htm js json xml yml yaml bat ps1 vbs jar png jpg gif doc docx xls xlsx local lan internal invalid localhost onion")

func checkName(name string, test bool) error {
	below := name == "example" || strings.HasSuffix(name, ".example")
	switch top := name[strings.LastIndexByte(name, '.')+1:]; {
	case test && !below:
		return &ValueError{fmt.Sprintf("%q is not a documentation name", name), `a test entity may use names below "example" only (RFC 2606)`}
	case !test && (below || top == "test"):
		return &ValueError{fmt.Sprintf("%q is a documentation name", name), "only an entity with test: true may use it"}
	case fileEndings[top]:
		return &ValueError{fmt.Sprintf("%q looks like a file, or a name without a public top-level domain", name), "leave it out"}
	case NeverApex(name):
		return &ValueError{fmt.Sprintf("%q is a zone that strangers share", name), "name the one host below it that the source names, or leave it out"}
	}
	return nil
}

func checkPrefix(value string, test bool) error {
	p, err := parsePrefix(value)
	if err != nil {
		return err
	}
	if test {
		if !insideAny(p, documentation) {
			return &ValueError{fmt.Sprintf("%s is not a documentation address", value), "a test entity may use 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32 and 3fff::/20 only"}
		}
		return nil
	}
	if specialTable.OverlapsPrefix(p) {
		s, _ := overlapsAny(p, specialUse)
		return &ValueError{fmt.Sprintf("%s overlaps the special-use prefix %s", value, s), "no entity can hold it; leave it out"}
	}
	broadest := broadest4
	if p.Addr().Is6() {
		broadest = broadest6
	}
	if p.Bits() < broadest {
		return &ValueError{fmt.Sprintf("%s is over-broad", value), fmt.Sprintf("name prefixes of /%d or longer", broadest)}
	}
	return nil
}

// parsePrefix reads an address or a prefix.
func parsePrefix(value string) (netip.Prefix, error) {
	if strings.IndexByte(value, '/') >= 0 {
		p, err := netip.ParsePrefix(value)
		if err != nil {
			return netip.Prefix{}, &ValueError{fmt.Sprintf("%q is no prefix", value), "write an address, a slash and a length"}
		}
		return p.Masked(), nil
	}
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return netip.Prefix{}, &ValueError{fmt.Sprintf("%q is no address", value), "write one IPv4 or IPv6 address"}
	}
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

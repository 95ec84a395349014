package rules

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// The shortest prefixes an indicator may have. Anything broader covers whole
// registries' worth of strangers.
const (
	broadest4 = 12
	broadest6 = 28
)

// specialUse are the prefixes of the IANA special-purpose registries (RFC 6890
// and successors), multicast and the rest that no entity can hold.
var specialUse = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
	"2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "ff00::/8",
)

// specialTable is specialUse, to be asked for millions of prefixes.
var specialTable = tableOf(specialUse)

// documentation are the prefixes a test entity may use (RFC 5737, 3849, 9637),
// and nothing else.
var documentation = prefixes("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func tableOf(list []netip.Prefix) *bart.Lite {
	table := new(bart.Lite)
	for _, p := range list {
		table.Insert(p)
	}
	return table
}

func overlapsAny(p netip.Prefix, list []netip.Prefix) (netip.Prefix, bool) {
	for _, l := range list {
		if l.Overlaps(p) {
			return l, true
		}
	}
	return netip.Prefix{}, false
}

func insideAny(p netip.Prefix, list []netip.Prefix) bool {
	for _, l := range list {
		if l.Bits() <= p.Bits() && l.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

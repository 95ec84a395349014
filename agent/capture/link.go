package capture

import "strconv"

// Link is a link type of capture files (the tcpdump group's list of
// LINKTYPE_ values).
type Link uint32

// Link types that are decoded. Some systems write their own numbers for raw IP.
const (
	LinkNull         Link = 0
	LinkEthernet     Link = 1
	LinkPPP          Link = 9
	LinkRawDLT       Link = 12
	LinkRawOpenBSD   Link = 14
	LinkPPPSerial    Link = 50
	LinkPPPEthernet  Link = 51
	LinkRFC1483      Link = 100
	LinkRaw          Link = 101
	LinkCiscoHDLC    Link = 104
	LinkIEEE80211    Link = 105
	LinkLoop         Link = 108
	LinkSLL          Link = 113
	LinkPrism        Link = 119
	LinkFirewire     Link = 138
	LinkRadiotap     Link = 127
	LinkIPv4         Link = 228
	LinkIPv6         Link = 229
	LinkNFLOG        Link = 239
	LinkSLL2         Link = 276
	linkPPPDirection Link = 204
)

// Error of Decode for link types that are not decoded.
type linkError Link

func (e linkError) Error() string { return "link type " + strconv.Itoa(int(e)) + " is not decoded" }

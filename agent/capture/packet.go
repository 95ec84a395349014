package capture

import (
	"net/netip"
	"time"
)

// TCP flags (RFC 9293 section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// Packet is a decoded packet: the outermost IP header and its transport. Slices
// point into the caller's buffer and are valid until the next packet is read.
type Packet struct {
	Time     time.Time
	Src, Dst netip.AddrPort // port 0 for transports without ports
	Proto    uint8          // IP protocol number: 6, 17, 50, ...
	Flags    uint8          // TCP
	Seq, Ack uint32         // TCP
	Fragment bool           // not the first fragment: no transport header, no payload
	Cut      bool           // the capture holds less than was on the wire
	Length   int            // IP bytes on the wire
	Payload  []byte         // behind the transport header; for other protocols, behind the IP header
	Data     []byte         // from the IP header on, as captured
	Tunnel   string         // encapsulation in words, outermost first: "vlan/gre"
	Inner    *Packet        // of a tunnel gopacket knows (GRE, VXLAN, IP in IP), else nil; the caller's scratch
}

// Package capture decodes packets, reads capture files and writes evidence.
// gopacket lives here and nowhere else.
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
	First    bool           // the first of several fragments
	ID       uint32         // of the fragmented datagram, when Fragment or First
	Cut      bool           // the capture holds less than was on the wire
	Length   int            // IP bytes on the wire
	Payload  []byte         // behind the transport header; for other protocols, behind the IP header
	Sent     int            // payload bytes on the wire; more than len(Payload) when cut or fragmented
	Data     []byte         // from the IP header on, as captured
	Tunnel   string         // encapsulation in words, outermost first: "vlan/gre"
	Inner    *Packet        // of a tunnel (GRE, VXLAN, Geneve, GTP-U, IP in IP), else nil; valid as long as this packet
	Quoted   *Packet        // of an ICMP error: the start of the packet it answers, else nil
}

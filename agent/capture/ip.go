package capture

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// IP protocol numbers (IANA).
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoICMPv6   = 58
	protoDestOpts = 60
	protoEtherIP  = 97
	protoSCTP     = 132
	protoMobility = 135
	protoHIP      = 139
	protoShim6    = 140
)

// ipLayer is the end of the parser's way: it reads the IP header and the
// transport header in one go into the packet. gopacket's own layers would treat
// a first fragment as opaque and give no length of what was cut.
type ipLayer struct {
	packet *Packet
	wire   int // bytes on the wire that the capture does not hold
}

func (*ipLayer) CanDecode() gopacket.LayerClass {
	return gopacket.NewLayerClass([]gopacket.LayerType{layers.LayerTypeIPv4, layers.LayerTypeIPv6})
}
func (*ipLayer) NextLayerType() gopacket.LayerType { return gopacket.LayerTypeZero }
func (*ipLayer) LayerPayload() []byte              { return nil }

func (l *ipLayer) DecodeFromBytes(data []byte, _ gopacket.DecodeFeedback) error {
	return l.packet.decodeIP(data, l.wire)
}

// decodeIP fills p from an IP header on. missing is how many bytes the capture
// cut off the end.
func (p *Packet) decodeIP(data []byte, missing int) error {
	if len(data) == 0 {
		return errShort
	}
	switch data[0] >> 4 {
	case 4:
		return p.decodeIPv4(data, missing)
	case 6:
		return p.decodeIPv6(data, missing)
	}
	return errUnsupported
}

func (p *Packet) decodeIPv4(data []byte, missing int) error {
	if len(data) < 20 {
		return errShort
	}
	header := int(data[0]&15) * 4
	total := int(binary.BigEndian.Uint16(data[2:]))
	if total == 0 { // left to the network card (TSO)
		total = len(data) + missing
	}
	if header < 20 || header > len(data) || total < header {
		return errShort
	}
	data = data[:min(len(data), total)]
	fragment := binary.BigEndian.Uint16(data[6:])
	src, dst := netip.AddrFrom4([4]byte(data[12:16])), netip.AddrFrom4([4]byte(data[16:20]))
	p.network(src, dst, data[9], data, total)
	offset, more := fragment&0x1fff, fragment&0x2000 != 0
	p.Fragment, p.First = offset != 0, offset == 0 && more
	if p.Fragment || p.First {
		p.ID = uint32(binary.BigEndian.Uint16(data[4:]))
	}
	p.transport(data[header:], total-header)
	return nil
}

func (p *Packet) decodeIPv6(data []byte, missing int) error {
	if len(data) < 40 {
		return errShort
	}
	length := int(binary.BigEndian.Uint16(data[4:]))
	total := 40 + length
	if length == 0 { // a jumbogram (RFC 2675), or left to the network card
		total = len(data) + missing
	}
	data = data[:min(len(data), total)]
	src, dst := netip.AddrFrom16([16]byte(data[8:24])), netip.AddrFrom16([16]byte(data[24:40]))
	p.network(src, dst, data[6], data, total)
	header := p.extensions(data)
	p.transport(data[header:], total-header)
	return nil
}

// network sets what every IP packet has and clears what the packet before left.
func (p *Packet) network(src, dst netip.Addr, proto uint8, data []byte, total int) {
	p.Src, p.Dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)
	p.Proto, p.Data, p.Length = proto, data, total
	p.Cut = total > len(data)
	p.Flags, p.Seq, p.Ack, p.ID = 0, 0, 0, 0
	p.Fragment, p.First = false, false
	p.Inner, p.Quoted = nil, nil
}

// extensions walks the extension headers of IPv6 (RFC 8200 section 4) and gives
// the offset behind them. AH and ESP are protocols of their own here.
func (p *Packet) extensions(data []byte) int {
	at := 40
	for {
		size := 0
		switch p.Proto {
		case protoHopByHop, protoRouting, protoDestOpts, protoMobility, protoHIP, protoShim6:
			if at+8 > len(data) {
				return len(data)
			}
			size = 8 + int(data[at+1])*8
		case protoFragment:
			if at+8 > len(data) {
				return len(data)
			}
			size = 8
			place := binary.BigEndian.Uint16(data[at+2:])
			p.Fragment, p.First = place>>3 != 0, place>>3 == 0 && place&1 != 0
			if p.Fragment || p.First { // an atomic fragment (RFC 6946) is none
				p.ID = binary.BigEndian.Uint32(data[at+4:])
			}
		default:
			return at
		}
		if at+size > len(data) {
			return len(data)
		}
		p.Proto = data[at]
		at += size
		if p.Fragment {
			return at
		}
	}
}

// transport reads the transport header at the start of data. sent is what the
// IP header says lies there.
func (p *Packet) transport(data []byte, sent int) {
	p.Payload, p.Sent = data, sent
	if p.Fragment {
		p.Payload, p.Sent = nil, 0
		return
	}
	switch p.Proto {
	case protoTCP:
		p.tcp(data, sent)
	case protoUDP:
		p.udp(data, sent)
	case protoSCTP:
		p.ports(data)
	}
}

// ports reads the ports. Without them a fragment is as good as a later one.
func (p *Packet) ports(data []byte) bool {
	if len(data) < 4 {
		p.Fragment = p.Fragment || p.First
		p.First = false
		return false
	}
	p.Src = netip.AddrPortFrom(p.Src.Addr(), binary.BigEndian.Uint16(data))
	p.Dst = netip.AddrPortFrom(p.Dst.Addr(), binary.BigEndian.Uint16(data[2:]))
	return true
}

func (p *Packet) tcp(data []byte, sent int) {
	p.Payload, p.Sent = nil, 0
	if !p.ports(data) || len(data) < 20 {
		return
	}
	p.Seq, p.Ack = binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	p.Flags = data[13]
	header := int(data[12]>>4) * 4
	if header < 20 || header > sent {
		return // no payload that could be trusted
	}
	p.Payload, p.Sent = data[min(header, len(data)):], sent-header
}

func (p *Packet) udp(data []byte, sent int) {
	p.Payload, p.Sent = nil, 0
	if !p.ports(data) || len(data) < 8 {
		return
	}
	length := int(binary.BigEndian.Uint16(data[4:]))
	switch {
	case length == 0: // a jumbogram, or left to the network card
		length = sent
	case length < 8:
		return
	}
	if !p.First { // a first fragment says the whole datagram's length
		length = min(length, sent)
	}
	p.Payload, p.Sent = data[8:min(len(data), max(length, 8))], length-8
}

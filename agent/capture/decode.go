package capture

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Errors of Decode.
var (
	ErrNotIP     = errors.New("no IP packet in the frame")
	ErrMalformed = errors.New("malformed headers")
)

// maxNesting bounds tunnels inside tunnels.
const maxNesting = 3

// Decoder decodes packets. It reuses all it has: what it gives is valid until
// the next call. It belongs to one goroutine.
type Decoder struct {
	levels  [maxNesting + 1]Packet
	quoted  Packet
	ip      ipLayer
	parsers map[gopacket.LayerType]*gopacket.DecodingLayerParser
	first   *gopacket.DecodingLayerParser // of Ethernet
	decoded []gopacket.LayerType
	all     []gopacket.DecodingLayer
	tunnels map[path]string
}

// NewDecoder makes a decoder for all link types.
func NewDecoder() *Decoder {
	d := &Decoder{
		parsers: map[gopacket.LayerType]*gopacket.DecodingLayerParser{},
		decoded: make([]gopacket.LayerType, 0, 16),
		tunnels: map[path]string{},
	}
	d.all = []gopacket.DecodingLayer{
		&layers.Ethernet{}, &layers.Dot1Q{}, &layers.LLC{}, &layers.SNAP{}, &layers.LinuxSLL{},
		&layers.Loopback{}, &layers.GRE{}, &layers.EtherIP{}, &layers.ERSPANII{},
		&layers.VXLAN{}, &layers.GTPv1U{}, &geneveLayer{},
		&mplsLayer{}, &pppoeLayer{}, &pppLayer{}, &dot11Layer{}, &radiotapLayer{}, &d.ip,
	}
	d.first = d.parser(layers.LayerTypeEthernet)
	return d
}

// parser gives gopacket's parser that starts with typ.
func (d *Decoder) parser(typ gopacket.LayerType) *gopacket.DecodingLayerParser {
	if p := d.parsers[typ]; p != nil {
		return p
	}
	p := gopacket.NewDecodingLayerParser(typ)
	container := gopacket.DecodingLayerContainer(gopacket.DecodingLayerSparse(nil))
	for _, layer := range d.all {
		container = container.Put(layer)
	}
	p.SetDecodingLayerContainer(container)
	p.IgnoreUnsupported = true
	d.parsers[typ] = p
	return p
}

// Decode decodes a frame of a link type. length is its length on the wire.
func (d *Decoder) Decode(link Link, data []byte, length int, at time.Time) (*Packet, error) {
	missing := max(length-len(data), 0)
	if link == LinkEthernet {
		if plainIP(data) {
			return d.bare(data[ethernetHeader:], missing, at)
		}
		return d.decode(d.first, data, missing, at)
	}
	typ, data, err := enter(link, data)
	if err != nil {
		return nil, err
	}
	if typ == gopacket.LayerTypeZero {
		return nil, ErrNotIP
	}
	return d.decode(d.parser(typ), data, missing, at)
}

// DecodeIP decodes a packet from its IP header on. length is its length on the
// wire.
func (d *Decoder) DecodeIP(data []byte, length int, at time.Time) (*Packet, error) {
	return d.bare(data, max(length-len(data), 0), at)
}

// bare decodes from the IP header on, without the parser.
func (d *Decoder) bare(data []byte, missing int, at time.Time) (*Packet, error) {
	p := &d.levels[0]
	if err := p.decodeIP(data, missing); err != nil {
		return nil, ErrMalformed
	}
	p.Time, p.Tunnel = at, ""
	d.within(p, 0, path{})
	return p, nil
}

const ethernetHeader = 14

// plainIP says whether a frame is IP right behind the Ethernet header: nearly
// every frame is, and needs no parser.
func plainIP(frame []byte) bool {
	if len(frame) <= ethernetHeader {
		return false
	}
	typ := binary.BigEndian.Uint16(frame[12:])
	return typ == 0x0800 && frame[ethernetHeader]>>4 == 4 || typ == 0x86dd && frame[ethernetHeader]>>4 == 6
}

func (d *Decoder) decode(parser *gopacket.DecodingLayerParser, data []byte, missing int, at time.Time) (*Packet, error) {
	p := &d.levels[0]
	var way path
	if err := d.run(parser, data, missing, p, &way); err != nil {
		return nil, err
	}
	p.Time = at
	p.Tunnel = d.name(way)
	d.within(p, 0, way)
	return p, nil
}

// run lets gopacket's parser go from its first layer to the IP header, into p.
func (d *Decoder) run(parser *gopacket.DecodingLayerParser, data []byte, missing int, p *Packet, way *path) error {
	d.ip.packet, d.ip.wire = p, missing
	d.decoded = d.decoded[:0] // a parser without its first layer does not
	err := parser.DecodeLayers(data, &d.decoded)
	if err != nil {
		if err == errUnsupported {
			return ErrNotIP
		}
		return ErrMalformed
	}
	for _, typ := range d.decoded {
		if typ == layers.LayerTypeIPv4 || typ == layers.LayerTypeIPv6 {
			return nil
		}
		way.add(typ)
	}
	return ErrNotIP
}

// within decodes the packet inside a tunnel's, and the one an ICMP error
// quotes.
func (d *Decoder) within(p *Packet, level int, way path) {
	if p.Fragment || len(p.Payload) == 0 {
		return
	}
	switch p.Proto {
	case protoTCP:
		return
	case protoICMP, protoICMPv6:
		d.quote(p)
		return
	}
	typ := inside(p)
	if typ == gopacket.LayerTypeZero || level == maxNesting {
		return
	}
	inner := &d.levels[level+1]
	mark(&way, p.Proto)
	if d.run(d.parser(typ), p.Payload, p.Sent-len(p.Payload), inner, &way) != nil {
		return
	}
	inner.Time = p.Time
	inner.Tunnel = d.name(way)
	p.Inner = inner
	d.within(inner, level+1, way)
}

// inside says what a tunnel's packet holds. UDP tunnels are known by the port
// of their destination (RFC 7348, RFC 8926, 3GPP TS 29.281).
func inside(p *Packet) gopacket.LayerType {
	switch p.Proto {
	case protoIPv4:
		return layers.LayerTypeIPv4
	case protoIPv6:
		return layers.LayerTypeIPv6
	case protoGRE:
		return layers.LayerTypeGRE
	case protoEtherIP:
		return layers.LayerTypeEtherIP
	case protoUDP:
		switch p.Dst.Port() {
		case 4789:
			return layers.LayerTypeVXLAN
		case 6081:
			return layers.LayerTypeGeneve
		case 2152:
			return layers.LayerTypeGTPv1U
		}
	}
	return gopacket.LayerTypeZero
}

// quote decodes what an ICMP "destination unreachable" answers (RFC 792, RFC
// 4443 section 3.1): at least its ports.
func (d *Decoder) quote(p *Packet) {
	unreachable := uint8(3)
	if p.Proto == protoICMPv6 {
		unreachable = 1
	}
	if len(p.Payload) < 8 || p.Payload[0] != unreachable {
		return
	}
	if d.quoted.decodeIP(p.Payload[8:], 0) == nil {
		d.quoted.Time = p.Time
		p.Quoted = &d.quoted
	}
}

// enter finds the first layer that the parser knows, behind link headers that
// gopacket has no layer for.
func enter(link Link, data []byte) (gopacket.LayerType, []byte, error) {
	switch link {
	case LinkNull, LinkLoop:
		return layers.LayerTypeLoopback, data, nil
	case LinkPPP, LinkPPPSerial:
		return layers.LayerTypePPP, data, nil
	case linkPPPDirection:
		return skip(layers.LayerTypePPP, data, 1)
	case LinkPPPEthernet:
		return layers.LayerTypePPPoE, data, nil
	case LinkRawDLT, LinkRawOpenBSD, LinkRaw, LinkIPv4, LinkIPv6:
		return guessIP(data), data, nil
	case LinkRFC1483:
		return layers.LayerTypeLLC, data, nil
	case LinkCiscoHDLC:
		return etherType(data, 2, 4)
	case LinkFirewire:
		return etherType(data, 16, 18)
	case LinkSLL:
		return layers.LayerTypeLinuxSLL, data, nil
	case LinkSLL2:
		return etherType(data, 0, 20)
	case LinkIEEE80211:
		return layers.LayerTypeDot11, data, nil
	case LinkRadiotap:
		return layers.LayerTypeRadioTap, data, nil
	case LinkPrism:
		return skip(layers.LayerTypeDot11, data, 144)
	case LinkNFLOG:
		return nflog(data)
	}
	return 0, nil, linkError(link)
}

func skip(typ gopacket.LayerType, data []byte, n int) (gopacket.LayerType, []byte, error) {
	if len(data) < n {
		return 0, nil, ErrMalformed
	}
	return typ, data[n:], nil
}

// etherType reads an EtherType at an offset.
func etherType(data []byte, at, header int) (gopacket.LayerType, []byte, error) {
	if len(data) < header {
		return 0, nil, ErrMalformed
	}
	return layers.EthernetType(binary.BigEndian.Uint16(data[at:])).LayerType(), data[header:], nil
}

// nflog finds the packet among the attributes of the kernel's log messages
// (LINKTYPE_NFLOG: attributes in the host's order, padded to four bytes).
func nflog(data []byte) (gopacket.LayerType, []byte, error) {
	const header, payload = 4, 9
	if len(data) < header {
		return 0, nil, ErrMalformed
	}
	for data = data[header:]; len(data) >= 4; {
		size := int(binary.LittleEndian.Uint16(data))
		if size < 4 || size > len(data) {
			return 0, nil, ErrMalformed
		}
		if binary.LittleEndian.Uint16(data[2:]) == payload {
			return guessIP(data[4:size]), data[4:size], nil
		}
		data = data[min((size+3)&^3, len(data)):]
	}
	return 0, nil, ErrNotIP
}

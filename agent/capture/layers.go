package capture

import (
	"encoding/binary"
	"errors"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Layers that gopacket decodes only with an allocation a packet, wrongly, or
// not at all, as decoding layers of ours. They use gopacket's layer types, so
// that its parser joins them with its own.

var (
	errShort       = errors.New("header cut short")
	errUnsupported = errors.New("no IP packet inside")
)

// base is what all of them share.
type base struct {
	payload []byte
	next    gopacket.LayerType
}

func (b *base) NextLayerType() gopacket.LayerType { return b.next }
func (b *base) LayerPayload() []byte              { return b.payload }

// guessIP tells IPv4 from IPv6 by the version.
func guessIP(data []byte) gopacket.LayerType {
	if len(data) == 0 {
		return gopacket.LayerTypeZero
	}
	switch data[0] >> 4 {
	case 4:
		return layers.LayerTypeIPv4
	case 6:
		return layers.LayerTypeIPv6
	}
	return gopacket.LayerTypeZero
}

// mplsLayer walks a whole label stack (RFC 3032). What lies under it is not
// named: IP is told by its version, else Ethernet behind a control word of zero
// (RFC 4448) or without.
type mplsLayer struct{ base }

func (*mplsLayer) CanDecode() gopacket.LayerClass { return layers.LayerTypeMPLS }

func (m *mplsLayer) DecodeFromBytes(data []byte, _ gopacket.DecodeFeedback) error {
	for len(data) >= 4 {
		bottom := data[2]&1 != 0
		data = data[4:]
		if !bottom {
			continue
		}
		m.payload, m.next = data, guessIP(data)
		if m.next != gopacket.LayerTypeZero {
			return nil
		}
		if len(data) >= 4 && data[0]>>4 == 0 {
			m.payload = data[4:]
		}
		m.next = layers.LayerTypeEthernet
		return nil
	}
	return errShort
}

// pppoeLayer is a session packet (RFC 2516 section 4).
type pppoeLayer struct{ base }

func (*pppoeLayer) CanDecode() gopacket.LayerClass { return layers.LayerTypePPPoE }

func (p *pppoeLayer) DecodeFromBytes(data []byte, _ gopacket.DecodeFeedback) error {
	if len(data) < 6 {
		return errShort
	}
	if data[1] != 0 {
		return errUnsupported // discovery
	}
	length := int(binary.BigEndian.Uint16(data[4:]))
	p.payload, p.next = data[6:min(len(data), 6+length)], layers.LayerTypePPP
	return nil
}

// pppLayer is PPP with or without HDLC framing and with a compressed protocol
// field or not (RFC 1661 section 2, RFC 1662).
type pppLayer struct{ base }

func (*pppLayer) CanDecode() gopacket.LayerClass { return layers.LayerTypePPP }

func (p *pppLayer) DecodeFromBytes(data []byte, _ gopacket.DecodeFeedback) error {
	if len(data) >= 2 && data[0] == 0xff && data[1] == 0x03 {
		data = data[2:]
	}
	if len(data) < 2 {
		return errShort
	}
	protocol := uint16(data[0])
	if data[0]&1 == 0 {
		protocol = binary.BigEndian.Uint16(data)
		data = data[1:]
	}
	p.payload = data[1:]
	switch protocol {
	case 0x21:
		p.next = layers.LayerTypeIPv4
	case 0x57:
		p.next = layers.LayerTypeIPv6
	case 0x281:
		p.next = layers.LayerTypeMPLS
	default:
		return errUnsupported
	}
	return nil
}

// dot11Layer finds the payload of an IEEE 802.11 data frame that is not
// encrypted (IEEE 802.11-2020 section 9.3.2).
type dot11Layer struct{ base }

func (*dot11Layer) CanDecode() gopacket.LayerClass { return layers.LayerTypeDot11 }

func (d *dot11Layer) DecodeFromBytes(data []byte, _ gopacket.DecodeFeedback) error {
	if len(data) < 24 {
		return errShort
	}
	const data2, noData, qos = 2, 4, 8
	kind, subtype, flags := data[0]>>2&3, data[0]>>4, data[1]
	if kind != data2 || subtype&noData != 0 || flags&0x40 != 0 {
		return errUnsupported
	}
	header, aggregate := 24, false
	if flags&3 == 3 { // between access points: a fourth address
		header += 6
	}
	if subtype&qos != 0 {
		if len(data) < header+2 {
			return errShort
		}
		aggregate = data[header]&0x80 != 0
		header += 2
		if flags&0x80 != 0 {
			header += 4
		}
	}
	if aggregate { // A-MSDU: the first subframe's own header
		header += 14
	}
	if len(data) <= header {
		return errShort
	}
	d.payload, d.next = data[header:], layers.LayerTypeLLC
	return nil
}

// radiotapLayer skips a radiotap header.
type radiotapLayer struct{ base }

func (*radiotapLayer) CanDecode() gopacket.LayerClass { return layers.LayerTypeRadioTap }

func (r *radiotapLayer) DecodeFromBytes(data []byte, _ gopacket.DecodeFeedback) error {
	if len(data) < 8 {
		return errShort
	}
	length := int(binary.LittleEndian.Uint16(data[2:]))
	if length < 8 || length > len(data) {
		return errShort
	}
	r.payload, r.next = data[length:], layers.LayerTypeDot11
	return nil
}

// geneveLayer skips a Geneve header and its options (RFC 8926 section 3.4).
type geneveLayer struct{ base }

func (*geneveLayer) CanDecode() gopacket.LayerClass { return layers.LayerTypeGeneve }

func (g *geneveLayer) DecodeFromBytes(data []byte, _ gopacket.DecodeFeedback) error {
	if len(data) < 8 {
		return errShort
	}
	header := 8 + int(data[0]&0x3f)*4
	if data[0]>>6 != 0 || header > len(data) {
		return errUnsupported
	}
	g.next = layers.EthernetType(binary.BigEndian.Uint16(data[2:])).LayerType()
	g.payload = data[header:]
	return nil
}

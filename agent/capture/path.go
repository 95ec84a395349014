package capture

import (
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// path is the encapsulation of a packet, outermost first. Its name is made once
// for every path that occurs, so that a packet costs no string.
type path struct {
	words [12]word
	n     int
}

type word uint8

const (
	wordVLAN word = iota + 1
	wordMPLS
	wordPPPoE
	wordPPP
	wordWireless
	wordGRE
	wordVXLAN
	wordGeneve
	wordGTP
	wordIPIP
	word6in4
	wordEtherIP
	wordERSPAN
)

var words = [...]string{
	wordVLAN: "vlan", wordMPLS: "mpls", wordPPPoE: "pppoe", wordPPP: "ppp", wordWireless: "802.11",
	wordGRE: "gre", wordVXLAN: "vxlan", wordGeneve: "geneve", wordGTP: "gtp", wordIPIP: "ipip",
	word6in4: "6in4", wordEtherIP: "etherip", wordERSPAN: "erspan",
}

func (p *path) put(w word) {
	if p.n < len(p.words) {
		p.words[p.n] = w
		p.n++
	}
}

// add takes a layer that the parser went through.
func (p *path) add(typ gopacket.LayerType) {
	switch typ {
	case layers.LayerTypeDot1Q:
		p.put(wordVLAN)
	case layers.LayerTypeMPLS:
		p.put(wordMPLS)
	case layers.LayerTypePPPoE:
		p.put(wordPPPoE)
	case layers.LayerTypePPP:
		if p.n == 0 || p.words[p.n-1] != wordPPPoE {
			p.put(wordPPP)
		}
	case layers.LayerTypeDot11:
		p.put(wordWireless)
	case layers.LayerTypeGRE:
		p.put(wordGRE)
	case layers.LayerTypeVXLAN:
		p.put(wordVXLAN)
	case layers.LayerTypeGeneve:
		p.put(wordGeneve)
	case layers.LayerTypeGTPv1U:
		p.put(wordGTP)
	case layers.LayerTypeEtherIP:
		p.put(wordEtherIP)
	case layers.LayerTypeERSPANII:
		p.put(wordERSPAN)
	}
}

// mark takes a tunnel that is an IP protocol without a header of its own.
func mark(p *path, proto uint8) {
	switch proto {
	case protoIPv4:
		p.put(wordIPIP)
	case protoIPv6:
		p.put(word6in4)
	}
}

// name gives the path in words, "" for a bare packet.
func (d *Decoder) name(p path) string {
	if p.n == 0 {
		return ""
	}
	if s, ok := d.tunnels[p]; ok {
		return s
	}
	parts := make([]string, 0, p.n)
	for _, w := range p.words[:p.n] {
		parts = append(parts, words[w])
	}
	s := strings.Join(parts, "/")
	if len(d.tunnels) < maxPaths {
		d.tunnels[p] = s
	}
	return s
}

// maxPaths bounds what hostile packets can make the decoder remember.
const maxPaths = 1024

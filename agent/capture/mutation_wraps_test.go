package capture_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"sallyport/agent/capture"
)

// wrapping puts IP packets into other layers.
type wrapping struct {
	name   string
	tunnel bool
	wrap   func(frame) frame
}

// fixed is a header that says of its payload only whether it is IPv4 or IPv6.
// In text, hex; EE is the EtherType, PP the PPP protocol, FF the BSD family, II
// the IP protocol number.
func fixed(name string, link capture.Link, text string) wrapping {
	return wrapping{name: name, wrap: func(f frame) frame { return prepend(f, link, header(text, f.data)) }}
}

func header(text string, ip []byte) []byte {
	words := [...]string{"EE", "0800", "PP", "0021", "FF", "02000000", "II", "04"}
	if len(ip) > 0 && ip[0]>>4 == 6 {
		words = [...]string{"EE", "86dd", "PP", "0057", "FF", "1e000000", "II", "29"}
	}
	out, err := hex.DecodeString(strings.ReplaceAll(strings.NewReplacer(words[:]...).Replace(text), " ", ""))
	if err != nil {
		panic(err)
	}
	return out
}

func prepend(f frame, link capture.Link, head []byte) frame {
	return frame{link, append(head, f.data...), f.length + len(head), f.at}
}

const macs = "020000000001 020000000002 "

func wraps() []wrapping {
	return []wrapping{
		{name: "raw IP", wrap: func(f frame) frame { return f }},
		fixed("Ethernet", capture.LinkEthernet, macs+"EE"),
		fixed("VLAN", capture.LinkEthernet, macs+"8100 0064 EE"),
		fixed("QinQ", capture.LinkEthernet, macs+"88a8 0064 8100 0065 EE"),
		fixed("VLAN twice", capture.LinkEthernet, macs+"8100 0064 8100 0065 EE"),
		fixed("MPLS", capture.LinkEthernet, macs+"8847 00010040 000201ff"),
		fixed("MPLS in VLAN", capture.LinkEthernet, macs+"8100 0064 8847 000201ff"),
		fixed("pseudo wire", capture.LinkEthernet, macs+"8847 000201ff 00000000"+macs+"EE"),
		{name: "LLC and SNAP", wrap: func(f frame) frame {
			head := header(macs+"0000 aaaa03 000000 EE", f.data)
			binary.BigEndian.PutUint16(head[12:], uint16(min(f.length+8, 1500))) // more is an EtherType
			return prepend(f, capture.LinkEthernet, head)
		}},
		{name: "PPPoE", wrap: func(f frame) frame {
			head := header(macs+"8864 1100 0001 0000 PP", f.data)
			binary.BigEndian.PutUint16(head[18:], uint16(f.length+2))
			return prepend(f, capture.LinkEthernet, head)
		}},
		fixed("PPP", capture.LinkPPP, "ff03 PP"),
		fixed("SLL", capture.LinkSLL, "0000 0001 0006 020000000001 0000 EE"),
		fixed("SLL2", capture.LinkSLL2, "EE 0000 00000002 0001 00 06 020000000001 0000"),
		fixed("loopback of BSD", capture.LinkNull, "FF"),
		fixed("802.11", capture.LinkIEEE80211, "0801 0000 020000000001 020000000002 020000000003 1000 aaaa03 000000 EE"),
		fixed("802.11 QoS with radiotap", capture.LinkRadiotap, "00000800 00000000 8801 0000 020000000001 020000000002 020000000003 1000 0000 aaaa03 000000 EE"),
		tunnel("GRE", 47, "0000 EE"),
		tunnel("GRE with key and sequence", 47, "3000 EE 00000007 00000001"),
		tunnel("GRE with Ethernet", 47, "0000 6558"+macs+"EE"),
		tunnel("IP in IP", 0, ""),
		udpTunnel("VXLAN", 4789, "08000000 00006400"+macs+"EE"),
		udpTunnel("Geneve", 6081, "0000 6558 00006400"+macs+"EE"),
		udpTunnel("GTP-U", 2152, "30ff LLLL 00000001"),
	}
}

// tunnel puts a packet into another between two documentation addresses.
func tunnel(name string, proto byte, text string) wrapping {
	return wrapping{name: name, tunnel: true, wrap: func(f frame) frame {
		inside, number := header(text, f.data), proto
		if number == 0 {
			number = header("II", f.data)[0]
		}
		return prepend(f, capture.LinkRaw, append(outer(number, f.length+len(inside)), inside...))
	}}
}

func outer(proto byte, length int) []byte {
	head, _ := hex.DecodeString("4500000000010000400000000a0000010a000002")
	copy(head[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(head[2:], uint16(min(length+20, 0xffff)))
	head[9] = proto
	return head
}

func udpTunnel(name string, port uint16, text string) wrapping {
	return wrapping{name: name, tunnel: true, wrap: func(f frame) frame {
		length, _ := hexUint16(uint16(f.length))
		inside := header(strings.ReplaceAll(text, "LLLL", length), f.data)
		n := 8 + len(inside) + f.length
		udp := binary.BigEndian.AppendUint16([]byte{0xc0, 0x01}, port)
		udp = binary.BigEndian.AppendUint16(udp, uint16(min(n, 0xffff)))
		return prepend(f, capture.LinkRaw, append(append(outer(17, n), append(udp, 0, 0)...), inside...))
	}}
}

func hexUint16(n uint16) (string, error) {
	return hex.EncodeToString(binary.BigEndian.AppendUint16(nil, n)), nil
}

// container writes frames as a file.
type container struct {
	name  string
	write func([]frame) []byte
}

func containers() []container {
	return []container{
		{"pcapng with an interface a link type", func(frames []frame) []byte { return pcapng(binary.LittleEndian, frames) }},
		{"pcapng, big endian", func(frames []frame) []byte { return pcapng(binary.BigEndian, frames) }},
		{"pcap, big endian", func(frames []frame) []byte { return pcap(binary.BigEndian, 0xa1b2c3d4, 1000, frames) }},
		{"pcap, nanoseconds", func(frames []frame) []byte { return pcap(binary.LittleEndian, 0xa1b23c4d, 1, frames) }},
		{"pcap, nanoseconds, big endian", func(frames []frame) []byte { return pcap(binary.BigEndian, 0xa1b23c4d, 1, frames) }},
	}
}

// pcap writes the frames that have the first one's link type.
func pcap(order binary.AppendByteOrder, magic uint32, unit int, frames []frame) []byte {
	link := capture.LinkEthernet
	if len(frames) > 0 {
		link = frames[0].link
	}
	out := order.AppendUint32(nil, magic)
	out = append(order.AppendUint16(order.AppendUint16(out, 2), 4), make([]byte, 8)...)
	out = order.AppendUint32(order.AppendUint32(out, 262144), uint32(link))
	for _, f := range frames {
		if f.link != link {
			continue
		}
		out = order.AppendUint32(order.AppendUint32(out, uint32(f.at.Unix())), uint32(f.at.Nanosecond()/unit))
		out = order.AppendUint32(order.AppendUint32(out, uint32(len(f.data))), uint32(f.length))
		out = append(out, f.data...)
	}
	return out
}

// pcapng writes two interfaces of each link type that occurs, and the frames to
// them in turn.
func pcapng(order binary.AppendByteOrder, frames []frame) []byte {
	put32 := order.AppendUint32
	block := func(out []byte, kind uint32, body []byte) []byte {
		body = append(body, make([]byte, -len(body)&3)...)
		size := uint32(len(body) + 12)
		return put32(append(put32(put32(out, kind), size), body...), size)
	}
	out := block(nil, 0x0a0d0d0a, append(put32(nil, 0x1a2b3c4d), order.AppendUint16(order.AppendUint16(nil, 1), 0)...))
	out = out[:0]
	section := put32(nil, 0x1a2b3c4d)
	section = order.AppendUint16(order.AppendUint16(section, 1), 0)
	section = append(section, bytes.Repeat([]byte{0xff}, 8)...)
	out = block(out, 0x0a0d0d0a, section)
	places, n := map[capture.Link]uint32{}, uint32(0)
	for i, f := range frames {
		if _, ok := places[f.link]; !ok {
			places[f.link] = n
			for range 2 {
				body := order.AppendUint16(order.AppendUint16(nil, uint16(f.link)), 0)
				body = put32(body, 262144)
				body = append(order.AppendUint16(order.AppendUint16(body, 9), 1), 9, 0, 0, 0) // nanoseconds
				out = block(out, 1, put32(body, 0))
				n++
			}
		}
		stamp := uint64(f.at.UnixNano())
		body := put32(nil, places[f.link]+uint32(i%2))
		body = put32(put32(body, uint32(stamp>>32)), uint32(stamp))
		body = put32(put32(body, uint32(len(f.data))), uint32(f.length))
		out = block(out, 6, append(body, f.data...))
	}
	return out
}

package capture

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"
)

var (
	testSrc = netip.MustParseAddrPort("198.18.0.1:40000")
	testDst = netip.MustParseAddrPort("198.18.0.2:3389")
	test6   = [2]netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
)

// join concatenates headers.
func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func be16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

// ip4 is an IPv4 header before body; fragment is the field of flags and offset.
func ip4(proto uint8, fragment int, body []byte) []byte {
	h := join([]byte{0x45, 0}, be16(20+len(body)), be16(7), be16(fragment), []byte{64, proto, 0, 0})
	src, dst := testSrc.Addr().As4(), testDst.Addr().As4()
	return join(h, src[:], dst[:], body)
}

func ip6(proto uint8, body []byte) []byte {
	src, dst := test6[0].As16(), test6[1].As16()
	return join([]byte{0x60, 0, 0, 0}, be16(len(body)), []byte{proto, 64}, src[:], dst[:], body)
}

func tcp(payload string) []byte {
	return join(be16(40000), be16(3389), []byte{0, 0, 0, 9, 0, 0, 0, 5, 0x50, ACK | PSH, 1, 0, 0, 0, 0, 0}, []byte(payload))
}

func udp(dport int, payload []byte) []byte {
	return join(be16(40000), be16(dport), be16(8+len(payload)), be16(0), payload)
}

func eth(kind int, body []byte) []byte { return join(make([]byte, 12), be16(kind), body) }

func TestDecode(t *testing.T) {
	plain := ip4(protoTCP, 0, tcp("hello"))
	inner := eth(0x0800, plain)
	tests := []struct {
		name   string
		link   Link
		frame  []byte
		tunnel string
		proto  uint8 // of the outermost IP header
		inner  string
	}{
		{"ethernet", LinkEthernet, eth(0x0800, plain), "", 6, ""},
		{"padded", LinkEthernet, append(eth(0x0800, plain), make([]byte, 9)...), "", 6, ""},
		{"vlan", LinkEthernet, eth(0x8100, join(be16(5), be16(0x0800), plain)), "vlan", 6, ""},
		{"qinq", LinkEthernet, eth(0x88a8, join(be16(5), be16(0x8100), be16(6), be16(0x0800), plain)), "vlan/vlan", 6, ""},
		{"llc snap", LinkEthernet, eth(8+len(plain), join([]byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(0x0800), plain)), "", 6, ""},
		{"mpls", LinkEthernet, eth(0x8847, join([]byte{0, 1, 0, 64, 0, 2, 1, 64}, plain)), "mpls", 6, ""},
		{"mpls ethernet", LinkEthernet, eth(0x8847, join([]byte{0, 2, 1, 64}, make([]byte, 4), inner)), "mpls", 6, ""},
		{"pppoe", LinkEthernet, eth(0x8864, join([]byte{0x11, 0, 0, 1}, be16(2+len(plain)), be16(0x21), plain)), "pppoe", 6, ""},
		{"null", LinkNull, join([]byte{2, 0, 0, 0}, plain), "", 6, ""},
		{"null big endian", LinkLoop, join([]byte{0, 0, 0, 2}, plain), "", 6, ""},
		{"raw", LinkRaw, plain, "", 6, ""},
		{"raw openbsd", LinkRawOpenBSD, plain, "", 6, ""},
		{"ipv4", LinkIPv4, plain, "", 6, ""},
		{"sll", LinkSLL, join(make([]byte, 4), be16(6), make([]byte, 8), be16(0x0800), plain), "", 6, ""},
		{"sll2", LinkSLL2, join(be16(0x0800), make([]byte, 18), plain), "", 6, ""},
		{"ppp", LinkPPP, join([]byte{0xff, 3, 0, 0x21}, plain), "ppp", 6, ""},
		{"cisco hdlc", LinkCiscoHDLC, join([]byte{0x0f, 0}, be16(0x0800), plain), "", 6, ""},
		{"802.11 qos", LinkIEEE80211, join([]byte{0x88, 1}, make([]byte, 24), []byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(0x0800), plain), "802.11", 6, ""},
		{"radiotap", LinkRadiotap, join([]byte{0, 0, 8, 0, 0, 0, 0, 0, 0x08, 2}, make([]byte, 22), []byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(0x0800), plain), "802.11", 6, ""},
		{"nflog", LinkNFLOG, join([]byte{2, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, byte(4 + len(plain)), 0, 9, 0}, plain), "", 6, ""},
		{"gre", LinkRaw, ip4(protoGRE, 0, join(be16(0), be16(0x0800), plain)), "", 47, "gre"},
		{"gre key", LinkRaw, ip4(protoGRE, 0, join(be16(0x2000), be16(0x0800), make([]byte, 4), plain)), "", 47, "gre"},
		{"pptp gre", LinkRaw, ip4(protoGRE, 0, join(be16(0x3001), be16(0x880b), make([]byte, 8), []byte{0xff, 3, 0, 0x21}, plain)), "", 47, "gre/ppp"},
		{"gre ethernet", LinkRaw, ip4(protoGRE, 0, join(be16(0), be16(0x6558), inner)), "", 47, "gre"},
		{"ipip", LinkRaw, ip4(protoIPv4, 0, plain), "", 4, "ipip"},
		{"6in4", LinkRaw, ip4(protoIPv6, 0, ip6(protoTCP, tcp("hello"))), "", 41, "6in4"},
		{"vxlan", LinkRaw, ip4(protoUDP, 0, udp(4789, join([]byte{8, 0, 0, 0, 0, 0, 1, 0}, inner))), "", 17, "vxlan"},
		{"geneve", LinkRaw, ip4(protoUDP, 0, udp(6081, join([]byte{1, 0}, be16(0x6558), make([]byte, 8), inner))), "", 17, "geneve"},
		{"gtp", LinkRaw, ip4(protoUDP, 0, udp(2152, join([]byte{0x30, 0xff}, be16(len(plain)), make([]byte, 4), plain))), "", 17, "gtp"},
		{"vlan and gre", LinkEthernet, eth(0x8100, join(be16(5), be16(0x0800), ip4(protoGRE, 0, join(be16(0), be16(0x0800), plain)))), "vlan", 47, "vlan/gre"},
		{"ipv6 extensions", LinkIPv6, ip6(protoHopByHop, join([]byte{protoDestOpts, 0}, make([]byte, 6), []byte{protoTCP, 0}, make([]byte, 6), tcp("hello"))), "", 6, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := time.Unix(9, 0)
			p, err := NewDecoder().Decode(tt.link, tt.frame, len(tt.frame), at)
			if err != nil {
				t.Fatal(err)
			}
			if p.Proto != tt.proto || p.Tunnel != tt.tunnel || !p.Time.Equal(at) || p.Cut {
				t.Errorf("protocol %d, tunnel %q, cut %v; want %d, %q", p.Proto, p.Tunnel, p.Cut, tt.proto, tt.tunnel)
			}
			if tt.inner != "" {
				if p.Inner == nil {
					t.Fatal("no inner packet")
				}
				p = p.Inner
				if p.Tunnel != tt.inner {
					t.Errorf("inner tunnel %q, want %q", p.Tunnel, tt.inner)
				}
			} else if p.Inner != nil {
				t.Error("an inner packet from nowhere")
			}
			if string(p.Payload) != "hello" || p.Sent != 5 || p.Src.Port() != 40000 || p.Dst.Port() != 3389 || p.Seq != 9 || p.Ack != 5 {
				t.Errorf("payload %q (%d sent), %v -> %v, seq %d ack %d", p.Payload, p.Sent, p.Src, p.Dst, p.Seq, p.Ack)
			}
		})
	}
}

func TestDecodePortless(t *testing.T) {
	for _, proto := range []uint8{47, 50, 51, 115, 1, 2, 89} {
		p, err := NewDecoder().DecodeIP(ip4(proto, 0, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}), 29, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if p.Proto != proto || p.Src.Port() != 0 || p.Dst.Port() != 0 || len(p.Payload) != 9 {
			t.Errorf("protocol %d: %+v", proto, p)
		}
	}
	p, err := NewDecoder().DecodeIP(ip4(protoSCTP, 0, join(be16(40000), be16(36412), make([]byte, 8))), 32, time.Time{})
	if err != nil || p.Src.Port() != 40000 || p.Dst.Port() != 36412 {
		t.Errorf("SCTP: %+v, %v", p, err)
	}
}

func TestDecodeFragments(t *testing.T) {
	d := NewDecoder()
	whole := udp(500, make([]byte, 100))
	first, err := d.DecodeIP(ip4(protoUDP, 0x2000, whole[:48]), 68, time.Time{})
	if err != nil || !first.First || first.Fragment || first.ID != 7 || len(first.Payload) != 40 || first.Sent != 100 {
		t.Errorf("first fragment: %+v, %v", first, err)
	}
	later, err := d.DecodeIP(ip4(protoUDP, 6, whole[48:]), 80, time.Time{})
	if err != nil || !later.Fragment || later.First || later.ID != 7 || later.Payload != nil || later.Src.Port() != 0 {
		t.Errorf("later fragment: %+v, %v", later, err)
	}
	tiny, err := d.DecodeIP(ip4(protoUDP, 0x2000, whole[:2]), 22, time.Time{})
	if err != nil || !tiny.Fragment {
		t.Errorf("a first fragment without ports: %+v, %v", tiny, err)
	}
	header := join([]byte{protoUDP, 0}, be16(1), []byte{0, 0, 1, 2})
	six, err := d.DecodeIP(ip6(protoFragment, join(header, whole[:48])), 96, time.Time{})
	if err != nil || !six.First || six.ID != 0x102 || six.Sent != 100 {
		t.Errorf("IPv6 first fragment: %+v, %v", six, err)
	}
	header = join([]byte{protoUDP, 0}, be16(48|1), []byte{0, 0, 1, 2})
	six, err = d.DecodeIP(ip6(protoFragment, join(header, whole[48:])), 108, time.Time{})
	if err != nil || !six.Fragment || six.Payload != nil || six.ID != 0x102 {
		t.Errorf("IPv6 later fragment: %+v, %v", six, err)
	}
}

func TestDecodeCut(t *testing.T) {
	frame := eth(0x0800, ip4(protoTCP, 0, tcp("hello")))
	p, err := NewDecoder().Decode(LinkEthernet, frame[:len(frame)-3], len(frame), time.Time{})
	if err != nil || !p.Cut || string(p.Payload) != "he" || p.Sent != 5 || p.Length != 45 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestDecodeICMPQuotes(t *testing.T) {
	quoted := ip4(protoUDP, 0, udp(51820, nil))
	p, err := NewDecoder().DecodeIP(ip4(protoICMP, 0, join([]byte{3, 3, 0, 0, 0, 0, 0, 0}, quoted)), 56, time.Time{})
	if err != nil || p.Quoted == nil || p.Quoted.Dst.Port() != 51820 || p.Quoted.Proto != protoUDP {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		name  string
		link  Link
		frame []byte
		want  error
	}{
		{"empty", LinkEthernet, nil, ErrMalformed},
		{"ARP", LinkEthernet, eth(0x0806, make([]byte, 28)), ErrNotIP},
		{"short IPv4", LinkEthernet, eth(0x0800, []byte{0x45, 0, 0}), ErrMalformed},
		{"header longer than packet", LinkRaw, join([]byte{0x4f}, ip4(6, 0, nil)[1:]), ErrMalformed},
		{"PPPoE discovery", LinkEthernet, eth(0x8863, []byte{0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0}), ErrNotIP},
		{"encrypted 802.11", LinkIEEE80211, join([]byte{0x08, 0x41}, make([]byte, 40)), ErrNotIP},
		{"raw, no IP version", LinkRaw, make([]byte, 40), ErrNotIP},
		{"unknown EtherType", LinkSLL2, join(be16(0x9999), make([]byte, 40)), ErrNotIP},
		{"unknown link", 147, make([]byte, 40), linkError(147)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDecoder()
			if _, err := d.Decode(LinkRaw, ip4(6, 0, tcp("before")), 46, time.Time{}); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Decode(tt.link, tt.frame, len(tt.frame), time.Time{}); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	plain := ip4(protoTCP, 0, tcp("hello"))
	frames := map[string][]byte{
		"tcp":   eth(0x0800, plain),
		"ipv6":  eth(0x86dd, ip6(protoUDP, udp(53, []byte("x")))),
		"vlan":  eth(0x8100, join(be16(5), be16(0x0800), plain)),
		"gre":   eth(0x0800, ip4(protoGRE, 0, join(be16(0), be16(0x0800), plain))),
		"vxlan": eth(0x0800, ip4(protoUDP, 0, udp(4789, join([]byte{8, 0, 0, 0, 0, 0, 1, 0}, eth(0x0800, plain))))),
		"pppoe": eth(0x8864, join([]byte{0x11, 0, 0, 1}, be16(2+len(plain)), be16(0x21), plain)),
		"arp":   eth(0x0806, make([]byte, 28)),
		"icmp":  eth(0x0800, ip4(protoICMP, 0, join([]byte{3, 3, 0, 0, 0, 0, 0, 0}, plain))),
	}
	d := NewDecoder()
	for name, frame := range frames {
		allocs := testing.AllocsPerRun(100, func() { d.Decode(LinkEthernet, frame, len(frame), time.Time{}) })
		if allocs != 0 {
			t.Errorf("%s: %v allocations a packet", name, allocs)
		}
	}
}

func FuzzDecode(f *testing.F) {
	plain := ip4(protoTCP, 0, tcp("hello"))
	f.Add(uint16(LinkEthernet), eth(0x0800, plain))
	f.Add(uint16(LinkEthernet), eth(0x8847, join([]byte{0, 1, 0, 64, 0, 2, 1, 64}, plain)))
	f.Add(uint16(LinkRadiotap), join([]byte{0, 0, 8, 0, 0, 0, 0, 0, 0x08, 2}, make([]byte, 22), []byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(0x0800), plain))
	f.Add(uint16(LinkRaw), ip4(protoGRE, 0, join(be16(0x3001), be16(0x880b), make([]byte, 8), []byte{0xff, 3, 0, 0x21}, plain)))
	f.Add(uint16(LinkIPv6), ip6(protoHopByHop, join([]byte{protoFragment, 0}, make([]byte, 6), []byte{protoTCP, 0, 0, 1, 0, 0, 0, 1}, tcp("hello"))))
	f.Add(uint16(LinkNFLOG), join([]byte{2, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, byte(4 + len(plain)), 0, 9, 0}, plain))
	d := NewDecoder()
	f.Fuzz(func(t *testing.T, link uint16, data []byte) {
		p, err := d.Decode(Link(link), data, len(data), time.Time{})
		for ; err == nil && p != nil; p = p.Inner {
			if !p.Src.Addr().IsValid() || p.Sent < 0 || p.Length < 0 || len(p.Data) > len(data) {
				t.Errorf("%+v", p)
			}
			if p.Fragment && len(p.Payload) > 0 {
				t.Error("a later fragment with payload")
			}
		}
	})
}

package sensor

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// toIP passes the tags and labels between an EtherType and the IP header.
func (f *linkFrame) toIP() bool {
	skip := func(n int) {
		f.data = f.data[n:]
		f.length -= n
	}
	for range 8 { // tags and labels: more is nonsense
		switch f.typ {
		case typeIPv4:
			return len(f.data) >= 20 && f.data[0]>>4 == 4
		case typeIPv6:
			return len(f.data) >= 40 && f.data[0]>>4 == 6
		case typeVLAN, typeQinQ:
			if len(f.data) < 4 {
				return false
			}
			if f.vlan == 0 {
				f.vlan = binary.BigEndian.Uint16(f.data) & 0x0fff
			}
			f.typ = binary.BigEndian.Uint16(f.data[2:])
			skip(4)
		case typePPPoE: // session header and PPP protocol (RFC 2516 section 4)
			if len(f.data) < 8 || f.data[1] != 0 {
				return false
			}
			f.typ = 0
			switch binary.BigEndian.Uint16(f.data[6:]) {
			case 0x21:
				f.typ = typeIPv4
			case 0x57:
				f.typ = typeIPv6
			}
			skip(8)
		case typeMPLS:
			if len(f.data) < 5 {
				return false
			}
			if f.data[2]&1 != 0 { // bottom of the stack: IP by its version
				f.typ = ipVersion(f.data[4])
			}
			skip(4)
		default:
			return false
		}
	}
	return false
}

// ipVersion gives the EtherType of the IP version in a first byte, 0 for none.
func ipVersion(first byte) uint16 {
	switch first >> 4 {
	case 4:
		return typeIPv4
	case 6:
		return typeIPv6
	}
	return 0
}

// ends gives the addresses of an IP packet.
func (f *linkFrame) ends() (src, dst netip.Addr) {
	if f.typ == typeIPv4 {
		return netip.AddrFrom4([4]byte(f.data[12:16])), netip.AddrFrom4([4]byte(f.data[16:20]))
	}
	return netip.AddrFrom16([16]byte(f.data[8:24])), netip.AddrFrom16([16]byte(f.data[24:40]))
}

// localAddresses are the host's own, in the namespace of the calling thread.
func localAddresses() (map[netip.Addr]bool, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	local := make(map[netip.Addr]bool, len(list))
	for _, a := range list {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			local[prefix.Addr().Unmap()] = true
		}
	}
	return local, nil
}

// ours says whether the host is an end at this address: its own, loopback, or
// one that many share.
func ours(local map[netip.Addr]bool, a netip.Addr) bool {
	return local[a] || a.IsLoopback() || a.IsMulticast() || a == broadcast
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

package protocol

import "bytes"

// softether recognises SoftEther VPN's datagrams: NAT traversal, and its
// transport that looks like DNS. Its TLS and its HTTP are named by the rules
// of tls and http.
func softether() Detector {
	return Detector{
		Name: "softether",
		Doc: Doc{
			How: "UDP: NAT traversal messages (a PACK with an opcode), the poll of one byte answered with IP=,PORT=, and VPN over DNS: queries for DNSKEY of 8 hexadecimal digits with noise in an OPT record. " +
				"TLS 1.2: the certificate that the server makes for itself; the client's published JA4; names of its relay. HTTP in the clear: POST /vpnsvc/",
			Confirms: "both sides' messages; over TLS, its certificate and its client's JA4 together",
			Limits:   "under TLS 1.3 with a common OpenSSL it cannot be told from HTTPS by packets: host evidence can; R-UDP and UDP acceleration are random bytes",
			Source:   "SoftEtherVPN src/Mayaqua/Network.c, Pack.c, src/Cedar/Protocol.c, Server.c; captures of SoftEther 5.01 made by the project",
		},
		UDP: func(first []byte, length int, _ bool) bool {
			return length == 1 && len(first) == 1 && first[0] == natPoll || starts(first, "IP=") || packStarts(first) || hexDNSKEY(first)
		},
		Look: lookSoftEther,
	}
}

// natPoll is the whole of the datagram with which a server keeps its NAT
// traversal alive (src/Mayaqua/Network.c RUDPDo_NatT_Interrupt).
const natPoll = 'A'

// softetherProof is what one side's datagrams show.
type softetherProof uint8

const (
	softetherPoll softetherProof = 1 << iota
	softetherAddress
	softetherPack
	softetherDNS
)

func readSoftEther(side *Side) (proof softetherProof) {
	for i, d := range side.Datagrams {
		switch {
		case side.Lengths[i] == 1 && len(d) == 1 && d[0] == natPoll:
			proof |= softetherPoll
		case natAddress(d):
			proof |= softetherAddress
		case natPack(d):
			proof |= softetherPack
		case hexDNSKEY(d):
			proof |= softetherDNS
		}
	}
	return proof
}

func lookSoftEther(f *Flow) Result {
	c, s := readSoftEther(&f.Client), readSoftEther(&f.Server)
	answer := Result{State: Suspected, Label: "softether", Product: "SoftEther VPN"}
	switch strong := softetherPack | softetherDNS | softetherAddress; {
	case (c|s)&softetherPack != 0:
		answer.Evidence = "SoftEther NAT traversal message (PACK with an opcode)"
	case (c|s)&softetherDNS != 0:
		answer.Evidence = "SoftEther VPN over DNS: DNSKEY messages for names of 8 hexadecimal digits that carry noise"
	case (c|s)&softetherAddress != 0 && (c|s)&softetherPoll != 0:
		answer.Evidence = "SoftEther NAT traversal: a poll of one byte, answered with IP=,PORT="
	case (c|s)&strong != 0:
		answer.Evidence = "SoftEther NAT traversal answer IP=,PORT="
	default:
		return undecided(f)
	}
	if c != 0 && s != 0 {
		answer.State = Confirmed
		answer.Evidence += ", both ways"
	}
	return answer
}

// natAddress reads the answer to a poll: IP=<address>,PORT=<number>
// (src/Mayaqua/Network.c RUDPProcess_NatT_Recv).
func natAddress(b []byte) bool {
	if !starts(b, "IP=") || len(b) < 15 || len(b) > 64 {
		return false
	}
	addr, port, ok := bytes.Cut(b[3:], []byte(",PORT="))
	return ok && len(addr) >= 7 && len(port) > 0 && only(addr, "0123456789abcdef.:") && only(port, "0123456789\x00")
}

func only(b []byte, set string) bool {
	for _, c := range b {
		if bytes.IndexByte([]byte(set), c) < 0 {
			return false
		}
	}
	return true
}

// packStarts is the cheap test of a PACK: a count of elements and the length
// of the first one's name (src/Mayaqua/Pack.c).
func packStarts(b []byte) bool {
	return len(b) >= 12 && b[0]|b[1]|b[2]|b[4]|b[5]|b[6] == 0 && b[3] > 0 && b[3] < 64 && b[7] > 1 && b[7] < 64
}

// natPack reads a PACK: big-endian count of elements, each a name (its length
// counts one more), a type, a count of values, and the values. One element
// must be the opcode or the transaction of NAT traversal.
func natPack(b []byte) bool {
	if !packStarts(b) {
		return false
	}
	c := newCursor(b)
	known := false
	for n := c.uint(4); n > 0 && c.ok; n-- {
		name := c.take(c.uint(4) - 1)
		known = known || string(name) == "opcode" || string(name) == "tran_id"
		kind, values := c.uint(4), c.uint(4)
		if kind > 4 || values > 64 || !printable(name) {
			return false
		}
		for ; values > 0 && c.ok; values-- {
			switch kind {
			case 0: // int
				c.take(4)
			case 4: // int64
				c.take(8)
			default: // data, string, unicode string
				c.vector(4)
			}
		}
	}
	return known && c.ok && len(c.b) == 0
}

// hexDNSKEY reads the shape of VPN over DNS (src/Mayaqua/Network.c
// RUDPSendSegmentNow): one question, type DNSKEY (48), whose name is a single
// label of 8 lower-case hexadecimal digits; in a query an OPT record whose data
// is no list of options (RFC 6891 section 6.1.2), in a response a DNSKEY.
func hexDNSKEY(b []byte) bool {
	const question, counts = 12, "\x00\x01\x00\x00\x00\x00\x00\x01"
	if len(b) < 40 || b[question] != 8 || !only(b[question+1:question+9], "0123456789abcdef") ||
		string(b[question+9:question+14]) != "\x00\x00\x30\x00\x01" {
		return false
	}
	record := b[question+14:]
	switch {
	case b[2]&0x80 == 0 && string(b[4:12]) == counts: // query
		return starts(record, "\x00\x00\x29") && len(record) > 15 && !ednsOptions(record[11:])
	case b[2]&0x80 != 0 && string(b[4:12]) == "\x00\x01\x00\x01\x00\x00\x00\x00": // response
		return starts(record, "\xc0\x0c\x00\x30\x00\x01")
	}
	return false
}

// ednsOptions says whether b is options to its end.
func ednsOptions(b []byte) bool {
	c := newCursor(b)
	for len(c.b) > 0 && c.ok {
		c.take(2)
		c.vector(2)
	}
	return c.ok
}

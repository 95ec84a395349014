package flow

import (
	"encoding/binary"

	"sallyport/agent/capture"
)

// Ports on which DNS is read without a look at the bytes (RFC 1035, RFC 6762).
const (
	dnsPort  = 53
	mdnsPort = 5353
)

// maxDNSMessage bounds a message over TCP that is waited for; a longer one is
// given cut.
const maxDNSMessage = 16 << 10

// dnsWindow is what is held of a stream: a message and the segment that ends it.
const dnsWindow = maxDNSMessage + 2 + 64<<10

// dnsStreams follow both directions of DNS over TCP for the flow's whole life.
type dnsStreams struct {
	sides  [2]dnsStream
	budget int
}

type dnsStream struct {
	stream stream
	skip   int // bytes of a long message still to pass
	lost   bool
}

// beginDNS follows a flow on a port of DNS from its first packet on. A TCP stream
// joined in the middle cannot be cut into messages.
func (f *Flow) beginDNS() {
	if f.Transport != 17 && (f.Transport != 6 || f.MidFlow) {
		return
	}
	for _, port := range [2]uint16{f.Client.Port(), f.Server.Port()} {
		f.dns = f.dns || port == dnsPort || port == mdnsPort
	}
	if f.dns && f.Transport == 6 {
		f.dnsTCP = &dnsStreams{}
	}
}

// dns gives the messages in p to the sink, once the flow is known to carry DNS.
func (t *Table) dns(f *Flow, p *capture.Packet, fromClient bool) {
	if !f.dns && !f.startDNS(p) {
		return
	}
	switch f.Transport {
	case 17:
		if len(p.Payload) >= dnsHeader {
			t.message(f, fromClient, p.Payload, p)
			t.plainDNS(f, p)
		}
	case 6:
		t.dnsSegment(f, p, fromClient)
	}
}

// plainDNS decides a flow that both sides have shown to be ordinary DNS: a busy
// resolver would fill the table with first bytes that nobody asks for.
func (t *Table) plainDNS(f *Flow, p *capture.Packet) {
	if f.decided || f.FromClient.Payloads == 0 || f.FromServer.Payloads == 0 {
		return
	}
	if f.look.state.Idle() && looksDNS(p.Payload, p.Sent) {
		t.decide(f)
	}
}

// startDNS looks at the first payload of a flow on any port.
func (f *Flow) startDNS(p *capture.Packet) bool {
	message, length := p.Payload, p.Sent
	if f.Transport == 6 {
		if f.MidFlow || len(message) < 2 || int(binary.BigEndian.Uint16(message))+2 != length {
			return false
		}
		message, length = message[2:], length-2
	} else if f.Transport != 17 {
		return false
	}
	if f.dns = looksDNS(message, length); f.dns && f.Transport == 6 {
		f.dnsTCP = &dnsStreams{}
	}
	return f.dns
}

func (t *Table) message(f *Flow, fromClient bool, message []byte, p *capture.Packet) {
	t.counters.messages++
	t.sink.DNS(f, fromClient, message, p.Time)
}

// dnsSegment takes the messages of a TCP segment, each behind two bytes of
// length (RFC 1035 section 4.2.2).
func (t *Table) dnsSegment(f *Flow, p *capture.Packet, fromClient bool) {
	if f.dnsTCP == nil {
		return
	}
	d := &f.dnsTCP.sides[index(fromClient)]
	if p.Flags&capture.SYN != 0 {
		d.stream.start(p.Seq + 1)
	}
	if len(p.Payload) == 0 {
		return
	}
	if d.lost {
		return
	}
	if _, full := d.stream.add(p.Seq, p.Payload, dnsWindow); full || t.bytes > t.cfg.MaxBytes {
		d.lost = true
		t.counters.dropped(DropDNS)
	}
	t.readMessages(f, d, p, fromClient)
	t.chargeDNS(f)
}

func (t *Table) readMessages(f *Flow, d *dnsStream, p *capture.Packet, fromClient bool) {
	for {
		ready := d.stream.ready()
		if d.skip > 0 {
			n := min(d.skip, len(ready))
			d.stream.consume(n)
			if d.skip -= n; d.skip > 0 || n == len(ready) {
				return
			}
			continue
		}
		if len(ready) < 2 {
			return
		}
		size := int(binary.BigEndian.Uint16(ready))
		have := min(size, maxDNSMessage)
		if len(ready) < 2+have {
			return
		}
		if have >= dnsHeader {
			t.message(f, fromClient, ready[2:2+have], p)
		}
		d.stream.consume(2 + have)
		d.skip = size - have
	}
}

func (t *Table) chargeDNS(f *Flow) {
	size := cap(f.dnsTCP.sides[0].stream.data) + cap(f.dnsTCP.sides[1].stream.data)
	t.bytes += size - f.dnsTCP.budget
	f.dnsTCP.budget = size
}

func (t *Table) dropDNS(f *Flow) {
	if f.dnsTCP != nil {
		t.bytes -= f.dnsTCP.budget
		f.dnsTCP = nil
	}
}

const dnsHeader = 12

// looksDNS says whether a message on any port is a plain DNS query or answer:
// one question with a well-formed name, class IN, and counts its length can
// hold (RFC 1035 section 4.1).
func looksDNS(m []byte, length int) bool {
	if len(m) < dnsHeader+5 {
		return false
	}
	flags := binary.BigEndian.Uint16(m[2:])
	if flags&0x7800 != 0 || flags&0x0040 != 0 { // opcode QUERY, Z clear
		return false
	}
	answers := int(binary.BigEndian.Uint16(m[6:])) + int(binary.BigEndian.Uint16(m[8:]))
	more := int(binary.BigEndian.Uint16(m[10:]))
	if binary.BigEndian.Uint16(m[4:]) != 1 || (answers+more)*11 > length {
		return false
	}
	if flags&0x8000 == 0 && (answers > 0 || more > 2 || flags&0x000f != 0) {
		return false
	}
	at := skipName(m, dnsHeader)
	if at < 0 || at+4 > len(m) {
		return false
	}
	kind, class := binary.BigEndian.Uint16(m[at:]), binary.BigEndian.Uint16(m[at+2:])
	return kind != 0 && class&0x7fff == 1
}

// skipName gives the offset behind an uncompressed name, -1 when it is none.
func skipName(m []byte, at int) int {
	for total := 0; at < len(m); {
		n := int(m[at])
		at++
		if n == 0 {
			return at
		}
		if total += n + 1; n > 63 || total > 254 || at+n > len(m) {
			return -1
		}
		for _, c := range m[at : at+n] {
			if c <= ' ' || c == 0x7f {
				return -1
			}
		}
		at += n
	}
	return -1
}

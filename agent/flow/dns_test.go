package flow

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/agent/capture"
)

// query is a DNS question; response makes it an answer's header.
func query(name string, response bool) string {
	m := make([]byte, dnsHeader)
	binary.BigEndian.PutUint16(m, 77)
	m[5] = 1
	m[2] = 1
	if response {
		m[2], m[3] = 0x81, 0x80
	}
	for _, label := range strings.Split(name, ".") {
		m = append(m, byte(len(label)))
		m = append(m, label...)
	}
	return string(append(m, 0, 0, 1, 0, 1))
}

func framed(m string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(m)))) + m
}

func TestDNSOverUDP(t *testing.T) {
	resolver := netip.MustParseAddrPort("198.18.0.53:53")
	odd := netip.MustParseAddrPort("198.18.0.53:5300")
	for _, to := range []netip.AddrPort{resolver, odd} {
		table, r := newTable(DefaultConfig())
		for i := range 40 { // for the whole life, not only its first packets
			name := fmt.Sprintf("n%d.example.com", i)
			feed(table, datagram(client, to, query(name, false), time.Duration(i)), datagram(to, client, query(name, true), time.Duration(i)))
		}
		if len(r.dns) != 80 || !strings.HasPrefix(r.dns[79], "false") || !strings.Contains(r.dns[79], "n39") {
			t.Errorf("%v: %d messages", to, len(r.dns))
		}
	}
}

func TestDNSNot(t *testing.T) {
	for _, payload := range []string{
		"hello", strings.Repeat("\x00", 40), "\x16\x03\x01" + strings.Repeat("x", 60),
		query("a b.example", false), query("example.com", false)[:14],
	} {
		table, r := newTable(DefaultConfig())
		feed(table, datagram(client, server, payload, 0))
		if len(r.dns) != 0 {
			t.Errorf("%q is taken for DNS", payload)
		}
	}
}

func TestDNSOverTCP(t *testing.T) {
	resolver := netip.MustParseAddrPort("198.18.0.53:53")
	var sent string
	for i := range 30 {
		sent += framed(query(fmt.Sprintf("n%d.%s.example.com", i, strings.Repeat("x", 40)), false))
	}
	for _, size := range []int{1, 7, 100, 1400} {
		table, r := newTable(DefaultConfig())
		feed(table, segment(client, resolver, capture.SYN, 99, 0, "", 0))
		var last *capture.Packet
		for at := 0; at < len(sent); at += size {
			p := segment(client, resolver, capture.ACK, uint32(100+at), 1, sent[at:min(at+size, len(sent))], 1)
			if at/size%3 == 1 { // out of order: after the next
				last = p
				continue
			}
			feed(table, p)
			if last != nil {
				feed(table, last)
				last = nil
			}
		}
		if last != nil {
			feed(table, last)
		}
		if len(r.dns) != 30 {
			t.Errorf("segments of %d: %d messages", size, len(r.dns))
		}
		table.Close()
		if c := table.Counters(); c.Bytes != 0 {
			t.Errorf("%+v", c)
		}
	}
}

// TestDNSLongMessage: a message beyond the bound is given cut, and what follows
// is read.
func TestDNSLongMessage(t *testing.T) {
	resolver := netip.MustParseAddrPort("198.18.0.53:53")
	table, r := newTable(DefaultConfig())
	sent := framed(query("long.example", true)+strings.Repeat("x", 40000)) + framed(query("next.example", false))
	feed(table, segment(client, resolver, capture.SYN, 99, 0, "", 0))
	for at := 0; at < len(sent); at += 1000 {
		feed(table, segment(client, resolver, capture.ACK, uint32(100+at), 1, sent[at:min(at+1000, len(sent))], 1))
	}
	if len(r.dns) != 2 || len(r.dns[0]) < maxDNSMessage || !strings.Contains(r.dns[1], "next") {
		t.Errorf("%d messages", len(r.dns))
	}
}

func FuzzLooksDNS(f *testing.F) {
	f.Add([]byte(query("www.example.com", false)))
	f.Add([]byte(query("www.example.com", true)))
	f.Fuzz(func(t *testing.T, m []byte) {
		if looksDNS(m, len(m)) && len(m) < dnsHeader+5 {
			t.Error("too short for a question")
		}
	})
}

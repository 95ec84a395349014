package sensor

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// transfer sends n bytes that begin with first, in writes of a segment, and
// waits until they have come.
func transfer(t *testing.T, from, to net.Conn, first []byte, n int) {
	t.Helper()
	data := append(slices.Clone(first), bytes.Repeat([]byte{0xab}, n-len(first))...)
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(to, make([]byte, n))
		done <- err
	}()
	for part := range slices.Chunk(data, 1000) {
		if _, err := from.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// copied adds up the payload copied of a flow's direction: what is behind the
// headers of IPv4 and TCP.
func (s *seen) copied(key FlowKey, out bool) (total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copiedLocked(key, out)
}

func (s *seen) copiedLocked(key FlowKey, out bool) (total int) {
	for _, p := range s.packets {
		if p.Flow == key && p.Out == out {
			total += len(p.Data) - int(p.Data[0]&15)*4
			if tcp := p.Data[int(p.Data[0]&15)*4:]; p.Data[9] == 6 {
				total -= int(tcp[12]>>4) * 4
			}
		}
	}
	return total
}

func TestBudgets(t *testing.T) {
	s, h := start(t, nil)
	n := testenv.NewNetns(t)
	cfg := DefaultSocketConfig().Copy
	const size = 200_000
	for _, c := range []struct {
		name  string
		first string
		want  uint32
	}{
		{"plain", "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7", cfg.Plain},
		{"vnc", "RFB 003.008\n", cfg.Candidate},
		{"tls", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", cfg.Handshake},
		{"tpkt", "\x03\x00\x00\x13\x0e\xe0\x00\x00", cfg.Handshake},
		{"attributed", "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7", cfg.Attributed},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := "127.0.0.1:0"
			if c.name == "attributed" {
				server = "127.0.0.7:0"
				report, err := s.SetPrefixes([]netip.Prefix{netip.MustParsePrefix("127.0.0.7/32"), netip.MustParsePrefix("2001:db8:7::/48")})
				if err != nil || report.Loaded != 2 || report.Given != 2 {
					t.Fatalf("set prefixes: %+v, %v", report, err)
				}
			}
			client, accepted := tcpPair(t, n, server)
			transfer(t, client, accepted, []byte(c.first), size)
			local, remote := addrPort(client.LocalAddr()), addrPort(client.RemoteAddr())
			client.Close()
			accepted.Close()
			r := closed(t, h, rules.Outbound, local, remote)
			if got := h.copied(r.Flow, true); got != int(c.want) {
				t.Errorf("%d bytes copied, want %d", got, c.want)
			}
			if r.BytesOut < size {
				t.Errorf("%d bytes counted of %d", r.BytesOut, size)
			}
		})
	}
}

// A new indicator reaches flows that live already.
func TestSetPrefixesOnLiveFlow(t *testing.T) {
	s, h := start(t, nil)
	n := testenv.NewNetns(t)
	client, accepted := tcpPair(t, n, "127.0.0.7:0")
	transfer(t, client, accepted, []byte("\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7"), 50_000)
	transfer(t, accepted, client, []byte("\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7"), 50_000)
	remote := addrPort(client.RemoteAddr())
	open := h.record(t, "open", func(r *FlowRecord) bool { return r.Remote == remote && r.Direction == rules.Outbound })
	h.packet(t, "the last of the budget", func(*Packet) bool { return h.copiedLocked(open.Flow, true) == 512 })
	if _, err := s.SetPrefixes([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/29")}); err != nil {
		t.Fatal(err)
	}
	transfer(t, client, accepted, []byte("after the new pack"), 1000)
	h.packet(t, "payload after the change", func(p *Packet) bool {
		return p.Flow == open.Flow && p.Out && bytes.Contains(p.Data, []byte("after the new pack"))
	})
	h.record(t, "update of the flow", func(r *FlowRecord) bool { return r.Kind == RecordUpdate && r.Flow == open.Flow })
	if report, err := s.SetPrefixes(nil); err != nil || report.Loaded != 0 {
		t.Errorf("empty: %+v, %v", report, err)
	}
}

// Done ends the copying of a flow whatever is left of its budget.
func TestDone(t *testing.T) {
	s, h := start(t, nil)
	n := testenv.NewNetns(t)
	client, accepted := tcpPair(t, n, "127.0.0.1:0")
	transfer(t, client, accepted, []byte("\x16\x03\x01\x02\x00\x01"), 500)
	remote := addrPort(client.RemoteAddr())
	open := h.record(t, "open", func(r *FlowRecord) bool { return r.Remote == remote && r.Direction == rules.Outbound })
	s.Done(open.Flow)
	transfer(t, client, accepted, []byte("no more, please"), 500)
	local := addrPort(client.LocalAddr())
	client.Close()
	accepted.Close()
	closed(t, h, rules.Outbound, local, remote)
	if got := h.copied(open.Flow, true); got != 500 {
		t.Errorf("%d bytes copied, want 500", got)
	}
}

// Every DNS message is copied, whatever came before it.
func TestDNSIsAlwaysCopied(t *testing.T) {
	_, h := start(t, nil)
	n := testenv.NewNetns(t)
	echo(t, n, "127.0.0.1:53")
	conn := dial(t, n, "udp", "127.0.0.1:53", nil)
	local := addrPort(conn.LocalAddr())
	message := bytes.Repeat([]byte{0x5a}, 300)
	for range 100 {
		if _, err := conn.Write(message); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAtLeast(conn, make([]byte, 512), 300); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()
	r := h.record(t, "close", func(r *FlowRecord) bool { return r.Kind == RecordClose && r.Local == local && r.Transport == 17 })
	for _, out := range []bool{true, false} {
		if got := h.copied(r.Flow, out); got != 100*(300+8) {
			t.Errorf("out %v: %d bytes copied, want %d", out, got, 100*308)
		}
	}
}

func TestCounters(t *testing.T) {
	s, h := start(t, func(c *SocketConfig) { c.Prefixes = 2 })
	n := testenv.NewNetns(t)
	l := listen(t, n, "127.0.0.1:0", false)
	go answer(l)
	local := ask(t, n, l.Addr().String())
	closed(t, h, rules.Outbound, local, addrPort(l.Addr()))
	c := s.Counters()
	if c.Seen["packets"] == 0 || c.Seen["records"] < 4 || c.Seen["processes"] == 0 {
		t.Errorf("seen %v", c.Seen)
	}
	for _, reason := range []string{"ring_full", "no_socket_storage", "malformed_record"} {
		if n, named := c.Lost[reason]; !named || n != 0 {
			t.Errorf("lost %s: %d, %v", reason, n, named)
		}
	}
	four := []netip.Prefix{}
	for _, p := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"} {
		four = append(four, netip.MustParsePrefix(p))
	}
	report, err := s.SetPrefixes(four)
	if err != nil || report != (PrefixReport{Given: 4, Loaded: 3}) {
		t.Errorf("report %+v, %v", report, err)
	}
}

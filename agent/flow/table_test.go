package flow

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/capture"
	"sallyport/agent/protocol"
	"sallyport/rules"
)

var (
	client = netip.MustParseAddrPort("198.18.0.1:40000")
	server = netip.MustParseAddrPort("203.0.113.9:443")
	began  = time.Unix(1_700_000_000, 0)
)

// recorder notes what a table tells.
type recorder struct {
	events []string
	closed []Flow
	dns    []string
	result []protocol.Result
	on     func(*Flow, Event)
}

var eventNames = map[Event]string{Opened: "opened", Identified: "identified", Decided: "decided", Updated: "updated", Closed: "closed"}

func (r *recorder) Flow(f *Flow, e Event) {
	r.events = append(r.events, fmt.Sprintf("%d %s", f.ID, eventNames[e]))
	if e == Closed {
		r.closed = append(r.closed, *f)
	}
	if r.on != nil {
		r.on(f, e)
	}
}

func (r *recorder) DNS(_ *Flow, fromClient bool, message []byte, _ time.Time) {
	r.dns = append(r.dns, fmt.Sprintf("%v %q", fromClient, message))
}

// greeting is a detector for tests: the client says "hello", the server "ready".
func greeting() []protocol.Detector {
	start := func(first []byte) bool {
		return len(first) > 0 && strings.HasPrefix("hello", string(first[:min(5, len(first))]))
	}
	says := func(s *protocol.Side, want string) bool {
		if len(s.Datagrams) > 0 {
			return strings.HasPrefix(string(s.Datagrams[0]), want)
		}
		return strings.HasPrefix(string(s.Stream), want)
	}
	return []protocol.Detector{{
		Name: "greeting",
		TCP:  func(first []byte, fromClient bool) bool { return fromClient && start(first) },
		UDP:  func(first []byte, _ int, fromClient bool) bool { return fromClient && start(first) },
		Look: func(f *protocol.Flow) protocol.Result {
			switch {
			case !says(&f.Client, "hello"):
				return protocol.Result{State: protocol.NeedMore}
			case says(&f.Server, "ready"):
				return protocol.Result{State: protocol.Confirmed, Label: "greeting", Evidence: "both"}
			}
			return protocol.Result{State: protocol.Suspected, Label: "greeting", Evidence: "hello"}
		},
	}}
}

func newTable(cfg Config) (*Table, *recorder) {
	r := &recorder{}
	return New(cfg, protocol.NewEngine(greeting()), r), r
}

// segment is a TCP packet.
func segment(from, to netip.AddrPort, flags uint8, seq, ack uint32, payload string, after time.Duration) *capture.Packet {
	data := append(make([]byte, 40), payload...)
	return &capture.Packet{
		Time: began.Add(after), Src: from, Dst: to, Proto: 6, Flags: flags, Seq: seq, Ack: ack,
		Length: len(data), Data: data, Payload: data[40:], Sent: len(payload),
	}
}

func datagram(from, to netip.AddrPort, payload string, after time.Duration) *capture.Packet {
	data := append(make([]byte, 28), payload...)
	return &capture.Packet{
		Time: began.Add(after), Src: from, Dst: to, Proto: 17, Length: len(data), Data: data, Payload: data[28:], Sent: len(payload),
	}
}

// conversation is a whole TCP flow.
func conversation() []*capture.Packet {
	const s, a = capture.SYN, capture.ACK
	return []*capture.Packet{
		segment(client, server, s, 100, 0, "", 0),
		segment(server, client, s|a, 900, 101, "", 1),
		segment(client, server, a, 101, 901, "", 2),
		segment(client, server, a, 101, 901, "hello", 3),
		segment(server, client, a, 901, 106, "ready", 4),
		segment(client, server, a|capture.FIN, 106, 906, "", 5),
		segment(server, client, a|capture.FIN, 906, 107, "", 6),
	}
}

func feed(t *Table, packets ...*capture.Packet) {
	var m Meta
	for _, p := range packets {
		t.Packet(p, &m)
	}
}

func TestConversation(t *testing.T) {
	table, r := newTable(ReplayConfig())
	feed(table, conversation()...)
	table.Close()
	want := []string{"1 opened", "1 identified", "1 identified", "1 decided", "1 closed"}
	if d := cmp.Diff(want, r.events); d != "" {
		t.Error(d)
	}
	f := r.closed[0]
	if f.Client != client || f.Server != server || f.MidFlow || !f.Ended || f.Outcome() != rules.OutcomeData {
		t.Errorf("%+v", f)
	}
	if f.FromClient != (Count{4, 165, 1}) || f.FromServer != (Count{3, 125, 1}) {
		t.Errorf("counts %+v %+v", f.FromClient, f.FromServer)
	}
	o := f.Observation("h")
	if o.Identification != (rules.Identification{Protocol: "greeting", State: "confirmed", Evidence: "both", Source: "packets"}) {
		t.Errorf("%+v", o.Identification)
	}
	if o.Direction != rules.Outbound || o.Local.Addr != client.Addr() || o.Remote.Port != 443 || o.BytesOut != 165 || o.BytesIn != 125 || o.Sensor != "capture" {
		t.Errorf("%+v", o)
	}
	if c := table.Counters(); c.Open != 0 || c.Bytes != 0 || c.Packets != 7 || c.Flows != 1 {
		t.Errorf("%+v", c)
	}
}

func TestOutcome(t *testing.T) {
	const s, a, rst = capture.SYN, capture.ACK, capture.RST
	all := conversation()
	tests := []struct {
		name    string
		packets []*capture.Packet
		want    rules.Outcome
	}{
		{"attempted", all[:1], rules.OutcomeAttempted},
		{"answered only", all[:2], rules.OutcomeAttempted},
		{"established", all[:3], rules.OutcomeEstablished},
		{"one way", all[:4], rules.OutcomeEstablished},
		{"data", all[:5], rules.OutcomeData},
		{"refused", []*capture.Packet{all[0], segment(server, client, rst|a, 0, 101, "", 1)}, rules.OutcomeRefused},
		{"reset by the client", []*capture.Packet{all[0], segment(client, server, rst, 101, 0, "", 1)}, rules.OutcomeAttempted},
		{"reset later", append(all[:5:5], segment(server, client, rst, 906, 0, "", 9)), rules.OutcomeData},
		{"udp one way", []*capture.Packet{datagram(client, server, "x", 0)}, rules.OutcomeAttempted},
		{"udp both ways", []*capture.Packet{datagram(client, server, "x", 0), datagram(server, client, "y", 1)}, rules.OutcomeData},
		{"SYN with answer first", []*capture.Packet{segment(server, client, s|a, 1, 2, "", 0)}, rules.OutcomeAttempted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table, r := newTable(ReplayConfig())
			feed(table, tt.packets...)
			table.Close()
			if len(r.closed) != 1 || r.closed[0].Outcome() != tt.want || r.closed[0].Client != client {
				t.Errorf("%d flows, %s from %v; want %s", len(r.closed), r.closed[0].Outcome(), r.closed[0].Client, tt.want)
			}
		})
	}
}

func TestICMPRefuses(t *testing.T) {
	table, r := newTable(ReplayConfig())
	p := datagram(client, server, "x", 0)
	feed(table, p)
	router := netip.MustParseAddrPort("198.18.0.254:0")
	feed(table, &capture.Packet{Time: began, Src: router, Dst: netip.AddrPortFrom(client.Addr(), 0), Proto: 1, Length: 56, Sent: 36, Quoted: p})
	table.Close()
	if len(r.closed) != 2 || r.closed[0].Outcome() != rules.OutcomeRefused {
		t.Errorf("%+v", r.closed)
	}
}

func TestMidFlow(t *testing.T) {
	table, r := newTable(ReplayConfig())
	feed(table, conversation()[3:]...)
	table.Close()
	if f := r.closed[0]; !f.MidFlow || f.Outcome() != rules.OutcomeData || len(f.Observation("").Notes) != 1 {
		t.Errorf("%+v", f)
	}
}

func TestReopened(t *testing.T) {
	table, r := newTable(ReplayConfig())
	feed(table, conversation()...)
	again := segment(client, server, capture.SYN, 5000, 0, "", time.Second)
	feed(table, again, again)
	table.Close()
	if len(r.closed) != 2 || r.closed[1].FromClient.Packets != 2 {
		t.Errorf("%d flows: %+v", len(r.closed), r.closed)
	}
}

func TestTimeouts(t *testing.T) {
	cfg := ReplayConfig()
	table, r := newTable(cfg)
	other := netip.MustParseAddrPort("198.18.0.7:5000")
	feed(table, datagram(client, server, "x", 0), segment(other, server, capture.SYN, 1, 0, "", 0))
	table.Expire(began.Add(cfg.TCPOpening - time.Second))
	if len(r.closed) != 0 {
		t.Fatalf("closed too early: %v", r.events)
	}
	table.Expire(began.Add(cfg.TCPOpening + 10*time.Second))
	table.Expire(began.Add(cfg.UDPIdle + 10*time.Second))
	if len(r.closed) != 2 || r.closed[0].Transport != 6 || r.closed[1].Transport != 17 {
		t.Fatalf("%v", r.events)
	}
	if c := table.Counters(); c.Open != 0 {
		t.Errorf("%+v", c)
	}
	feed(table, datagram(client, server, "x", 24*time.Hour), datagram(client, server, "x", 24*time.Hour+cfg.UDPIdle/2))
	table.Expire(began.Add(24*time.Hour + cfg.UDPIdle + 10*time.Second))
	if len(r.closed) != 2 {
		t.Error("a flow seen again was closed")
	}
}

func TestUpdated(t *testing.T) {
	cfg := ReplayConfig()
	table, r := newTable(cfg)
	for i := range 5 {
		feed(table, datagram(client, server, "x", time.Duration(i)*cfg.UDPIdle/2))
	}
	if n := strings.Count(strings.Join(r.events, "\n"), "updated"); n != 1 {
		t.Errorf("%d updates: %v", n, r.events)
	}
}

func TestBounds(t *testing.T) {
	cfg := ReplayConfig()
	cfg.MaxFlows = 10
	table, r := newTable(cfg)
	for i := range 100 {
		feed(table, datagram(netip.AddrPortFrom(client.Addr(), uint16(1000+i)), server, "hello", 0))
	}
	if c := table.Counters(); c.Open != 10 || c.Dropped[string(DropFlows)] != 90 || len(r.closed) != 90 {
		t.Errorf("%+v", c)
	}
	cfg = ReplayConfig()
	cfg.MaxBytes = 1 << 20
	table, _ = newTable(cfg)
	for i := range 2000 {
		from := netip.AddrPortFrom(client.Addr(), uint16(1000+i))
		feed(table, datagram(from, server, "hello"+strings.Repeat("x", 1400), 0))
	}
	c := table.Counters()
	if c.Bytes > cfg.MaxBytes+4096 || c.Dropped[string(DropBytes)] == 0 || c.Open != 2000 {
		t.Errorf("%+v", c)
	}
	table.Close()
	if c := table.Counters(); c.Bytes != 0 {
		t.Errorf("%d bytes are still charged", c.Bytes)
	}
}

func TestFragments(t *testing.T) {
	table, r := newTable(ReplayConfig())
	first := datagram(client, server, "hello", 0)
	first.First, first.ID = true, 77
	later := &capture.Packet{
		Time: began.Add(1), Src: netip.AddrPortFrom(client.Addr(), 0), Dst: netip.AddrPortFrom(server.Addr(), 0),
		Proto: 17, Fragment: true, ID: 77, Length: 500,
	}
	stranger := *later
	stranger.ID = 78
	feed(table, first, later, &stranger)
	table.Close()
	if len(r.closed) != 1 || r.closed[0].FromClient.Packets != 2 || table.Counters().Dropped[string(DropFragment)] != 1 {
		t.Errorf("%+v %+v", r.closed, table.Counters())
	}
}

func TestInnerFlow(t *testing.T) {
	table, r := newTable(ReplayConfig())
	inner := datagram(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"), "hello", 0)
	inner.Tunnel = "gre"
	table.Packet(&capture.Packet{
		Time: began, Src: netip.AddrPortFrom(client.Addr(), 0), Dst: netip.AddrPortFrom(server.Addr(), 0), Proto: 47, Length: 90, Sent: 70, Inner: inner,
	}, &Meta{})
	table.Close()
	if len(r.closed) != 2 || r.closed[0].Transport != 47 || !r.closed[1].Inner || r.closed[1].Result.Label != "greeting" || r.closed[1].Tunnel != "gre" {
		t.Errorf("%+v", r.closed)
	}
}

func TestLocalPrefix(t *testing.T) {
	cfg := ReplayConfig()
	cfg.Local = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	table, r := newTable(cfg)
	feed(table, conversation()...)
	table.Close()
	o := r.closed[0].Observation("h")
	if o.Direction != rules.Inbound || o.Local.Port != 443 || o.Remote.Addr != client.Addr() || o.BytesIn != 165 {
		t.Errorf("%+v", o)
	}
}

func TestEvidence(t *testing.T) {
	table, r := newTable(DefaultConfig())
	var lengths []int
	r.on = func(f *Flow, e Event) {
		if e == Closed {
			packets, _ := f.Evidence()
			for _, p := range packets {
				lengths = append(lengths, len(p.Data))
			}
		}
	}
	feed(table, conversation()...)
	table.Close()
	if d := cmp.Diff([]int{40, 40, 40, 45, 45}, lengths); d != "" {
		t.Error(d)
	}

	lengths = nil
	r.on = func(f *Flow, e Event) {
		f.Keep()
		if e == Closed {
			packets, withheld := f.Evidence()
			if !withheld {
				t.Error("content was cut, and nothing says so")
			}
			for _, p := range packets {
				lengths = append(lengths, len(p.Data))
			}
		}
	}
	feed(table, datagram(client, server, "secret", 0), datagram(server, client, "secret", 1))
	table.Close()
	if d := cmp.Diff([]int{28, 28}, lengths); d != "" {
		t.Error(d)
	}
}

type deaf struct{}

func (deaf) Flow(*Flow, Event)                  {}
func (deaf) DNS(*Flow, bool, []byte, time.Time) {}

func TestUpdateAllocatesNothing(t *testing.T) {
	table := New(DefaultConfig(), protocol.NewEngine(greeting()), deaf{})
	var m Meta
	feed(table, conversation()[:5]...)
	p := segment(client, server, capture.ACK, 106, 906, "more", 10)
	if n := testing.AllocsPerRun(1000, func() { table.Packet(p, &m) }); n != 0 {
		t.Errorf("a decided flow: %v allocations a packet", n)
	}
	// New flows and their first bytes, once what they need is in reserve.
	opening := []*capture.Packet{
		segment(client, server, capture.SYN, 0, 0, "", 0),
		segment(client, server, capture.ACK, 1, 0, "hel", 0),
		segment(client, server, capture.ACK, 6, 0, "later", 0),
	}
	i := 0
	open := func() {
		i++
		for _, p := range opening {
			p.Src = netip.AddrPortFrom(client.Addr(), uint16(i%512))
			p.Seq += 1 << 16
			p.Time = began.Add(time.Duration(i))
			table.Packet(p, &m)
		}
	}
	for range 3000 {
		open()
	}
	if n := testing.AllocsPerRun(1000, open); n != 0 {
		t.Errorf("a new flow: %v allocations", n)
	}
}

package hostevidence

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

var (
	vpn     = sensor.ProcessRef{PID: 10, Start: 1}
	browser = sensor.ProcessRef{PID: 20, Start: 1}
	remote  = netip.MustParseAddrPort("203.0.113.1:443")
	other   = netip.MustParseAddrPort("203.0.113.2:443")
	begin   = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
)

// host is a host whose counts a test moves.
type host struct {
	facts   map[sensor.ProcessRef]sensor.TunnelFacts
	traffic map[sensor.FlowKey]sensor.Bytes
	asked   map[sensor.ProcessRef]int
}

func newHost() *host {
	return &host{
		facts:   map[sensor.ProcessRef]sensor.TunnelFacts{},
		traffic: map[sensor.FlowKey]sensor.Bytes{}, asked: map[sensor.ProcessRef]int{},
	}
}

func (h *host) Tunnel(ref sensor.ProcessRef) (sensor.TunnelFacts, bool) {
	h.asked[ref]++
	f, ok := h.facts[ref]
	return f, ok
}

func (h *host) Traffic(_ sensor.ProcessRef, keys []sensor.FlowKey) map[sensor.FlowKey]sensor.Bytes {
	out := map[sensor.FlowKey]sensor.Bytes{}
	for _, k := range keys {
		if b, ok := h.traffic[k]; ok {
			out[k] = b
		}
	}
	return out
}

// device moves the tunnel device of the VPN.
func (h *host) device(out, in uint64) {
	f := h.facts[vpn]
	f.DeviceBytes.Out += out
	f.DeviceBytes.In += in
	h.facts[vpn] = f
}

// flow moves a flow.
func (h *host) flow(f *Flow, out, in uint64) {
	b := h.traffic[f.Key]
	h.traffic[f.Key] = sensor.Bytes{Out: b.Out + out, In: b.In + in}
}

func flowOf(cookie uint64, owner sensor.ProcessRef, to netip.AddrPort) Flow {
	return Flow{Key: sensor.FlowKey{Cookie: cookie, Netns: 1}, Owner: owner, Remote: to, First: begin, Data: true, Holder: owner == vpn}
}

// scene runs n looks, a second apart, and gives the last word on each flow.
func scene(h *host, flows []Flow, relays map[sensor.ProcessRef]Relay, n int, move func(i int)) map[sensor.FlowKey]rules.Identification {
	w, said := New(h), map[sensor.FlowKey]rules.Identification{}
	for i := range n {
		if i > 0 {
			move(i)
		}
		for k, id := range w.Look(begin.Add(time.Duration(i)*time.Second), flows, relays) {
			said[k] = id
		}
	}
	return said
}

func TestWatcher(t *testing.T) {
	tunnel := sensor.TunnelFacts{Devices: []string{"tun0"}, Since: begin}
	softether := sensor.TunnelFacts{Devices: []string{"vpn_lab0"}, Since: begin, Product: "softether", Reason: "its code contains SoftEther VPN"}
	tests := []struct {
		name   string
		facts  sensor.TunnelFacts
		flows  func() []Flow
		move   func(h *host, flows []Flow, i int)
		looks  int
		want   []string // of each flow: "state protocol", "" for nothing
		within string   // of the first one's evidence
	}{
		{
			name: "random bytes that rise with the device's", facts: tunnel, looks: 6,
			flows: func() []Flow { return []Flow{flowOf(1, vpn, remote)} },
			move: func(h *host, f []Flow, _ int) {
				h.device(1000, 900)
				h.flow(&f[0], 1100, 1050)
			},
			want: []string{"confirmed vpn-tunnel"}, within: "tun0",
		},
		{
			name: "a known product", facts: softether, looks: 4,
			flows: func() []Flow { return []Flow{flowOf(1, vpn, remote)} },
			move: func(h *host, f []Flow, _ int) {
				h.device(168, 168) // two pings
				h.flow(&f[0], 600, 580)
			},
			want: []string{""}, // a kilobyte must pass first
		},
		{
			name: "a known product, long enough", facts: softether, looks: 9,
			flows: func() []Flow { return []Flow{flowOf(1, vpn, remote)} },
			move: func(h *host, f []Flow, _ int) {
				h.device(168, 168)
				h.flow(&f[0], 600, 580)
			},
			want: []string{"confirmed softether"}, within: "SoftEther VPN",
		},
		{
			name: "a download: acknowledgements one way", facts: tunnel, looks: 6,
			flows: func() []Flow { return []Flow{flowOf(1, vpn, remote)} },
			move: func(h *host, f []Flow, _ int) {
				h.device(20_000, 1_000_000)
				h.flow(&f[0], 75_000, 1_060_000)
			},
			want: []string{"confirmed vpn-tunnel"},
		},
		{
			name: "eight parallel connections", facts: softether, looks: 8,
			flows: func() (out []Flow) {
				for i := range 8 {
					out = append(out, flowOf(uint64(i+1), vpn, remote))
				}
				return out
			},
			move: func(h *host, f []Flow, i int) {
				h.device(1000, 1000)
				h.flow(&f[i%8], 1100, 0)
				h.flow(&f[(i+3)%8], 0, 1100)
			},
			want: []string{"confirmed softether", "confirmed softether"}, within: "flows to this remote",
		},
		{
			name: "the program's check for updates beside its tunnel", facts: softether, looks: 9,
			flows: func() []Flow { return []Flow{flowOf(1, vpn, remote), flowOf(2, vpn, other)} },
			move: func(h *host, f []Flow, i int) {
				h.device(5000, 5000)
				h.flow(&f[0], 5500, 5500)
				if i == 2 {
					h.flow(&f[1], 900, 40_000)
				}
			},
			want: []string{"confirmed softether", ""},
		},
		{
			name: "a check for updates while the tunnel rests", facts: softether, looks: 9,
			flows: func() []Flow { return []Flow{flowOf(1, vpn, other)} },
			move:  func(h *host, f []Flow, i int) { h.flow(&f[0], 900, 40_000) },
			want:  []string{""},
		},
		{
			name: "DNS of the VPN's program", facts: softether, looks: 30,
			flows: func() []Flow {
				f := flowOf(1, vpn, other)
				f.Known = true
				return []Flow{f}
			},
			move: func(h *host, f []Flow, _ int) {
				h.device(1000, 1000)
				h.flow(&f[0], 1000, 1000)
			},
			want: []string{""},
		},
		{
			name: "a long flow of a known product that cannot be compared yet", facts: softether, looks: 15,
			flows: func() []Flow { return []Flow{flowOf(1, vpn, remote)} },
			move:  func(h *host, f []Flow, _ int) { h.flow(&f[0], 100, 100) },
			want:  []string{"suspected softether"}, within: "too little",
		},
		{
			name: "a long flow of an unknown program that holds a device", facts: tunnel, looks: 30,
			flows: func() []Flow { return []Flow{flowOf(1, vpn, remote)} },
			move:  func(h *host, f []Flow, _ int) { h.flow(&f[0], 100, 100) },
			want:  []string{""},
		},
		{
			name: "no answer ever", facts: softether, looks: 30,
			flows: func() []Flow {
				f := flowOf(1, vpn, remote)
				f.Data = false
				return []Flow{f}
			},
			move: func(h *host, f []Flow, _ int) { h.device(1000, 0); h.flow(&f[0], 1100, 0) },
			want: []string{""},
		},
		{
			name: "identified by its packets: left alone", facts: softether, looks: 9,
			flows: func() []Flow {
				f := flowOf(1, vpn, remote)
				f.Labeled = true
				return []Flow{f}
			},
			move: func(h *host, f []Flow, _ int) { h.device(1000, 1000); h.flow(&f[0], 1100, 1100) },
			want: []string{""},
		},
		{
			name: "the control connection beside DTLS", facts: sensor.TunnelFacts{Devices: []string{"tun0"}, Product: "openconnect", Reason: "x"}, looks: 9,
			flows: func() []Flow {
				dtls := flowOf(2, vpn, remote)
				dtls.Labeled = true
				return []Flow{flowOf(1, vpn, remote), dtls}
			},
			move: func(h *host, f []Flow, _ int) { h.device(1000, 1000); h.flow(&f[1], 1100, 1100) },
			want: []string{"confirmed openconnect", ""},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, flows := newHost(), test.flows()
			h.facts[vpn] = test.facts
			for i := range flows {
				h.flow(&flows[i], 3000, 3000)
			}
			said := scene(h, flows, nil, test.looks, func(i int) { test.move(h, flows, i) })
			for i, want := range test.want {
				id := said[flows[i].Key]
				if got := strings.TrimSpace(id.State + " " + id.Protocol); got != want {
					t.Errorf("flow %d: %q, want %q (%s)", i, got, want, id.Evidence)
				}
				if want != "" && (id.Source != "host" || i == 0 && !strings.Contains(id.Evidence, test.within)) {
					t.Errorf("flow %d: source %q, evidence %q", i, id.Source, id.Evidence)
				}
			}
		})
	}
}

// A browser on a host with a VPN up is not looked at more than once a minute,
// and never accused, though its flow moves as the tunnel does.
func TestBrowserIsNotAccused(t *testing.T) {
	h := newHost()
	h.facts[vpn] = sensor.TunnelFacts{Devices: []string{"tun0"}}
	flows := []Flow{flowOf(1, browser, remote), flowOf(2, vpn, other)}
	said := scene(h, flows, nil, 50, func(int) {
		h.device(1000, 1000)
		for i := range flows {
			h.flow(&flows[i], 1050, 1050)
		}
	})
	if id, accused := said[flows[0].Key]; accused {
		t.Errorf("the browser: %+v", id)
	}
	if said[flows[1].Key].State != "confirmed" {
		t.Errorf("the VPN: %+v", said[flows[1].Key])
	}
	if h.asked[browser] != 1 {
		t.Errorf("the browser's process was read %d times in 50 s", h.asked[browser])
	}
	if h.asked[vpn] > 10 {
		t.Errorf("a settled process was read %d times", h.asked[vpn])
	}
}

// A relay's flow carries what the relay gets over loopback.
func TestRelay(t *testing.T) {
	h := newHost()
	inside, outside, beside := flowOf(1, browser, netip.MustParseAddrPort("127.0.0.1:40000")), flowOf(2, browser, remote), flowOf(3, browser, other)
	inside.Labeled, inside.Holder, outside.Holder, beside.Holder = true, true, true, true
	flows := []Flow{inside, outside, beside}
	for i := range flows {
		h.flow(&flows[i], 1, 1)
	}
	relay := Relay{Flow: inside.Key, Protocol: "openvpn", Product: "openvpn", Peer: "openvpn (pid 10)"}
	said := scene(h, flows, map[sensor.ProcessRef]Relay{browser: relay}, 8, func(int) {
		h.flow(&flows[0], 700, 2000)
		h.flow(&flows[1], 2300, 900)
		h.flow(&flows[2], 60, 2300)
	})
	if id := said[outside.Key]; id.State != "confirmed" || id.Protocol != "openvpn" || !strings.Contains(id.Evidence, relay.Peer) {
		t.Errorf("the way out: %+v", id)
	}
	for _, f := range []Flow{inside, beside} {
		if id, said := said[f.Key]; said {
			t.Errorf("%v: %+v", f.Remote, id)
		}
	}
}

// A relayed flow that rests after its opening is told by the opening: another of
// the relay's flows, opened at another time or with other sizes, is not.
func TestRelayAtRest(t *testing.T) {
	h := newHost()
	inside, outside, later, other := flowOf(1, browser, netip.MustParseAddrPort("127.0.0.1:40000")), flowOf(2, browser, remote), flowOf(3, browser, remote), flowOf(4, browser, other)
	flows := []Flow{inside, outside, later, other}
	for i := range flows {
		flows[i].Labeled, flows[i].Holder, flows[i].First = i == 0, true, begin.Add(time.Duration(i)*100*time.Millisecond)
	}
	flows[2].First = begin.Add(time.Minute)
	h.flow(&flows[0], 3904, 8986)
	h.flow(&flows[1], 11_000, 5_000)
	h.flow(&flows[2], 11_000, 5_000)
	h.flow(&flows[3], 900, 800)
	relay := Relay{Flow: inside.Key, First: begin, Protocol: "rdp", Peer: "xfreerdp (pid 10)"}
	said := scene(h, flows, map[sensor.ProcessRef]Relay{browser: relay}, 20, func(int) {})
	if id := said[outside.Key]; len(said) != 1 || id.State != "suspected" || id.Protocol != "rdp" {
		t.Errorf("said %+v", said)
	}
}

// Counts that begin anew, and a device that is replaced, compare as nothing.
func TestCountsBeginAnew(t *testing.T) {
	h := newHost()
	h.facts[vpn] = sensor.TunnelFacts{Devices: []string{"tun0"}, DeviceBytes: sensor.Bytes{Out: 1 << 40, In: 1 << 40}}
	flows := []Flow{flowOf(1, vpn, remote)}
	h.flow(&flows[0], 10, 10)
	said := scene(h, flows, nil, 20, func(i int) {
		f := h.facts[vpn]
		f.Devices = []string{fmt.Sprintf("tun%d", i%2)}
		f.DeviceBytes = sensor.Bytes{Out: uint64(i) << 20, In: uint64(i) << 20}
		h.facts[vpn] = f
		h.flow(&flows[0], 1<<20, 1<<20)
	})
	if len(said) != 0 {
		t.Errorf("said %+v", said)
	}
}

// What has gone is forgotten.
func TestForgets(t *testing.T) {
	h := newHost()
	h.facts[vpn] = sensor.TunnelFacts{Devices: []string{"tun0"}}
	w := New(h)
	for i := range 100 {
		w.Look(begin.Add(time.Duration(i)*time.Second), []Flow{flowOf(uint64(i+1), vpn, netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 443))}, nil)
	}
	if o := w.owners[vpn]; len(o.flows) != 1 || len(o.groups) > 1 {
		t.Errorf("%d flows and %d remotes remembered of one open flow", len(o.flows), len(o.groups))
	}
	w.Look(begin, nil, nil)
	if len(w.owners) != 0 {
		t.Errorf("%d processes remembered of none", len(w.owners))
	}
}

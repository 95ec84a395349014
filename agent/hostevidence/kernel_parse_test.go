package hostevidence

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// attribute encodes a netlink attribute.
func attribute(typ uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func number(n any) []byte {
	b, err := binary.Append(nil, binary.NativeEndian, n)
	if err != nil {
		panic(err)
	}
	return b
}

// deviceMessage is a WireGuard device with one peer.
func deviceMessage(handshake int64) []byte {
	endpoint := append(number(uint16(2)), 0xca, 0x6c, 198, 18, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0)
	var peer []byte
	peer = append(peer, attribute(wgPeerKey, make([]byte, 32))...)
	peer = append(peer, attribute(wgPeerShared, []byte(strings.Repeat("s", 32)))...)
	peer = append(peer, attribute(wgPeerEndpoint, endpoint)...)
	peer = append(peer, attribute(wgPeerLast, append(number(handshake), number(int64(5))...))...)
	peer = append(peer, attribute(wgPeerRX, number(uint64(92)))...)
	peer = append(peer, attribute(wgPeerTX, number(uint64(148)))...)
	m := attribute(wgDeviceName, []byte("wg0\x00"))
	m = append(m, attribute(wgDevicePriv, []byte(strings.Repeat("k", 32)))...)
	m = append(m, attribute(wgDevicePort, number(uint16(51821)))...)
	m = append(m, attribute(wgDeviceMark, number(uint32(51820)))...)
	return append(m, attribute(wgDevicePeers|1<<15, attribute(1<<15, peer))...)
}

func TestParseWireGuard(t *testing.T) {
	m := deviceMessage(1_700_000_000)
	got := parseWireGuard(m)
	want := []KernelTunnel{{
		Kind: "wireguard", Transport: 17, Local: netip.AddrPortFrom(netip.Addr{}, 51821), Remote: netip.MustParseAddrPort("198.18.0.2:51820"),
		Bytes: sensor.Bytes{Out: 148, In: 92}, Answered: true, Mark: 51820,
		Detail: "public key AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, last handshake 2023-11-14T22:13:20Z",
	}}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(string(m), "kkkk") || strings.Contains(string(m), "ssss") {
		t.Error("keys are still in the message")
	}
	if got := parseWireGuard(deviceMessage(0)); len(got) != 1 || got[0].Answered || got[0].state() != suspected {
		t.Errorf("without a handshake: %+v", got)
	}
}

func TestParseL2TP(t *testing.T) {
	m := attribute(l2tpConnID, number(uint32(7)))
	m = append(m, attribute(l2tpPeerID, number(uint32(8)))...)
	m = append(m, attribute(l2tpEncap, number(uint16(l2tpEncapIP)))...)
	m = append(m, attribute(l2tpLocal, []byte{198, 18, 0, 1})...)
	m = append(m, attribute(l2tpRemote, []byte{198, 18, 0, 2})...)
	stats := append(attribute(l2tpTXBytes, number(uint64(10))), attribute(l2tpRXBytes, number(uint64(20)))...)
	m = append(m, attribute(l2tpStats, stats)...)
	got, ok := parseL2TP(m)
	if !ok || got.Transport != 115 || got.Remote != netip.MustParseAddrPort("198.18.0.2:0") || got.Bytes != (sensor.Bytes{Out: 10, In: 20}) || !got.Answered {
		t.Errorf("%+v, %v", got, ok)
	}
	if _, ok := parseL2TP(attribute(l2tpConnID, number(uint32(7)))); ok {
		t.Error("a tunnel without remote is taken")
	}
}

// The two directions of IPsec are one tunnel; what is not agreed on, or another
// host's, is none.
func TestJoinStates(t *testing.T) {
	here, there := net.IP{198, 18, 0, 1}, net.IP{198, 18, 0, 2}
	stats := func(bytes uint64) netlink.XfrmStateStats { return netlink.XfrmStateStats{Bytes: bytes, Packets: 1} }
	states := []netlink.XfrmState{
		{Src: here, Dst: there, Proto: netlink.XFRM_PROTO_ESP, Spi: 1, Statistics: stats(100)},
		{Src: there, Dst: here, Proto: netlink.XFRM_PROTO_ESP, Spi: 2, Statistics: stats(200)},
		{Src: here, Dst: there, Proto: netlink.XFRM_PROTO_AH, Spi: 3, Statistics: stats(300)},
		{Src: here, Dst: net.IP{198, 18, 0, 9}, Proto: netlink.XFRM_PROTO_ESP},                          // an acquire
		{Src: net.IP{198, 18, 0, 8}, Dst: net.IP{198, 18, 0, 9}, Proto: netlink.XFRM_PROTO_ESP, Spi: 4}, // passes through
		{Src: there, Dst: here, Proto: netlink.XFRM_PROTO_ESP, Spi: 5, Statistics: stats(7), Encap: &netlink.XfrmStateEncap{SrcPort: 4501, DstPort: 4500}},
	}
	got := map[string]KernelTunnel{}
	for _, tunnel := range joinStates(states, map[netip.Addr]bool{addrOf(here): true}, 1) {
		got[tunnel.Kind+" "+tunnel.Local.String()+" "+tunnel.Remote.String()] = tunnel
	}
	esp := got["esp 198.18.0.1:0 198.18.0.2:0"]
	if len(got) != 3 || esp.Bytes != (sensor.Bytes{Out: 100, In: 200}) || !esp.Answered || esp.Detail != "SPIs 0x00000001 0x00000002" {
		t.Errorf("%+v", got)
	}
	if ah := got["ah 198.18.0.1:0 198.18.0.2:0"]; ah.Answered || ah.Transport != 51 {
		t.Errorf("AH one way: %+v", ah)
	}
	if udp := got["esp 198.18.0.1:4500 198.18.0.2:4501"]; udp.Transport != 17 {
		t.Errorf("ESP in UDP: %+v", got)
	}
}

func TestParseNetlinkSockets(t *testing.T) {
	const table = `sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000a9a054e4 6   0          00000000 0        0        0     2        0        4
000000005f6cefef 6   812        00000000 0        0        0     2        0        1442
00000000b580d436 0   812        00000000 0        0        0     2        0        1444
short line
`
	if got := parseNetlinkSockets(table, 6); !cmp.Equal(got, []string{"1442"}) {
		t.Errorf("%q", got)
	}
}

// host's processes, for makers.
type processes []sensor.Process

func (p processes) Started(since time.Time) (found []sensor.Process) {
	for _, one := range p {
		if !one.Start.Before(since) {
			found = append(found, one)
		}
	}
	return found
}

func (processes) Process(sensor.ProcessRef) (sensor.Process, bool) { return sensor.Process{}, false }

func TestMakerByCommand(t *testing.T) {
	ran := func(pid uint32, ago time.Duration, args ...string) sensor.Process {
		return sensor.Process{Ref: sensor.ProcessRef{PID: pid, Start: uint64(pid)}, Start: begin.Add(-ago), Name: args[0], Args: args, UID: 7}
	}
	tunnel := KernelTunnel{Kind: "wireguard", Device: "wg0", Remote: netip.MustParseAddrPort("198.18.0.2:51820")}
	for _, test := range []struct {
		name  string
		procs processes
		want  uint32
	}{
		{"the script, not what it ran", processes{ran(3, time.Second, "ip", "link", "add", "wg0", "type", "wireguard"), ran(2, 2*time.Second, "bash", "/usr/bin/wg-quick", "up", "wg0")}, 2},
		{"by a configuration file", processes{ran(2, time.Second, "wg-quick", "up", "/etc/wireguard/wg0.conf")}, 2},
		{"by the remote", processes{ran(2, time.Second, "ip", "xfrm", "state", "add", "src", "198.18.0.1", "dst", "198.18.0.2")}, 2},
		{"long before", processes{ran(2, time.Minute, "wg-quick", "up", "wg0")}, 0},
		{"afterwards", processes{ran(2, -time.Second, "wg", "set", "wg0")}, 0},
		{"another device", processes{ran(2, time.Second, "wg-quick", "up", "wg1")}, 0},
		{"who only looks", processes{ran(2, time.Second, "ping", "-I", "wg0", "198.18.0.2"), ran(3, time.Second, "wg", "show", "wg0")}, 0},
	} {
		m, ok := makerByCommand(test.procs, &tunnel, begin, begin)
		if m.Process.PID != test.want || ok != (test.want != 0) {
			t.Errorf("%s: %+v", test.name, m)
		}
		if ok && (!strings.Contains(m.words(), "uid 7") || !strings.Contains(m.words(), "inferred")) {
			t.Errorf("%s: %q", test.name, m.words())
		}
	}
}

// The packets' word stands; the kernel's confirms it, or names what they did not.
func TestEvidenceBesidePackets(t *testing.T) {
	e := Evidence{tunnel: KernelTunnel{Kind: "gre", Device: "gre1", Remote: netip.MustParseAddrPort("198.18.0.2:0"), Answered: true}, maker: Maker{Older: true}}
	for _, test := range []struct {
		name    string
		packets rules.Identification
		seen    bool
		want    string
	}{
		{"nothing seen", rules.Identification{Protocol: "none"}, false, "gre confirmed host"},
		{"the same, suspected", rules.Identification{Protocol: "gre", State: suspected, Source: "packets", Evidence: "x"}, true, "gre confirmed host"},
		{"the same, confirmed", rules.Identification{Protocol: "gre", State: confirmed, Source: "packets", Evidence: "x"}, true, "gre confirmed packets"},
		{"something better", rules.Identification{Protocol: "pptp", State: suspected, Source: "packets", Evidence: "x"}, true, "pptp suspected packets"},
	} {
		id := e.Identification(test.packets, test.seen)
		if got := id.Protocol + " " + id.State + " " + id.Source; got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if !strings.Contains(id.Evidence, "kernel GRE device gre1, peer 198.18.0.2,") || !strings.Contains(id.Evidence, "before the agent began") {
			t.Errorf("%s: %q", test.name, id.Evidence)
		}
	}
}

// Counts that begin anew, as IPsec states do at each new key, go on.
func TestCountsGoOn(t *testing.T) {
	f := &followed{}
	for _, n := range []uint64{100, 150, 20, 40} {
		f.update(&KernelTunnel{Bytes: sensor.Bytes{Out: n, In: n}, Answered: n == 100})
	}
	if f.Bytes != (sensor.Bytes{Out: 170, In: 170}) || !f.Answered {
		t.Errorf("%+v", f)
	}
}

func FuzzKernelAttributes(f *testing.F) {
	f.Add(deviceMessage(1))
	f.Add(attribute(l2tpRemote6, make([]byte, 16)))
	f.Add([]byte{4, 0, 0, 0, 3, 0})
	f.Fuzz(func(t *testing.T, m []byte) {
		for _, tunnel := range parseWireGuard(append([]byte(nil), m...)) {
			if !tunnel.Remote.IsValid() {
				t.Errorf("a tunnel to nowhere: %+v", tunnel)
			}
		}
		if tunnel, ok := parseL2TP(m); ok && !tunnel.Remote.Addr().IsValid() {
			t.Errorf("a tunnel to nowhere: %+v", tunnel)
		}
	})
}

// counter counts records by kind.
type counter map[sensor.RecordKind]int

func (counter) Packet(*sensor.Packet)         {}
func (counter) Process(*sensor.ProcessEvent)  {}
func (c counter) Record(r *sensor.FlowRecord) { c[r.Kind]++ }

// A tunnel in another's place is a flow of its own; two to one remote are one.
func TestFollowReplaced(t *testing.T) {
	k := NewKernel(DefaultKernelConfig(), nil, hclog.NewNullLogger())
	h := counter{}
	look := func(devices ...string) {
		for _, f := range k.tunnels {
			f.gone = true
		}
		for _, device := range devices {
			k.follow(&KernelTunnel{
				Kind: "gre", Device: device, Netns: 1, Transport: 47, Local: netip.MustParseAddrPort("198.18.0.1:0"),
				Remote: netip.MustParseAddrPort("198.18.0.2:0"), Bytes: sensor.Bytes{Out: 100, In: 100}, Answered: true,
			}, namespace{inode: 1}, h, begin, false)
		}
		k.end(h)
	}
	for range 5 {
		look("gre1", "gre2")
	}
	if want := (counter{sensor.RecordOpen: 1, sensor.RecordUpdate: 1}); !cmp.Equal(h, want) {
		t.Errorf("two to one remote: %v, want %v", h, want)
	}
	look("gre2")
	look()
	if want := (counter{sensor.RecordOpen: 2, sensor.RecordUpdate: 2, sensor.RecordClose: 2}); !cmp.Equal(h, want) {
		t.Errorf("one in the other's place: %v, want %v", h, want)
	}
	if _, found := k.Of(1, 47, netip.AddrPort{}, netip.MustParseAddrPort("198.18.0.2:0")); found {
		t.Error("it is still there")
	}
}

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rawOwner(b []byte) {
	b[0] = OwnerExact
	binary.LittleEndian.PutUint32(b[4:], 33)
	binary.LittleEndian.PutUint32(b[8:], 44)
	binary.LittleEndian.PutUint64(b[16:], 111)
	binary.LittleEndian.PutUint64(b[24:], 222)
	copy(b[32:], "comm\x00rest")
}

var wantOwner = Owner{Start: 111, Cgroup: 222, TGID: 33, UID: 44, Comm: "comm", Attribution: OwnerExact}

func rawEndpoint(b []byte, s string) {
	ap := netip.MustParseAddrPort(s)
	a := ap.Addr().As16()
	copy(b, a[:])
	binary.BigEndian.PutUint16(b[16:], ap.Port())
}

func rawPacket(data string) []byte {
	raw := make([]byte, packetSize, packetSize+len(data)+8)
	raw[0], raw[1], raw[2], raw[3] = byte(KindPacket), FlagOut|FlagUnconnected, 17, 2
	binary.LittleEndian.PutUint32(raw[4:], 1500)
	binary.LittleEndian.PutUint32(raw[8:], uint32(len(data)))
	binary.LittleEndian.PutUint32(raw[12:], 7)
	binary.LittleEndian.PutUint64(raw[16:], 8)
	binary.LittleEndian.PutUint64(raw[24:], 9)
	rawOwner(raw[32:])
	rawEndpoint(raw[80:], "198.18.0.2:53")
	return append(append(raw, data...), "leftover"...)
}

func rawFlow() []byte {
	raw := make([]byte, flowSize)
	raw[0], raw[1], raw[2] = byte(KindClose), FlagAttributed, 6
	binary.LittleEndian.PutUint32(raw[12:], 1)
	for i, at := range []int{16, 184, 24, 192, 200, 208, 216} {
		binary.LittleEndian.PutUint64(raw[at:], uint64(i+2))
	}
	rawOwner(raw[32:])
	rawEndpoint(raw[80:], "203.0.113.9:443")
	raw[100], raw[101] = DirectionInbound, OutcomeData
	rawEndpoint(raw[104:], "198.18.0.1:1000")
	rawEndpoint(raw[124:], "[2001:db8::2]:3389")
	rawEndpoint(raw[144:], "198.18.0.1:2000")
	return raw
}

// rawBoth is a flow record that carries a packet.
func rawBoth(data string) []byte {
	raw := rawFlow()
	raw[0], raw[1], raw[3] = byte(KindOpen), FlagOut|FlagUnconnected, 1
	binary.LittleEndian.PutUint32(raw[4:], 99)
	binary.LittleEndian.PutUint32(raw[8:], uint32(len(data)))
	return append(append(raw, data...), "leftover"...)
}

func rawExec() []byte {
	raw := make([]byte, execSize)
	raw[0] = byte(KindExec)
	binary.LittleEndian.PutUint64(raw[8:], 5)
	rawOwner(raw[16:])
	binary.LittleEndian.PutUint64(raw[64:], 6)
	binary.LittleEndian.PutUint32(raw[72:], 7)
	for i, f := range []struct { // in the order of their lengths
		at   int
		text string
	}{{execFilename, "./x\x00"}, {execPath, "x\x00bin\x00"}, {execArgs, "x\x00\x00-v\x00"}, {execCgroup, "leaf\x00top\x00"}} {
		copy(raw[f.at:], f.text)
		binary.LittleEndian.PutUint16(raw[execLengths+2*i:], uint16(len(f.text)))
	}
	raw[88], raw[89] = 1, 1
	return raw
}

func TestDecodePacket(t *testing.T) {
	var got Packet
	if err := got.Decode(rawPacket("data")); err != nil {
		t.Fatal(err)
	}
	want := Packet{
		Flags: FlagOut | FlagUnconnected, Protocol: 17, Class: 2, Length: 1500, Netns: 7, Time: 8, Cookie: 9,
		Owner: wantOwner, Remote: netip.MustParseAddrPort("198.18.0.2:53"), Data: []byte("data"),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeFlow(t *testing.T) {
	var got Flow
	if err := got.Decode(rawFlow()); err != nil {
		t.Fatal(err)
	}
	want := Flow{
		Kind: KindClose, Flags: FlagAttributed, Protocol: 6, Direction: DirectionInbound, Outcome: OutcomeData, Netns: 1,
		Time: 2, First: 3, Cookie: 4, BytesOut: 5, BytesIn: 6, PacketsOut: 7, PacketsIn: 8, Owner: wantOwner,
		Local: netip.MustParseAddrPort("198.18.0.1:1000"), Remote: netip.MustParseAddrPort("203.0.113.9:443"),
		WireLocal: netip.MustParseAddrPort("198.18.0.1:2000"), WireRemote: netip.MustParseAddrPort("[2001:db8::2]:3389"),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeCarriedPacket(t *testing.T) {
	raw := rawBoth("data")
	var flow Flow
	if err := flow.Decode(raw); err != nil || flow.Kind != KindOpen || flow.PacketsIn != 8 || !Carries(raw) {
		t.Fatalf("%+v, %v", flow, err)
	}
	var got Packet
	if err := got.Decode(raw); err != nil {
		t.Fatal(err)
	}
	want := Packet{
		Flags: FlagOut | FlagUnconnected, Protocol: 6, Class: 1, Length: 99, Netns: 1, Time: 2, Cookie: 4,
		Owner: wantOwner, Remote: netip.MustParseAddrPort("203.0.113.9:443"), Data: []byte("data"),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if err := got.Decode(rawFlow()); !errors.Is(err, ErrRecord) || Carries(rawFlow()) {
		t.Errorf("a flow without a packet: %v", err)
	}
}

func TestDecodeExec(t *testing.T) {
	var got Process
	if err := got.Decode(rawExec()); err != nil {
		t.Fatal(err)
	}
	want := Process{
		Kind: KindExec, Time: 5, Owner: wantOwner, Parent: 7, ParentStart: 6,
		Exec: &Exec{Filename: "./x", Path: "/bin/x", PathWhole: true, Deleted: true, Args: []string{"x", "", "-v"}, Cgroup: "/top/leaf"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRefusesShortRecords(t *testing.T) {
	for name, c := range map[string]struct {
		raw    []byte
		decode func([]byte) error
	}{
		"packet": {rawPacket("")[:packetSize], new(Packet).Decode},
		"flow":   {rawFlow(), new(Flow).Decode},
		"both":   {rawBoth("data")[:flowSize+4], new(Packet).Decode},
		"exec":   {rawExec(), new(Process).Decode},
	} {
		t.Run(name, func(t *testing.T) {
			for n := range c.raw {
				if err := c.decode(c.raw[:n]); !errors.Is(err, ErrRecord) {
					t.Fatalf("%d of %d bytes: %v", n, len(c.raw), err)
				}
			}
			other := bytes.Clone(c.raw)
			other[0] = 200
			if err := c.decode(other); !errors.Is(err, ErrRecord) {
				t.Errorf("unknown kind: %v", err)
			}
		})
	}
	long := rawPacket("")
	binary.LittleEndian.PutUint32(long[8:], 1<<31)
	if err := new(Packet).Decode(long); !errors.Is(err, ErrRecord) {
		t.Errorf("data beyond the record: %v", err)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	packet, flow := rawPacket("data"), rawFlow()
	var p Packet
	var f Flow
	if n := testing.AllocsPerRun(100, func() { p.Decode(packet); f.Decode(flow) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(rawPacket("data"))
	f.Add(rawFlow())
	f.Add(rawBoth("data"))
	f.Add(rawExec())
	f.Add([]byte{byte(KindFork)})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p Packet
		if p.Decode(raw) == nil && len(p.Data) > len(raw)-packetSize {
			t.Error("data beyond the record")
		}
		var fl Flow
		fl.Decode(raw)
		var pr Process
		if pr.Decode(raw) == nil && pr.Kind == KindExec && pr.Exec == nil {
			t.Error("exec without its part")
		}
		fl.decodeState(raw)
		split(bytes.NewReader(raw), func([]byte) {})
		cgroupMount(string(raw))
	})
}

func TestCgroupMount(t *testing.T) {
	for line, want := range map[string]string{
		`35 24 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`: "/sys/fs/cgroup/unified",
		`35 24 0:30 / /my\040mount rw shared:9 - cgroup2 none rw`:              "/my mount",
		`30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory`:      "",
		`30 24`: "",
		``:      "",
	} {
		got, ok := cgroupMount(line)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", line, got, ok)
		}
	}
}

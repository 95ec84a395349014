package sensor

import (
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// The bytes of an open flow are known at once, long before the kernel's next
// record of it, for connected and unconnected sockets.
func TestTraffic(t *testing.T) {
	s, h := start(t, nil)
	n := testenv.NewNetns(t)
	client, accepted := tcpPair(t, n, "127.0.0.1:0")
	transfer(t, client, accepted, []byte("begin"), 5)
	opened := h.record(t, "the TCP flow", func(r *FlowRecord) bool {
		return r.Local == addrPort(client.LocalAddr()) && r.Direction == rules.Outbound
	})
	datagrams, peer := udpPair(t, n)
	send := func() {
		if _, err := datagrams.WriteTo(make([]byte, 1000), peer.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	send()
	unconnected := h.record(t, "the UDP flow", func(r *FlowRecord) bool {
		return r.Flow.Remote == addrPort(peer.LocalAddr()) && r.Direction == rules.Outbound
	})
	keys := []FlowKey{opened.Flow, unconnected.Flow, {Cookie: 1 << 60, Netns: 1}}
	before := s.Traffic(opened.Owner.Process, keys)
	transfer(t, client, accepted, nil, 100_000)
	send()
	after := s.Traffic(opened.Owner.Process, keys)
	if len(before) != 2 || len(after) != 2 {
		t.Fatalf("known are %v, then %v", before, after)
	}
	if rose := after[opened.Flow].Out - before[opened.Flow].Out; rose < 100_000 || rose > 120_000 {
		t.Errorf("100 kB sent, %d bytes counted", rose)
	}
	if rose := after[unconnected.Flow].Out - before[unconnected.Flow].Out; rose != 1028 {
		t.Errorf("a datagram of 1028 bytes sent, %d counted", rose)
	}
	reused := ProcessRef{opened.Owner.Process.PID, opened.Owner.Process.Start + uint64(time.Second)}
	if got := s.Traffic(reused, keys[:1]); len(got) != 0 {
		t.Errorf("another process of that number: %v", got)
	}
}

func udpPair(t *testing.T, n testenv.Netns) (a, b net.PacketConn) {
	t.Helper()
	n.Do(t, func() {
		var err error
		if a, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Error(err)
			return
		}
		if b, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestParseDevices(t *testing.T) {
	const table = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     176       2    0    0    0     0          0         0      176       2    0    0    0     0       0          0
  tun0: 1000 5 0 0 0 0 0 0 2000 6 0 0 0 0 0 0
tun1:18446744073709551616 5 0 0 0 0 0 0 7 6 0 0 0 0 0 0
vpn_lab0:30 5 0 0 0 0 0 0 40 6
 short: 1 2 3
`
	for _, test := range []struct {
		devices []string
		want    Bytes
	}{
		{[]string{"tun0"}, Bytes{2000, 1000}},
		{[]string{"tun0", "vpn_lab0"}, Bytes{2040, 1030}},
		{[]string{"tun1", "short", "absent", "?"}, Bytes{}},
		{nil, Bytes{}},
	} {
		if diff := cmp.Diff(test.want, parseDevices(table, test.devices)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.devices, diff)
		}
	}
}

func FuzzParseDevices(f *testing.F) {
	f.Add("tun0: 1 2 3 4 5 6 7 8 9")
	f.Add(":::\n: 1")
	f.Fuzz(func(t *testing.T, table string) {
		if got := parseDevices(table, nil); got != (Bytes{}) {
			t.Errorf("bytes of no device: %v", got)
		}
		parseDevices(table, []string{"tun0", ""})
	})
}

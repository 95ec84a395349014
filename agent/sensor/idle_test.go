package sensor

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// TestIdleUDPEnds: a flow of a socket that never connects ends when it has been
// silent, though the socket stays open; a later packet is a new flow.
func TestIdleUDPEnds(t *testing.T) {
	_, h := start(t, func(c *SocketConfig) { c.UDPIdle = time.Second })
	client, server := testenv.Pair(t)
	const remote = "198.18.0.2:5001"
	echo(t, server, remote)
	var socket *net.UDPConn
	var err error
	client.Do(t, func() { socket, err = net.ListenUDP("udp", nil) })
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	port := addrPort(socket.LocalAddr()).Port()
	for range 2 {
		before := len(h.all(func(r *FlowRecord) bool { return ended(r, port) }))
		for range 3 {
			if _, err := socket.WriteToUDPAddrPort([]byte("ping"), netip.MustParseAddrPort(remote)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := socket.ReadFromUDPAddrPort(make([]byte, 16)); err != nil {
				t.Fatal(err)
			}
		}
		for deadline := time.Now().Add(2 * patience); ; time.Sleep(50 * time.Millisecond) {
			closes := h.all(func(r *FlowRecord) bool { return ended(r, port) })
			if len(closes) == before+1 {
				r := closes[before]
				if r.PacketsOut != 3 || r.PacketsIn != 3 || r.Outcome != rules.OutcomeData || r.Direction != rules.Outbound {
					t.Errorf("record %+v", r)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d closes of the idle flow, want %d", len(closes), before+1)
			}
		}
	}
}

func ended(r *FlowRecord, local uint16) bool {
	return r.Kind == RecordClose && r.Local.Port() == local && r.Remote.Port() == 5001 && r.Direction == rules.Outbound
}

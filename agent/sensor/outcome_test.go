package sensor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// try connects and gives up after a while.
func try(t *testing.T, n testenv.Netns, network, address string, patience time.Duration) {
	t.Helper()
	n.Do(t, func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if conn, err := (&net.Dialer{}).DialContext(ctx, network, address); err == nil {
			conn.Close()
		}
	})
}

func TestOutcomeOfConnect(t *testing.T) {
	_, h := start(t, nil)
	client, server := testenv.Pair(t)
	rule(t, client, "table inet f { chain o { type filter hook output priority 0; tcp dport 1001 drop; tcp dport 1002 reject; udp dport 1001 drop; } }")
	rule(t, server, "table inet f { chain i { type filter hook input priority 0; tcp dport 1003 drop; tcp dport 1004 reject with icmpx port-unreachable; tcp dport 1005 reject with tcp reset; } }")
	for _, host := range []string{testenv.ServerAddr, testenv.ServerAddr6} {
		for port, want := range map[int]rules.Outcome{
			1001: rules.OutcomeBlocked,   // dropped in OUTPUT
			1002: rules.OutcomeBlocked,   // rejected in OUTPUT
			1003: rules.OutcomeAttempted, // no answer
			1004: rules.OutcomeRefused,   // ICMP error
			1005: rules.OutcomeRefused,   // reset by a filter
			1006: rules.OutcomeRefused,   // nobody listens
		} {
			t.Run(fmt.Sprintf("%s/%d", host, port), func(t *testing.T) {
				remote := netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port))
				wait := patience // an answer comes
				if want != rules.OutcomeRefused {
					wait = 300 * time.Millisecond
				}
				try(t, client, "tcp", remote.String(), wait)
				r := h.record(t, "close", func(r *FlowRecord) bool { return r.Kind == RecordClose && r.Remote == remote })
				if r.Outcome != want || r.Direction != rules.Outbound || !isSelf(r.Owner) || r.Owner.Attribution != rules.AttributionExact {
					t.Errorf("record %+v, want %s", r, want)
				}
			})
		}
	}
}

func TestOutcomeOfUDP(t *testing.T) {
	_, h := start(t, nil)
	client, server := testenv.Pair(t)
	rule(t, client, "table inet f { chain o { type filter hook output priority 0; udp dport 1001 drop; } }")
	rule(t, server, "table inet f { chain i { type filter hook input priority 0; udp dport 1003 drop; } }")
	for _, c := range []struct {
		name string
		port int
		send func(remote netip.AddrPort) error
		want rules.Outcome
	}{
		{"blocked", 1001, sendUnconnected, rules.OutcomeBlocked},
		{"no answer", 1003, sendUnconnected, rules.OutcomeAttempted},
		{"refused", 1006, sendConnected, rules.OutcomeRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			remote := netip.AddrPortFrom(netip.MustParseAddr(testenv.ServerAddr), uint16(c.port))
			client.Do(t, func() {
				if err := c.send(remote); err != nil {
					t.Error(err)
				}
			})
			r := h.record(t, "close", func(r *FlowRecord) bool { return r.Kind == RecordClose && r.Remote == remote })
			if r.Outcome != c.want || r.Direction != rules.Outbound || !isSelf(r.Owner) {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func sendUnconnected(remote netip.AddrPort) error {
	socket, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	socket.WriteToUDPAddrPort([]byte("ping"), remote) // EPERM where a filter drops it
	return socket.Close()
}

func sendConnected(remote netip.AddrPort) error {
	socket, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(remote))
	if err != nil {
		return err
	}
	if _, err := socket.Write([]byte("ping")); err != nil {
		return err
	}
	socket.SetReadDeadline(time.Now().Add(patience))
	socket.Read(make([]byte, 1)) // returns with the error
	return socket.Close()
}

// Many UDP sockets are connected only to learn a source address: that is no
// contact.
func TestConnectWithoutSendingIsNoFlow(t *testing.T) {
	_, h := start(t, nil)
	client, _ := testenv.Pair(t)
	quiet := netip.MustParseAddrPort("198.18.0.2:1010")
	try(t, client, "udp", quiet.String(), patience)
	marker := netip.MustParseAddrPort("198.18.0.2:1011")
	try(t, client, "tcp", marker.String(), patience)
	h.record(t, "marker", func(r *FlowRecord) bool { return r.Kind == RecordClose && r.Remote == marker })
	if r := h.all(func(r *FlowRecord) bool { return r.Remote == quiet }); len(r) > 0 {
		t.Errorf("records %+v", r)
	}
}

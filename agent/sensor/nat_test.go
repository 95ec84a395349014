package sensor

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// rule loads an nft script into the namespace.
func rule(t *testing.T, n testenv.Netns, script string) {
	t.Helper()
	testenv.Tool(t, "nft")
	cmd := n.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(script, "; }", ";\n}\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

// answer serves connections with "welcome" until the test ends.
func answer(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			conn.Write([]byte("welcome"))
			io.Copy(io.Discard, conn)
		}()
	}
}

// ask connects, reads the welcome and closes.
func ask(t *testing.T, n testenv.Netns, address string) (local netip.AddrPort) {
	t.Helper()
	conn := dial(t, n, "tcp", address, nil)
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("welcome"))); err != nil {
		t.Fatal(err)
	}
	local = addrPort(conn.LocalAddr())
	conn.Close()
	return local
}

// A destination rewritten in OUTPUT: the flow keeps what the owner asked for and
// what left, and both directions are one flow.
func TestDestinationRewritten(t *testing.T) {
	_, h := start(t, nil)
	client, server := testenv.Pair(t)
	for _, c := range []struct {
		name, table, asked, wire string
	}{
		{"DNAT", "table ip nat { chain o { type nat hook output priority -100; tcp dport 443 dnat to 198.18.0.2:3389; }\n chain p { type nat hook postrouting priority 100; tcp dport 3389 snat to 198.18.0.1:40006; } }", "203.0.113.9:443", "198.18.0.2:3389"},
		{"DNAT6", "table ip6 nat { chain o { type nat hook output priority -100; tcp dport 443 dnat to [2001:db8:18::2]:3389; } }", "[2001:db8:99::9]:443", "[2001:db8:18::2]:3389"},
		{"REDIRECT", "table ip red { chain o { type nat hook output priority -100; tcp dport 8443 redirect to :15001; } }", "203.0.113.9:8443", "127.0.0.1:15001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire, asked := netip.MustParseAddrPort(c.wire), netip.MustParseAddrPort(c.asked)
			where := server
			if wire.Addr().IsLoopback() {
				where = client
			}
			go answer(listen(t, where, c.wire, false))
			rule(t, client, c.table)
			local := ask(t, client, c.asked)
			r := closed(t, h, rules.Outbound, local, asked)
			if r.WireRemote != wire || !isSelf(r.Owner) || r.Outcome != rules.OutcomeData {
				t.Errorf("record %+v", r)
			}
			if c.name == "DNAT" && r.WireLocal != netip.MustParseAddrPort("198.18.0.1:40006") {
				t.Errorf("wire local %s", r.WireLocal)
			}
			if split := h.all(func(o *FlowRecord) bool {
				return o.Flow.Netns == r.Flow.Netns && o.Direction == rules.Outbound && o.Remote == wire
			}); len(split) > 0 {
				t.Errorf("split: %+v", split)
			}
		})
	}
}

// An unconnected socket has a flow for each remote, also where NAT rewrites it,
// and all end with the socket.
func TestUnconnectedUDP(t *testing.T) {
	_, h := start(t, nil)
	client, server := testenv.Pair(t)
	rule(t, client, "table ip nat { chain o { type nat hook output priority -100; udp dport 5353 dnat to 198.18.0.2:5003; } }")
	remotes := []string{"198.18.0.2:5001", "198.18.0.2:5002", "203.0.113.9:5353", "[2001:db8:18::2]:5004"}
	servers := map[string]string{"203.0.113.9:5353": "198.18.0.2:5003"}
	for _, remote := range remotes {
		at := remote
		if s := servers[remote]; s != "" {
			at = s
		}
		echo(t, server, at)
	}
	var socket *net.UDPConn
	client.Do(t, func() {
		var err error
		if socket, err = net.ListenUDP("udp", nil); err != nil {
			t.Error(err)
		}
	})
	for _, remote := range remotes {
		for range 3 {
			if _, err := socket.WriteToUDPAddrPort([]byte("ping"), netip.MustParseAddrPort(remote)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := socket.ReadFromUDPAddrPort(make([]byte, 16)); err != nil {
				t.Fatal(err)
			}
		}
	}
	port := addrPort(socket.LocalAddr()).Port()
	socket.Close()
	for _, remote := range remotes {
		want := netip.MustParseAddrPort(remote)
		r := h.record(t, "close of "+remote, func(r *FlowRecord) bool {
			return r.Kind == RecordClose && r.Remote == want && r.Local.Port() == port
		})
		if r.PacketsOut != 3 || r.PacketsIn != 3 || r.Outcome != rules.OutcomeData || r.Direction != rules.Outbound || !isSelf(r.Owner) || r.Flow.Remote != want {
			t.Errorf("record %+v", r)
		}
		if s := servers[remote]; s != "" && r.WireRemote != netip.MustParseAddrPort(s) {
			t.Errorf("wire remote %s, want %s", r.WireRemote, s)
		}
	}
}

// echo answers datagrams inside the namespace until the test ends.
func echo(t *testing.T, n testenv.Netns, address string) {
	t.Helper()
	var socket *net.UDPConn
	n.Do(t, func() {
		var err error
		if socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address))); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			k, from, err := socket.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			socket.WriteToUDPAddrPort(buf[:k], from)
		}
	}()
}

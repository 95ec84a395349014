package sensor

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

func tcpPair(t *testing.T, n testenv.Netns, server string) (client, accepted net.Conn) {
	t.Helper()
	n.Do(t, func() {
		l, err := net.Listen("tcp", server)
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Error(err)
			return
		}
		if accepted, err = l.Accept(); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return client, accepted
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := netip.MustParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

func TestOwnerOfConnectAndAccept(t *testing.T) {
	_, h := start(t, nil)
	n := testenv.NewNetns(t)
	for _, server := range []string{"127.0.0.1:0", "[::1]:0"} {
		client, accepted := tcpPair(t, n, server)
		if _, err := client.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(accepted, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		if _, err := accepted.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		local, remote := addrPort(client.LocalAddr()), addrPort(client.RemoteAddr())
		client.Close()
		accepted.Close()
		out := closed(t, h, rules.Outbound, local, remote)
		in := closed(t, h, rules.Inbound, remote, local)
		for _, r := range []FlowRecord{out, in} {
			if !isSelf(r.Owner) || r.Owner.Attribution != rules.AttributionExact {
				t.Errorf("%s: owner %+v", r.Direction, r.Owner)
			}
			if r.Outcome != rules.OutcomeData || r.BytesOut == 0 || r.BytesIn == 0 || r.PacketsOut < 3 {
				t.Errorf("%s: %+v", r.Direction, r)
			}
			if r.WireRemote.IsValid() || r.Asked.IsValid() {
				t.Errorf("%s: rewritten without NAT: %+v", r.Direction, r)
			}
			payload := map[rules.Direction]string{rules.Outbound: "question", rules.Inbound: "answer"}[r.Direction]
			p := h.packet(t, payload, func(p *Packet) bool {
				return p.Flow == r.Flow && p.Out && bytes.HasSuffix(p.Data, []byte(payload))
			})
			if p.Time.Before(r.First) || len(p.Data) != p.Length || !isSelf(p.Owner) {
				t.Errorf("packet %+v", p)
			}
		}
		if out.Flow.Netns != in.Flow.Netns || out.Flow.Netns == 0 {
			t.Errorf("namespaces %d, %d", out.Flow.Netns, in.Flow.Netns)
		}
	}
}

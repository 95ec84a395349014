package agent

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent/capture"
	"sallyport/agent/flow"
	"sallyport/agent/protocol"
	"sallyport/rules"
)

var (
	clientEnd = netip.MustParseAddrPort("198.18.0.1:40000")
	attended  = netip.MustParseAddrPort("203.0.113.10:8443") // the shipped test entity's
	plain     = netip.MustParseAddrPort("198.18.0.2:8443")   // in no pack
)

// segment is an IPv4 packet with a TCP header (RFC 791 section 3.1, RFC 9293
// section 3.1), without options or checksums.
func segment(from, to netip.AddrPort, flags byte, seq, ack uint32, payload string) []byte {
	p := make([]byte, 40, 40+len(payload))
	p[0], p[8], p[9], p[32], p[33] = 0x45, 64, 6, 5<<4, flags
	binary.BigEndian.PutUint16(p[2:], uint16(40+len(payload)))
	copy(p[12:], from.Addr().AsSlice())
	copy(p[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(p[20:], from.Port())
	binary.BigEndian.PutUint16(p[22:], to.Port())
	binary.BigEndian.PutUint32(p[24:], seq)
	binary.BigEndian.PutUint32(p[28:], ack)
	return append(p, payload...)
}

// dialogue is a connection in which each side says one thing.
func dialogue(remote netip.AddrPort, request, answer string) [][]byte {
	const syn, ack, psh, fin = capture.SYN, capture.ACK, capture.PSH, capture.FIN
	r, a := uint32(len(request)), uint32(len(answer))
	return [][]byte{
		segment(clientEnd, remote, syn, 100, 0, ""),
		segment(remote, clientEnd, syn|ack, 500, 101, ""),
		segment(clientEnd, remote, ack, 101, 501, ""),
		segment(clientEnd, remote, ack|psh, 101, 501, request),
		segment(remote, clientEnd, ack|psh, 501, 101+r, answer),
		segment(clientEnd, remote, fin|ack, 101+r, 501+a, ""),
		segment(remote, clientEnd, fin|ack, 501+a, 102+r, ""),
	}
}

// X.224 connection request and confirm with RDP negotiation, as in the
// self-test ([MS-RDPBCGR] 2.2.1.1 and 2.2.1.2).
const (
	rdpRequest = "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x01\x00\x00\x00"
	rdpConfirm = "\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x00\x08\x00\x01\x00\x00\x00"
)

// replayed runs packets of this host through table and judge.
func replayed(t *testing.T, packets ...[]byte) []rules.Finding {
	t.Helper()
	t.Setenv(hostEnv, "testhost")
	cfg, err := LoadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	captures, err := OpenCaptures(cfg, "test", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer captures.Close()
	r := captures.Replay(t.Context(), "testhost")
	flows := flow.ReplayConfig()
	flows.Local = []netip.Prefix{netip.PrefixFrom(clientEnd.Addr(), 32)}
	table := flow.New(flows, protocol.NewEngine(protocol.Detectors()), r)
	decoder := capture.NewDecoder()
	at := time.Now()
	for _, raw := range packets {
		at = at.Add(time.Millisecond)
		p, err := decoder.DecodeIP(raw, len(raw), at)
		if err != nil {
			t.Fatal(err)
		}
		table.Packet(p, &flow.Meta{})
	}
	table.Close()
	return r.Findings()
}

func TestFromPacketsToFinding(t *testing.T) {
	type want struct {
		rule, protocol string
		outcome        rules.Outcome
		direction      rules.Direction
		severity       rules.Severity
	}
	tests := []struct {
		name    string
		packets [][]byte
		want    []want
	}{
		{"RDP on another port", dialogue(attended, rdpRequest, rdpConfirm), []want{
			{"RDP with an attributed remote", "rdp", rules.OutcomeData, rules.Outbound, rules.SeverityCritical},
		}},
		{"nothing known", dialogue(attended, "what", "ever"), []want{
			{"Contact with an attributed remote", "none", rules.OutcomeData, rules.Outbound, rules.SeverityHigh},
		}},
		{"an attempt that nobody answered", dialogue(attended, "", "")[:1], []want{
			{"Contact with an attributed remote", "none", rules.OutcomeAttempted, rules.Outbound, rules.SeverityMedium},
		}},
		{"through a proxy", dialogue(plain, "CONNECT 203.0.113.10:8443 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"), []want{
			{"Contact with an attributed remote", "http", rules.OutcomeData, rules.Outbound, rules.SeverityHigh},
		}},
		{"RDP with anybody else", dialogue(plain, rdpRequest, rdpConfirm), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			found := replayed(t, test.packets...)
			if len(found) != len(test.want) {
				t.Fatalf("%d findings, want %d: %+v", len(found), len(test.want), found)
			}
			for i, w := range test.want {
				f, o := &found[i], &found[i].Observation
				got := want{f.Rule.Title, o.Identification.Protocol, o.Outcome, o.Direction, f.Severity}
				if got != w {
					t.Errorf("got %+v\nwant %+v\nwhy %q", got, w, f.Why)
				}
				if !f.Test || f.Count != 1 {
					t.Errorf("test %v, count %d: want true, 1", f.Test, f.Count)
				}
				if err := f.Validate(); err != nil {
					t.Errorf("the finding is not valid: %v", err)
				}
				if f.Evidence == nil || f.Evidence.Packets == 0 {
					t.Error("no evidence")
				}
			}
		})
	}
}

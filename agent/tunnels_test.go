package agent

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"sallyport/agent/flow"
	"sallyport/agent/naming"
	"sallyport/agent/protocol"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

// stage is a pipeline without sensors: flows are opened by records.
type stage struct {
	*pipeline
	at   time.Time
	said []rules.Observation
}

func newStage(t *testing.T) *stage {
	t.Helper()
	set, err := rules.NewBuilder(rules.Options{}).Set()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{at: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	hand := func(item observed, _ bool) { s.said = append(s.said, item.o) }
	s.pipeline = newPipeline("host", rules.NewLive(set), new(sharedSystems), naming.New(naming.DefaultConfig()), hand)
	s.table = flow.New(flow.DefaultConfig(), protocol.NewEngine(protocol.Detectors()), s.pipeline)
	s.tunnels = newTunnels()
	return s
}

var (
	holder  = sensor.ProcessRef{PID: 4_000_001, Start: 1}
	passer  = sensor.ProcessRef{PID: 4_000_002, Start: 1}
	another = sensor.ProcessRef{PID: 4_000_003, Start: 1}
)

// record reports a TCP flow of a process.
func (s *stage) record(kind sensor.RecordKind, cookie uint64, owner sensor.ProcessRef, d rules.Direction, local, remote string) sensor.FlowKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(time.Millisecond)
	key := sensor.FlowKey{Cookie: cookie, Netns: 1}
	s.table.Record(&sensor.FlowRecord{
		Kind: kind, Time: s.at, First: s.at, Flow: key, Transport: 6, Direction: d, Outcome: rules.OutcomeData,
		Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote),
		Owner: sensor.OwnerRef{Process: owner, Comm: "program", Attribution: rules.AttributionExact},
	})
	return key
}

func (s *stage) opensTunnel(owner sensor.ProcessRef) {
	s.process(&sensor.ProcessEvent{Kind: sensor.ProcessTunnel, Process: owner, Device: "tun"})
}

// watched is the flows under watch, by cookie.
func (s *stage) watched() map[uint64]bool {
	out := map[uint64]bool{}
	flows, _ := s.underWatch()
	for _, f := range flows {
		out[f.Key.Cookie] = true
	}
	return out
}

const (
	vpnLocal, vpnRemote = "192.0.2.1:40000", "203.0.113.1:443"
	insideA, insideB    = "127.0.0.1:40001", "127.0.0.1:1194"
)

func TestFlowsUnderWatch(t *testing.T) {
	s := newStage(t)
	s.record(sensor.RecordOpen, 1, holder, rules.Outbound, vpnLocal, vpnRemote)
	s.record(sensor.RecordOpen, 2, another, rules.Outbound, "192.0.2.1:40002", vpnRemote)
	if w := s.watched(); len(w) != 0 {
		t.Fatalf("watched before anybody holds a tunnel: %v", w)
	}
	s.opensTunnel(holder)
	s.record(sensor.RecordOpen, 3, holder, rules.Outbound, "192.0.2.1:40003", vpnRemote)
	if w := s.watched(); len(w) != 2 || !w[1] || !w[3] {
		t.Errorf("watched %v, want the holder's flows, the older one among them", w)
	}
	s.record(sensor.RecordClose, 1, holder, rules.Outbound, vpnLocal, vpnRemote)
	s.process(&sensor.ProcessEvent{Kind: sensor.ProcessExit, Process: holder})
	s.record(sensor.RecordOpen, 4, holder, rules.Outbound, "192.0.2.1:40004", vpnRemote)
	if w := s.watched(); len(w) != 1 || !w[3] {
		t.Errorf("watched %v after a flow and the process ended", w)
	}
	s.opensTunnel(sensor.ProcessRef{PID: uint32(os.Getpid()), Start: 1})
	if len(s.tunnels.holders) != 0 {
		t.Errorf("the sensor's own proof is taken for a tunnel: %v", s.tunnels.holders)
	}
}

// What the host shows is reported at once, and again when the flow ends.
func TestHostShowsAFlow(t *testing.T) {
	s := newStage(t)
	s.opensTunnel(holder)
	key := s.record(sensor.RecordOpen, 1, holder, rules.Outbound, vpnLocal, vpnRemote)
	before := len(s.said)
	id := rules.Identification{Protocol: "softether", State: "confirmed", Source: "host", Evidence: "a device"}
	s.tell(map[sensor.FlowKey]rules.Identification{key: id, {Cookie: 99}: id}, newRelays(unknownProcess))
	s.record(sensor.RecordClose, 1, holder, rules.Outbound, vpnLocal, vpnRemote)
	if len(s.said) < before+2 {
		t.Fatalf("said %d times, want at once and at the end", len(s.said)-before)
	}
	for _, o := range s.said[before:] {
		if o.Identification != id {
			t.Errorf("identified as %+v", o.Identification)
		}
	}
	if len(s.tunnels.flows) != 0 {
		t.Errorf("%d closed flows are remembered", len(s.tunnels.flows))
	}
}

// A flow over loopback that the host shows to be a tunnel's makes the process at
// its other end a relay, whose older flows are watched too.
func TestRelayOfATunnel(t *testing.T) {
	s, known := newStage(t), newRelays(unknownProcess)
	s.opensTunnel(holder)
	out := s.record(sensor.RecordOpen, 10, passer, rules.Outbound, vpnLocal, vpnRemote)
	inside := s.record(sensor.RecordOpen, 11, holder, rules.Outbound, insideA, insideB)
	accepted := s.record(sensor.RecordOpen, 12, passer, rules.Inbound, insideB, insideA)
	id := rules.Identification{Protocol: "vpn-tunnel", State: "confirmed", Source: "host"}
	s.tell(map[sensor.FlowKey]rules.Identification{inside: id}, known)
	_, relays := s.underWatch()
	if r, ok := relays[passer]; !ok || len(relays) != 1 || r.Flow != accepted || r.Protocol != "vpn-tunnel" || r.Peer != "program (pid 4000001)" {
		t.Fatalf("relays %+v", relays)
	}
	if w := s.watched(); !w[10] {
		t.Errorf("watched %v, want the relay's older flow", w)
	}
	s.tell(map[sensor.FlowKey]rules.Identification{out: id}, known)
	if got := known.learnt(func() []sensor.ProcessRef { return []sensor.ProcessRef{holder, passer} }); len(got) != 1 || got[0] != passer {
		t.Errorf("marked as relays: %v", got)
	}
	s.record(sensor.RecordClose, 12, passer, rules.Inbound, insideB, insideA)
	if _, relays := s.underWatch(); len(relays) != 0 || s.tunnels.holders[passer] {
		t.Errorf("a relay whose flow has ended: %+v", relays)
	}
}

// An SSH over loopback is nothing that a relay would be looked at for.
func TestOrdinaryLoopbackIsNoRelay(t *testing.T) {
	s := newStage(t)
	s.opensTunnel(holder)
	inside := s.record(sensor.RecordOpen, 11, holder, rules.Outbound, insideA, insideB)
	s.record(sensor.RecordOpen, 12, passer, rules.Inbound, insideB, insideA)
	s.tell(map[sensor.FlowKey]rules.Identification{inside: {Protocol: "ssh", State: "confirmed"}}, newRelays(unknownProcess))
	if _, relays := s.underWatch(); len(relays) != 0 {
		t.Errorf("relays %+v", relays)
	}
}

// A holder whose exit was lost leaves when it is asked for and is not there.
func TestHolderWithoutExitLeaves(t *testing.T) {
	s := newStage(t)
	s.opensTunnel(holder)
	s.opensTunnel(another)
	s.opensTunnel(passer)
	s.dismiss(func(ref sensor.ProcessRef) (sensor.Process, bool) {
		switch ref {
		case holder: // runs
			return sensor.Process{Ref: ref}, true
		case another: // remembered after its end
			return sensor.Process{Ref: ref, Exited: s.at}, true
		}
		return sensor.Process{}, false
	})
	if len(s.tunnels.holders) != 1 || !s.tunnels.holders[holder] {
		t.Errorf("under watch: %v, want the one that runs", s.tunnels.holders)
	}
}

func TestWatchIsBounded(t *testing.T) {
	s := newStage(t)
	for i := range uint32(maxHolders + 5) {
		s.opensTunnel(sensor.ProcessRef{PID: 4_100_000 + i, Start: 1})
	}
	if n := len(s.tunnels.holders); n != maxHolders {
		t.Errorf("%d holders remembered", n)
	}
	for i := range uint64(maxWatched + 3) {
		s.record(sensor.RecordOpen, i+1, sensor.ProcessRef{PID: 4_100_000, Start: 1}, rules.Outbound, vpnLocal, vpnRemote)
	}
	if len(s.tunnels.flows) != maxWatched || s.unwatched() != 5+3 {
		t.Errorf("%d flows watched, %d counted as not", len(s.tunnels.flows), s.unwatched())
	}
}

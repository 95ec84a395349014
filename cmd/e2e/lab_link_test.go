package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"sallyport/rules"
)

// linkPeers speak IP protocols that have no socket of a process: the link sensor
// hears them, on the interfaces of the agent's own network namespace.
var linkPeers = []labPeer{
	{"SoftEther over ICMP", labSoftEtherICMP},
	{"PPTP, its GRE", labPPTPData},
}

// labSoftEtherICMP: where nothing else comes through, SoftEther speaks in ICMP.
func labSoftEtherICMP(l *lab) expectation {
	softEtherOver(l, "/ICMP:yes", "/DNS:no", "meta l4proto udp")
	return expectation{protocol: "softether", transport: "1", state: "confirmed"}
}

func labPPTPData(l *lab) expectation {
	labPPTP(l)
	return expectation{protocol: "gre", transport: "47", state: "suspected"} // the server's end sends none
}

// TestLabLink runs an agent inside the client's namespace for each peer.
func TestLabLink(t *testing.T) {
	if os.Getenv(labEnv) == "" {
		t.Skip("the long list of real peers runs with " + labEnv + "=1 (make test-lab)")
	}
	s := newSite(t, "")
	s.agent.end(t)
	s.collector.end(t)
	for i, p := range linkPeers {
		t.Run(p.name, func(t *testing.T) {
			l := newLab(t, byte(i+1))
			s.agentState = t.TempDir()
			s.agentConfig = s.write(t, "link.yaml", fmt.Sprintf(
				"state_dir: %s\nmetrics: \"\"\nrules:\n  shipped: true\n  entities: [%s]\nledger:\n  interval: 1s\ndeliver:\n  destinations: [file]\n  file: {path: %s}\n",
				s.agentState, s.path("entities.yaml"), s.path("findings.jsonl")))
			s.agent = s.launch(t, "sallyport", l.client.Command(filepath.Join(binaries, "sallyport"), "agent", "--config", s.agentConfig))
			client := s.control()
			s.agent.until(t, "agent answers", func() bool {
				_, err := client.Status(t.Context())
				return err == nil
			})
			want := p.run(l)
			f := s.await(t, "of the link sensor", want.heard(l.remote))
			t.Logf("client's end: %s %s: %s", f.Observation.Identification.State, f.Observation.Identification.Protocol, f.Observation.Identification.Evidence)
			if f.Observation.Sensor != "link" {
				t.Errorf("by the sensor %s", f.Observation.Sensor)
			}
		})
	}
}

// heard is met for what has no owner.
func (e expectation) heard(remote netip.Addr) func(*rules.Finding) bool {
	return func(f *rules.Finding) bool {
		o := &f.Observation
		return o.Remote.Addr == remote && o.Transport == e.transport && o.Identification.Protocol == e.protocol && o.Identification.State == e.state
	}
}

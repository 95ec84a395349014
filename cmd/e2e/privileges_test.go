package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// leastCapabilities are those of docs/privileges.md, the unit and the manifest.
const leastCapabilities = "-all,+bpf,+perfmon,+net_admin,+net_raw,+sys_ptrace,+dac_read_search"

// TestLeastCapabilities: the agent works whole with the capabilities that the
// unit and the manifest give it and no other, and without new privileges.
func TestLeastCapabilities(t *testing.T) {
	s := newSite(t, "")
	s.agent.end(t)
	s.agent = s.launch(t, "sallyport", exec.Command(testenv.Tool(t, "setpriv"), "--bounding-set", leastCapabilities, "--inh-caps=-all", "--no-new-privs",
		filepath.Join(binaries, "sallyport"), "agent", "--config", s.agentConfig))
	s.agent.until(t, "agent answers", func() bool {
		return exec.Command(filepath.Join(binaries, "sallyport"), "status", "--config", s.agentConfig).Run() == nil
	})
	h, err := s.control().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Degraded) > 0 {
		t.Errorf("degraded: %s", strings.Join(h.Degraded, "; "))
	}
	l := newLab(t, 1)
	want := openSSH(l, 22)
	s.await(t, "the client's", func(f *rules.Finding) bool {
		o := &f.Observation
		return o.Direction == rules.Outbound && o.Remote.Addr == l.remote && o.Identification.Protocol == want.protocol &&
			o.Owner.Process != nil && filepath.Base(o.Owner.Process.Executable) == want.client
	})
}

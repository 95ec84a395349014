package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// TestKernelTunnel: a tunnel that the kernel carries is a finding, though no
// process sends its packets and no hook sees them: identified by the kernel's own
// tables, with the command that made it as its owner. VXLAN is what every kernel
// has; the other kinds run in "make test-kernels".
func TestKernelTunnel(t *testing.T) {
	s := newSite(t, "")
	l := newLab(t, 1)
	for n, ends := range map[testenv.Netns][3]string{
		l.client: {l.caller.String(), l.remote.String(), "10.78.0.2/24"}, l.server: {l.remote.String(), l.caller.String(), "10.78.0.1/24"},
	} {
		add := fmt.Sprintf("link add e2evx type vxlan id 9 local %s remote %s dstport 4789", ends[0], ends[1])
		if out, err := n.Command("ip", strings.Fields(add)...).CombinedOutput(); err != nil {
			t.Skipf("this kernel has no VXLAN: %s", out)
		}
		n.Run(t, "ip", "addr", "add", ends[2], "dev", "e2evx")
		n.Run(t, "ip", "link", "set", "e2evx", "up")
	}
	l.traffic("10.78.0.1")
	got := s.await(t, "the kernel tunnel's", func(f *rules.Finding) bool {
		o := &f.Observation
		return o.Remote.Addr == l.remote && o.Identification.Source == "host" && o.Identification.State == "confirmed" && o.Owner.Process != nil
	})
	o := &got.Observation
	for _, words := range []string{"kernel vxlan device e2evx, peer " + l.remote.String() + ":4789", "made by ip (pid ", "inferred"} {
		if !strings.Contains(o.Identification.Evidence, words) {
			t.Errorf("evidence %q does not say %q", o.Identification.Evidence, words)
		}
	}
	if !strings.HasPrefix(got.Title, "VPN") {
		t.Errorf("not told as a VPN: %q", got.Title)
	}
	if o.Identification.Protocol != "vpn-tunnel" || o.Owner.Attribution != rules.AttributionTunnel || filepath.Base(o.Owner.Process.Executable) != "ip" {
		t.Errorf("%+v, owner %+v", o.Identification, o.Owner)
	}
	if o.Outcome != rules.OutcomeData || o.BytesOut == 0 || o.BytesIn == 0 || o.Transport != rules.UDP {
		t.Errorf("outcome %s, out %d, in %d over %s", o.Outcome, o.BytesOut, o.BytesIn, o.Transport)
	}
}

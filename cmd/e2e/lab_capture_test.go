package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/agent/testenv"
)

// pcapsEnv names a folder for captures of every peer, from which those in
// agent/protocol/testdata are cut. No agent runs.
const pcapsEnv = "SALLYPORT_TEST_LAB_PCAPS"

// TestLabCapture records what the peers say: on the wire, and on the server's
// loopback what stands behind stunnel.
func TestLabCapture(t *testing.T) {
	dir := os.Getenv(pcapsEnv)
	if dir == "" {
		t.Skip(pcapsEnv + " names no folder for the captures")
	}
	for i, p := range append(append([]labPeer{}, labPeers...), linkPeers...) {
		t.Run(p.name, func(t *testing.T) {
			l := newLab(t, byte(i+1))
			name := filepath.Join(dir, strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(p.name))
			l.record(l.client, "v0", name+".pcap")
			l.record(l.server, "lo", name+"-inside.pcap")
			p.run(l)
			time.Sleep(12 * time.Second) // what a session says, not what a test waits for
		})
	}
}

func (l *lab) record(n testenv.Netns, device, path string) {
	l.t.Helper()
	l.start(n, nil, testenv.Tool(l.t, "tcpdump"), "-i", device, "--immediate-mode", "-U", "-Z", "root", "-s", "0", "-w", path).says("listening on")
}

package sensor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/agent/testenv"
)

// pppd holds the device; the program that has the connection is found beside it,
// as pppd's child behind a shell or as its parent.
func TestPPP(t *testing.T) {
	if _, err := os.Stat("/dev/ppp"); err != nil {
		t.Skip("this kernel has no PPP (make test-kernels has kernels with it)")
	}
	pppd := testenv.Tool(t, "pppd")
	for _, test := range []struct{ name, through string }{{"child", "the owner's parent"}, {"parent", "the owner's child"}} {
		t.Run(test.name, func(t *testing.T) {
			s, h := start(t, nil)
			near, far := testenv.NewNetns(t), testenv.NewNetns(t)
			options := "nodetach noauth nodefaultroute local nolog"
			peer := fmt.Sprintf("nsenter --net=%s -- %s notty %s 10.97.0.2:10.97.0.1", far.Path(), pppd, options)
			// What has the connection here is a shell that passes the frames on.
			script := filepath.Join(t.TempDir(), "carrier")
			if err := os.WriteFile(script, []byte("#!/bin/sh\n"+peer+"\nexit 0\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"pty", script}, strings.Fields(options+" 10.97.0.1:10.97.0.2")...)
			cmd := near.Command(pppd, args...)
			if test.name == "parent" {
				cmd = near.Command("/bin/sh", "-c", pppd+" pty "+script+" "+options+" 10.97.0.1:10.97.0.2; exit 0")
			}
			background(t, cmd)
			h.process(t, "open of /dev/ppp", func(e *ProcessEvent) bool { return e.Kind == ProcessTunnel && e.Device == "ppp" })
			carrier := func(p *Process) bool {
				return slices.Contains(p.Args, script) && strings.HasSuffix(p.Args[0], "sh") && p.Name != "pppd"
			}
			if test.name == "parent" {
				carrier = func(p *Process) bool { return p.Ref.PID == uint32(cmd.Process.Pid) }
			}
			for limit := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				near.Command("ping", "-c1", "-W1", "10.97.0.2").Run() // fails until the link is up: the device counts what it carries
				for _, p := range s.Started(time.Time{}) {
					facts, ok := TunnelFacts{}, false
					if p.Exited.IsZero() && carrier(&p) {
						facts, ok = s.Tunnel(p.Ref)
					}
					if ok && len(facts.Devices) > 0 && facts.DeviceBytes.Total() > 0 {
						if !strings.Contains(facts.Through, "pppd (pid ") || !strings.Contains(facts.Through, test.through) || !strings.HasPrefix(facts.Devices[0], "ppp") {
							t.Errorf("facts %+v", facts)
						}
						return
					}
				}
				if time.Now().After(limit) {
					t.Fatal("no facts about the program that has the connection")
				}
			}
		})
	}
}

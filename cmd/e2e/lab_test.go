package e2e

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/agent/testenv"
)

// lab is a client's and a server's namespace with addresses that the shipped
// test entity holds, so that both ends see an attributed remote.
type lab struct {
	t              *testing.T
	client, server testenv.Netns
	remote         netip.Addr // the server's, as the client sees it
	caller         netip.Addr // the client's, as the server sees it
	dir            string
}

// newLab makes a lab whose addresses end in n and 100+n: each lab of a test
// needs its own, so that findings can be told apart.
func newLab(t *testing.T, n byte) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), remote: netip.AddrFrom4([4]byte{203, 0, 113, n}), caller: netip.AddrFrom4([4]byte{203, 0, 113, 100 + n})}
	if err := os.Chmod(l.dir, 0o755); err != nil { // some peers drop root
		t.Fatal(err)
	}
	l.client, l.server = testenv.Pair(t)
	l.client.Run(t, "ip", "addr", "add", l.caller.String()+"/32", "dev", "lo")
	l.server.Run(t, "ip", "addr", "add", l.remote.String()+"/32", "dev", "lo")
	l.client.Run(t, "ip", "route", "add", l.remote.String()+"/32", "via", testenv.ServerAddr, "src", l.caller.String())
	l.server.Run(t, "ip", "route", "add", l.caller.String()+"/32", "via", testenv.ClientAddr, "src", l.remote.String())
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) write(name, content string) string {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Dir(l.path(name)), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(l.path(name), []byte(content), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return l.path(name)
}

// peer is a program of someone else's that runs in a namespace.
type peer struct {
	t    *testing.T
	name string
	log  string
	done chan struct{}
	err  error
}

// start runs a peer until the test ends. Its output goes to a log that a
// failing test shows.
func (l *lab) start(n testenv.Netns, env []string, name string, args ...string) *peer {
	l.t.Helper()
	log, err := os.CreateTemp(l.dir, filepath.Base(name)+"-*.log")
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	cmd := n.Command(name, args...)
	cmd.Dir = l.dir
	cmd.Env = append(append(os.Environ(), "HOME="+l.dir), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		l.t.Fatalf("start %s: %v", name, err)
	}
	p := &peer{t: l.t, name: filepath.Base(name), log: log.Name(), done: make(chan struct{})}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	l.t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		if l.t.Failed() {
			l.t.Logf("--- %s\n%s", p.name, tail(p.log))
		}
	})
	return p
}

// says waits until the peer's log has the text.
func (p *peer) says(text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("says %q", text), func() bool {
		data, err := os.ReadFile(p.log)
		return err == nil && bytes.Contains(data, []byte(text))
	})
}

func (p *peer) until(what string, true func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); !true(); time.Sleep(50 * time.Millisecond) {
		select {
		case <-p.done:
			if !true() {
				p.t.Fatalf("waiting until %s %s: it ended: %v\n%s", p.name, what, p.err, tail(p.log))
			}
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("waiting until %s %s: not within %s\n%s", p.name, what, patience, tail(p.log))
		}
	}
}

// listens waits until something in the namespace listens on the port, without
// sending a packet. kind is "t" for TCP or "u" for UDP.
func (p *peer) listens(n testenv.Netns, kind string, port uint16) {
	p.t.Helper()
	p.until(fmt.Sprintf("listens on %d", port), func() bool {
		out, err := n.Command("ss", "-Hln"+kind, fmt.Sprintf("sport = :%d", port)).Output()
		return err == nil && len(bytes.TrimSpace(out)) > 0
	})
}

// display starts an X server without a screen and gives its name. The server
// chooses the number and tells it once it takes clients.
func (l *lab) display(n testenv.Netns) string {
	l.t.Helper()
	said := l.path("display-" + n.Name)
	server := l.start(n, nil, "sh", "-c", fmt.Sprintf("exec %s -displayfd 3 -screen 0 640x480x24 -nolisten tcp -ac -noreset 3>%s", testenv.Tool(l.t, "Xvfb"), said))
	var number string
	server.until("takes clients", func() bool {
		data, err := os.ReadFile(said)
		number = strings.TrimSpace(string(data))
		return err == nil && number != "" && n.Command(testenv.Tool(l.t, "xdpyinfo"), "-display", ":"+number).Run() == nil
	})
	return "DISPLAY=:" + number
}

// run runs a tool to its end, outside the namespaces.
func (l *lab) run(name string, args ...string) string {
	l.t.Helper()
	cmd := exec.Command(testenv.Tool(l.t, name), args...)
	cmd.Dir = l.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// certificate makes a self-signed certificate and its key.
func (l *lab) certificate(name string) (cert, key string) {
	l.t.Helper()
	cert, key = l.path(name+".crt"), l.path(name+".key")
	l.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
		"-subj", "/CN="+name, "-keyout", key, "-out", cert)
	if err := os.Chmod(key, 0o644); err != nil {
		l.t.Fatal(err)
	}
	return cert, key
}

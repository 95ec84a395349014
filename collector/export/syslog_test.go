package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/agent/testenv"
)

// rsyslog is a real rsyslogd of the test's own, without privileges, on loopback.
type rsyslog struct {
	address string
	output  string
}

const rsyslogConfig = `
global(workDirectory="%[1]s" maxMessageSize="1m" parser.escapeControlCharactersOnReceive="on"
  defaultNetstreamDriverCAFile="%[1]s/ca.crt" defaultNetstreamDriverCertFile="%[1]s/server.crt" defaultNetstreamDriverKeyFile="%[1]s/server.key")
%[2]s
template(name="parsed" type="list" option.jsonf="on") {
  property(outname="pri" name="pri" format="jsonf")
  property(outname="time" name="timereported" dateformat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="id" name="msgid" format="jsonf")
  property(outname="version" name="protocol-version" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}
action(type="omfile" file="%[1]s/out.jsonl" template="parsed")
`

// Inputs of rsyslog. It picks the port of a stream and writes it down.
const (
	rsyslogTCP = `module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="%[1]s/port")`
	rsyslogTLS = `module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/name" permittedPeer=["client.example"])
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="%[1]s/port")`
	rsyslogUDP = `module(load="imudp")
input(type="imudp" address="127.0.0.1" port="%[2]d")`
)

func startRsyslog(t *testing.T, p pki, input string, port int) rsyslog {
	t.Helper()
	program := testenv.Tool(t, "rsyslogd")
	folder := t.TempDir()
	for _, name := range []string{"ca.crt", "server.crt", "server.key"} {
		text, err := os.ReadFile(p.file(name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name), string(text))
	}
	inputs := strings.NewReplacer("%[1]s", folder, "%[2]d", strconv.Itoa(port)).Replace(input)
	conf := filepath.Join(folder, "rsyslog.conf")
	write(t, conf, fmt.Sprintf(rsyslogConfig, folder, inputs))
	cmd := exec.Command(program, "-n", "-f", conf, "-i", filepath.Join(folder, "pid"), "-C")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	unprivileged(t, cmd, folder)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("rsyslogd: %s", said.Bytes())
		}
	})
	r := rsyslog{output: filepath.Join(folder, "out.jsonl")}
	eventually(t, "rsyslogd to listen", func() bool {
		select {
		case <-ended:
			t.Fatalf("rsyslogd ended: %s", said.Bytes())
		default:
		}
		if port != 0 {
			conn, err := net.ListenPacket("udp", "127.0.0.1:"+strconv.Itoa(port))
			if err == nil {
				conn.Close()
			}
			r.address = "127.0.0.1:" + strconv.Itoa(port)
			return err != nil
		}
		text, err := os.ReadFile(filepath.Join(folder, "port"))
		r.address = "127.0.0.1:" + strings.TrimSpace(string(text))
		return err == nil && len(text) > 0
	})
	return r
}

// unprivileged runs the program as nobody, where the test is root.
func unprivileged(t *testing.T, cmd *exec.Cmd, folder string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	for dir := filepath.Dir(folder); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, nobody, nobody))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// received are the messages as rsyslog parsed them.
func (r rsyslog) received(t *testing.T, n int) []map[string]string {
	t.Helper()
	var list []map[string]string
	eventually(t, fmt.Sprintf("%d messages", n), func() bool {
		text, err := os.ReadFile(r.output)
		if err != nil || bytes.Count(text, []byte("\n")) < n {
			return false
		}
		list = nil
		for l := range bytes.Lines(text) {
			var m map[string]string
			if err := json.Unmarshal(l, &m); err != nil {
				t.Fatalf("%v: %s", err, l)
			}
			list = append(list, m)
		}
		return true
	})
	return list
}

// freePort is a UDP port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}

func TestRsyslogTakesEveryTransportAndFormat(t *testing.T) {
	p := newPKI(t)
	tlsLines := fmt.Sprintf("\ntls: {ca: %s, certificate: %s, key: %s, server_name: server.example}", p.file("ca.crt"), p.file("client.crt"), p.file("client.key"))
	tests := []struct {
		name, input, settings string
		udp                   bool
	}{
		{"UDP", rsyslogUDP, "transport: udp", true},
		{"TCP with octet counting", rsyslogTCP, "transport: tcp", false},
		{"TCP with line ends", rsyslogTCP, "transport: tcp\nframing: lf", false},
		{"TLS with a client certificate", rsyslogTLS, "transport: tls" + tlsLines, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			port := 0
			if tt.udp {
				port = freePort(t)
			}
			r := startRsyslog(t, p, tt.input, port)
			sent := 0
			for _, format := range []string{"cef", "leef", "ocsf", "csv"} {
				e := open(t, "syslog", format, "address: "+r.address+"\n"+tt.settings)
				batch := items(t)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if err := e.Export(ctx, batch); err != nil {
					t.Fatal(err)
				}
				f, _ := formatOf(format)
				got := r.received(t, sent+len(batch))[sent:]
				for i := range batch {
					checkMessage(t, f, &batch[i], got[i])
				}
				sent += len(batch)
			}
		})
	}
}

// checkMessage compares what rsyslog read with what was to be said.
func checkMessage(t *testing.T, f Format, item *Item, got map[string]string) {
	t.Helper()
	text, err := f.Append(nil, item)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"pri": strconv.Itoa(16*8 + levelOf(item.Finding.Severity).syslog), "host": "node-1", "app": "sallyport", "id": "finding", "version": "1",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	if at, err := time.Parse(time.RFC3339Nano, got["time"]); err != nil || !at.Equal(item.Finding.Created.Truncate(time.Millisecond)) {
		t.Errorf("time %q", got["time"])
	}
	if strings.TrimPrefix(got["message"], " ") != string(text) {
		t.Errorf("message\n%q\nwant\n%q", got["message"], text)
	}
}

func TestSyslogNeedsTheRightCertificates(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	r := startRsyslog(t, p, rsyslogTLS, 0)
	for name, tlsText := range map[string]string{
		"no client certificate": "ca: " + p.file("ca.crt"),
		"a stranger's":          fmt.Sprintf("ca: %s\n  certificate: %s\n  key: %s", p.file("ca.crt"), other.file("client.crt"), other.file("client.key")),
		"a stranger's receiver": "ca: " + other.file("ca.crt"),
		"another name":          "ca: " + p.file("ca.crt") + "\n  server_name: other.example",
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t, "syslog", "cef", "address: "+r.address+"\ntransport: tls\ntls:\n  "+tlsText)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := e.Export(ctx, items(t)); err == nil {
				t.Error("the batch counts as sent")
			}
		})
	}
	if text, err := os.ReadFile(r.output); err == nil && len(text) > 0 {
		t.Errorf("rsyslog has %s", text)
	}
}

// TestSyslogConnectsAgain goes through the end of a receiver.
func TestSyslogConnectsAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	e := open(t, "syslog", "cef", "address: "+address+"\ntransport: tcp")
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	if err := e.Export(t.Context(), items(t)); err != nil {
		t.Fatal(err)
	}
	(<-accepted).Close()
	l.Close()
	eventually(t, "the end to be noticed", func() bool { return e.(*syslog).conn == nil || e.(*syslog).conn.gone() })
	var refused *Refused
	if err := e.Export(t.Context(), items(t)); err == nil || errors.As(err, &refused) {
		t.Fatalf("error %v without a receiver", err)
	}
	l2, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("the port is taken: %v", err)
	}
	defer l2.Close()
	if err := e.Export(t.Context(), items(t)); err != nil {
		t.Fatal(err)
	}
}

// TestSyslogWaitsForTheReceiversKernel holds a batch back while the receiver
// takes nothing.
func TestSyslogWaitsForTheReceiversKernel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := open(t, "syslog", "json", "address: "+l.Addr().String()+"\ntransport: tcp\nmax_message: 20000000")
	big := itemOf(t, vpn())
	big.Raw = append([]byte(`{"x":"`), append(bytes.Repeat([]byte("x"), 16<<20), `"}`...)...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := e.Export(ctx, []Item{big}); err == nil {
		t.Error("a batch that nobody read counts as sent")
	}
}

func TestSyslogParksWhatIsTooLong(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e := open(t, "syslog", "cef", "address: "+conn.LocalAddr().String()+"\ntransport: udp\nmax_message: 1000")
	err = e.Export(t.Context(), []Item{itemOf(t, aboutAgent()), itemOf(t, vpn())})
	var refused *Refused
	if !errors.As(err, &refused) || len(refused.Items) != 1 || refused.Items[0].Index != 1 || !strings.Contains(refused.Items[0].Reason, "max_message") {
		t.Fatalf("error %v", err)
	}
	buf := make([]byte, 65536)
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, _, err := conn.ReadFrom(buf)
	if err != nil || !bytes.HasPrefix(buf[:n], []byte("<134>1 2026-11-27T18:42:00.123Z node-1 sallyport - finding - CEF:0|")) {
		t.Errorf("error %v, datagram %q", err, buf[:n])
	}
}

func TestSyslogHeaderHoldsNoForeignFields(t *testing.T) {
	f := aboutAgent()
	f.Observation.Host = "a b\nc\x1b é" + strings.Repeat("x", 300)
	s := &syslog{cfg: syslogSettings{Facility: 16}}
	fields := strings.SplitN(string(s.message(&f, []byte("text"))), " ", 8)
	if len(fields) != 8 || fields[7] != "text" || len(fields[2]) != 255 || strings.Trim(fields[2], "abcx_") != "" {
		t.Errorf("%q", fields)
	}
	f.Observation.Host, f.Agent.Name = "", ""
	if m := string(s.message(&f, nil)); !strings.Contains(m, "Z - sallyport ") {
		t.Errorf("%q", m)
	}
}

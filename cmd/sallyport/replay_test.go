package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/capture"
	"sallyport/agent/flow"
)

// sshCapture is an SSH banner exchange as pcapng.
func sshCapture(t *testing.T) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := capture.NewWriter(&file, capture.Origin{Link: capture.LinkRaw})
	if err != nil {
		t.Fatal(err)
	}
	client, server := netip.MustParseAddrPort("198.18.0.1:40000"), netip.MustParseAddrPort("203.0.113.9:2222")
	for i, s := range []struct {
		from, to netip.AddrPort
		flags    byte
		seq, ack byte
		payload  string
	}{
		{client, server, capture.SYN, 10, 0, ""},
		{server, client, capture.SYN | capture.ACK, 20, 11, ""},
		{client, server, capture.ACK, 11, 21, ""},
		{server, client, capture.ACK, 21, 11, "SSH-2.0-OpenSSH_9.2p1\r\n"},
		{client, server, capture.ACK, 11, 44, "SSH-2.0-OpenSSH_9.2p1\r\n"},
	} {
		p := tcpPacket(s.from, s.to, s.flags, s.seq, s.ack, s.payload)
		if err := w.Packet(time.Unix(1_700_000_000, int64(i)), p, len(p), ""); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

func tcpPacket(from, to netip.AddrPort, flags, seq, ack byte, payload string) []byte {
	src, dst := from.Addr().As4(), to.Addr().As4()
	p := []byte{0x45, 0, 0, byte(40 + len(payload)), 0, 0, 0, 0, 64, 6, 0, 0}
	p = append(append(p, src[:]...), dst[:]...)
	p = append(p, byte(from.Port()>>8), byte(from.Port()), byte(to.Port()>>8), byte(to.Port()))
	p = append(p, 0, 0, 0, seq, 0, 0, 0, ack, 0x50, flags, 0, 0, 0, 0, 0, 0)
	return append(p, payload...)
}

func replay(t *testing.T, stdin []byte, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(append([]string{"replay"}, args...), environment{stdin: bytes.NewReader(stdin), stdout: &out, stderr: &err})
	return code, out.String(), err.String()
}

func TestReplayFlows(t *testing.T) {
	file := sshCapture(t)
	folder := t.TempDir()
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write(file)
	z.Close()
	for name, data := range map[string][]byte{"a.pcapng": file, "b.pcap.gz": gz.Bytes(), "notes.txt": []byte("no capture")} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := replay(t, nil, "--flows", folder)
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines:\n%s", len(lines), stdout)
	}
	for i, name := range []string{"a.pcapng", "b.pcap.gz"} {
		var got map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatal(err)
		}
		if got["evidence"] == "" {
			t.Error("no evidence")
		}
		delete(got, "evidence")
		delete(got, "product")
		want := map[string]any{
			"capture": name, "transport": "tcp", "src": "198.18.0.1", "sport": 40000.0, "dst": "203.0.113.9", "dport": 2222.0,
			"label": "ssh", "state": "confirmed",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	if _, fromStdin, _ := replay(t, file, "--flows", "-"); !strings.Contains(fromStdin, `"capture":"stdin"`) {
		t.Errorf("stdin: %s", fromStdin)
	}
}

func TestReplayBrokenFiles(t *testing.T) {
	file := sshCapture(t)
	folder := t.TempDir()
	cut, garbage := filepath.Join(folder, "cut.pcapng"), filepath.Join(folder, "garbage.pcap")
	whole := filepath.Join(folder, "whole.pcapng")
	for path, data := range map[string][]byte{cut: file[:len(file)-5], garbage: []byte("this is none"), whole: file} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := replay(t, nil, "--flows", cut, garbage, filepath.Join(folder, "missing.pcap"), whole)
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	if n := strings.Count(stdout, "\n"); n != 2 {
		t.Errorf("%d flows; what can be read counts:\n%s", n, stdout)
	}
	for _, want := range []string{cut + " at offset", "truncated", garbage + " at offset 0", "neither pcap nor pcapng", "missing.pcap"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not in:\n%s", want, stderr)
		}
	}
}

func TestReplayUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"-o", "xml", "x"}, {"--flows", "--local", "nonsense", "x"}} {
		if code, _, stderr := replay(t, nil, args...); code != 2 || stderr == "" {
			t.Errorf("%v: exit %d, %q", args, code, stderr)
		}
	}
}

// TestReplayFindingsSink: without --flows, flows go to the sinks that the agent's
// pipeline makes, by rules that are read once for all captures.
func TestReplayFindingsSink(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(file, sshCapture(t), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	env := environment{stdin: bytes.NewReader(sshCapture(t)), stdout: &out, stderr: io.Discard}
	opened := []string{}
	cmd := newReplay(env, func(config string) (captureFindings, error) {
		opened = append(opened, config)
		return remoteFindings{}, nil
	})
	cmd.SetArgs([]string{"--config", "my.yaml", "-o", "json", "--local", "203.0.113.0/24", "-", file})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	if want := "stdin json inbound ssh 198.18.0.1\ndone\na.pcapng json inbound ssh 198.18.0.1\ndone\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if diff := cmp.Diff([]string{"my.yaml"}, opened); diff != "" {
		t.Errorf("configurations opened (-want +got):\n%s", diff)
	}
}

// TestReplayByConfiguration: what an agent's configuration says of rules holds for
// captures too.
func TestReplayByConfiguration(t *testing.T) {
	dir := t.TempDir()
	state := "state_dir: " + dir + "\n"
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	capture := put("ssh.pcapng", string(sshCapture(t)))
	allow := put("allow.yaml", "allow: [{value: 203.0.113.0/24, reason: ours, author: me, until: \"2999-01-01\"}]")
	own := put("own.yaml", "id: e\nname: Own Entity\nkind: organisation\nsources: [{id: s, name: S, date: \"2026-11-01\"}]\nindicators: [{type: ip, value: 5.6.7.8, confidence: high, sources: [{source: s}]}]\n")
	if err := os.Mkdir(filepath.Join(dir, "detections"), 0o700); err != nil {
		t.Fatal(err)
	}
	put("detections/ssh.yml", "title: SSH at all\nid: 11111111-5555-4555-8555-555555555555\nlogsource: {category: network_connection, product: linux}\ndetection: {s: {network.protocol: ssh}, condition: s}\n")
	for _, tt := range []struct {
		name, config string
		want, not    string
	}{
		{"what ships", "", "Contact with an attributed remote", "SSH at all"},
		{"allow-list", "rules: {allow_list: " + allow + "}", `"by":"allow_list"`, `"suppressed":null`},
		{"entities", "rules: {shipped: false, entities: [" + own + "]}", "", "attributed"},
		{"detections", "rules: {detections: [" + filepath.Join(dir, "detections") + "]}", "SSH at all", "no such"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := put("agent.yaml", state+tt.config)
			code, stdout, stderr := replay(t, nil, "--config", config, "-o", "json", capture, capture)
			if code != 0 || !strings.Contains(stdout, tt.want) || strings.Contains(stdout, tt.not) {
				t.Errorf("exit %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	if code, _, stderr := replay(t, nil, "--config", put("agent.yaml", "rules: {entities: [missing.yaml]}"), capture); code != 2 || !strings.Contains(stderr, "missing.yaml") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// remoteFindings prints the remote of every flow.
type remoteFindings struct{}

func (remoteFindings) flows() flow.Config { return flow.ReplayConfig() }
func (remoteFindings) Close() error       { return nil }
func (remoteFindings) sink(_ context.Context, name, format string, w io.Writer) replaySink {
	return &remoteSink{name: name, format: format, w: w}
}

// remoteSink prints the remote of every flow.
type remoteSink struct {
	name, format string
	w            io.Writer
}

func (s *remoteSink) Flow(f *flow.Flow, e flow.Event) {
	if e == flow.Closed {
		o := f.Observation("host")
		fmt.Fprintln(s.w, s.name, s.format, o.Direction, o.Identification.Protocol, o.Remote.Addr)
	}
}
func (*remoteSink) DNS(*flow.Flow, bool, []byte, time.Time) {}
func (s *remoteSink) Done() error                           { _, err := fmt.Fprintln(s.w, "done"); return err }

func TestReplayStats(t *testing.T) {
	_, _, stderr := replay(t, sshCapture(t), "--flows", "--stats", "-")
	var got struct {
		Frames uint64
		Table  struct{ Packets, Flows uint64 }
	}
	if err := json.Unmarshal([]byte(stderr), &got); err != nil || got.Frames != 5 || got.Table.Packets != 5 || got.Table.Flows != 1 {
		t.Errorf("%+v, %v: %s", got, err, stderr)
	}
}

package sensor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/testenv"
)

// A process that opens a TUN device is told at once, and its device is named.
func TestTunnelHolder(t *testing.T) {
	s, h := start(t, nil)
	n := testenv.NewNetns(t)
	begin := time.Now()
	cmd := role(t, n, "tun")
	background(t, cmd)
	e := h.process(t, "open of a TUN device", func(e *ProcessEvent) bool {
		return e.Kind == ProcessTunnel && e.Process.PID == uint32(cmd.Process.Pid)
	})
	if e.Device != "tun" {
		t.Errorf("device %q", e.Device)
	}
	facts, ok := s.Tunnel(e.Process)
	if !ok || !cmp.Equal(facts.Devices, []string{"sptun0"}) || facts.Product != "" || facts.Since.Before(begin.Add(-time.Second)) {
		t.Errorf("facts %+v, %v", facts, ok)
	}
	if facts, ok := s.Tunnel(ProcessRef{e.Process.PID, e.Process.Start + uint64(time.Second)}); ok {
		t.Errorf("another process of that number: %+v", facts)
	}
}

// A TUN device that was open before the sensor began.
func TestTunnelOlderThanTheSensor(t *testing.T) {
	testenv.Privileged(t)
	n := testenv.NewNetns(t)
	cmd := role(t, n, "tun")
	background(t, cmd)
	s, h := start(t, nil)
	e := h.process(t, "held TUN device", func(e *ProcessEvent) bool {
		return e.Kind == ProcessTunnel && e.Process.PID == uint32(cmd.Process.Pid)
	})
	if facts, ok := s.Tunnel(e.Process); !ok || !cmp.Equal(facts.Devices, []string{"sptun0"}) {
		t.Errorf("facts %+v, %v", facts, ok)
	}
}

func TestNoTunnel(t *testing.T) {
	s, h := start(t, nil)
	n := testenv.NewNetns(t)
	cmd := role(t, n, "sniff")
	background(t, cmd)
	e := h.process(t, "exec", func(e *ProcessEvent) bool {
		return e.Kind == ProcessExec && e.Process.PID == uint32(cmd.Process.Pid)
	})
	if facts, ok := s.Tunnel(e.Process); ok {
		t.Errorf("facts %+v", facts)
	}
}

// Products are known by content: real programs under another name, and programs
// that are none.
func TestProductsByContent(t *testing.T) {
	softether := "/usr/libexec/softether/vpnclient/vpnclient"
	library := "/usr/lib/x86_64-linux-gnu/libopenconnect.so.5"
	freerdp := "/usr/lib/x86_64-linux-gnu/libfreerdp2.so.2"
	for program, product := range map[string]string{
		"openvpn": "openvpn", "wireguard-go": "wireguard", "tincd": "tinc", softether: "softether", library: "openconnect",
		"sstpc": "sstp-client", "openfortivpn": "openfortivpn", freerdp: "freerdp", "stunnel4": "",
		"sshd": "", "nft": "", "ip": "",
	} {
		t.Run(filepath.Base(program), func(t *testing.T) {
			if !filepath.IsAbs(program) {
				program = testenv.Tool(t, program)
			}
			data, err := os.ReadFile(program)
			if err != nil {
				t.Skip(err)
			}
			path := filepath.Join(t.TempDir(), "conhost.exe")
			if err := os.WriteFile(path, data, 0o755); err != nil {
				t.Fatal(err)
			}
			got := newProductReader().file(path)
			if got.product != product || (got.reason == "") != (product == "") {
				t.Errorf("got %+v, want %q", got, product)
			}
		})
	}
}

func TestOwnExecutableIsNoProduct(t *testing.T) {
	if got := newProductReader().file("/proc/self/exe"); got != (recognised{}) {
		t.Errorf("got %+v", got)
	}
}

// A text that lies across two readings is found.
func TestTextProductAcrossChunks(t *testing.T) {
	texts := contentProducts[0].texts
	for shift := range 40 {
		data := bytes.Repeat([]byte{' '}, 256<<10-shift)
		data = append(data, strings.Join(texts, "\x00")...)
		data = append(data, bytes.Repeat([]byte{' '}, 300<<10)...)
		if got := textProduct(bytes.NewReader(data)); got.product != contentProducts[0].name {
			t.Fatalf("shift %d: %+v", shift, got)
		}
	}
	if got := textProduct(io.LimitReader(strings.NewReader(texts[0]), 10)); got.product != "" {
		t.Errorf("part of a text: %+v", got)
	}
}

// A program with a window maps more than a hundred libraries, what it was linked
// with first at the end.
func TestManyMappedFiles(t *testing.T) {
	var maps strings.Builder
	for i := range 300 {
		fmt.Fprintf(&maps, "7f0000000000-7f0000001000 r-xp 00000000 fe:00 %d /usr/lib/lib%d.so\n", i+1, i)
	}
	if files := parseMaps(maps.String()); len(files) != 300 || files[299] != "/usr/lib/lib299.so" {
		t.Errorf("%d files", len(files))
	}
}

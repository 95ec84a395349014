package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
)

func envelope(i int) rules.Envelope {
	raw, _ := json.Marshal(finding(fmt.Sprintf("f%d", i)))
	return rules.Envelope{ID: fmt.Sprintf("f%d.1", i), Finding: raw}
}

func TestFileRotates(t *testing.T) {
	cfg := testConfig(t)
	cfg.File = FileConfig{Path: filepath.Join(t.TempDir(), "log", "findings.jsonl"), MaxBytes: 2 << 10, Keep: 3}
	cfg.Destinations = []string{"file"}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	d, err := openFile(opening{cfg: cfg})
	if err != nil {
		t.Fatal(err)
	}
	line := len(lines([]rules.Envelope{envelope(10)}))
	for i := 10; i < 30; i++ {
		if _, err := d.Send(context.Background(), []rules.Envelope{envelope(i)}); err != nil {
			t.Fatal(err)
		}
	}
	var all []byte
	for i := 3; i >= 0; i-- {
		path := cfg.File.Path
		if i > 0 {
			path += fmt.Sprint(".", i)
		}
		raw, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if len(raw) > 2<<10 {
			t.Errorf("%s has %d bytes", path, len(raw))
		}
		all = append(all, raw...)
	}
	if n := bytes.Count(all, []byte("\n")); n*line != len(all) || !bytes.Contains(all, []byte(`"f29"`)) {
		t.Errorf("%d whole lines in %d bytes", n, len(all))
	}
}

func TestStdoutEndToEnd(t *testing.T) {
	cfg := testConfig(t)
	s := open(t, cfg)
	appendN(t, s, 0, 50)
	var out bytes.Buffer
	d := New(cfg, Local{Agent: "h", Stdout: &out}, s, hclog.NewNullLogger())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	drained(t, s)
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 50 {
		t.Errorf("%d lines, want 50", n)
	}
}

func TestJournald(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e := envelope(1)
	e.Finding = bytes.Replace(e.Finding, []byte("a title"), []byte(`a\nFORGED=1`), 1)
	if _, err := (&journald{path}).Send(t.Context(), []rules.Envelope{e}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	got := string(buf[:n])
	// A value with a line feed goes with its length, so that it cannot forge a field.
	if want := "MESSAGE\n\x0a\x00\x00\x00\x00\x00\x00\x00a\nFORGED=1\nPRIORITY=3\n"; !strings.HasPrefix(got, want) {
		t.Errorf("entry %q does not begin with %q", got, want)
	}
	if !strings.Contains(got, "\nSALLYPORT_ID=f1.1\n") {
		t.Errorf("entry %q", got)
	}
	big := envelope(2)
	big.Finding = bytes.Replace(big.Finding, []byte("a title"), bytes.Repeat([]byte("x"), 1<<20), 1)
	if _, err := (&journald{path}).Send(t.Context(), []rules.Envelope{big}); err != nil {
		t.Fatal(err)
	}
	oob := make([]byte, 64)
	if _, n, _, _, err := conn.ReadMsgUnix(nil, oob); err != nil || n == 0 {
		t.Errorf("a large entry came without a file descriptor: %d, %v", n, err)
	}
}

func TestConfigRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no folder", func(c *Config) { c.Dir = "" }, "deliver.dir"},
		{"small bound", func(c *Config) { c.MaxBytes = 1 }, "deliver.max_bytes"},
		{"unknown destination", func(c *Config) { c.Destinations = []string{"kafka"} }, `"kafka" is unknown`},
		{"twice", func(c *Config) { c.Destinations = []string{"stdout", "stdout"} }, "twice"},
		{"none", func(c *Config) { c.Destinations = nil }, "at least one"},
		{"plain http", func(c *Config) { c.Destinations = []string{"collector"}; c.Collector.URL = "http://x" }, "https"},
		{"half a PKI", func(c *Config) { c.Destinations = []string{"collector"}; c.Collector.CertFile = "x" }, "none of them"},
		{"relative file", func(c *Config) { c.File.Path = "x" }, "absolute"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := DefaultConfig()
			test.change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Validate = %v, want %q", err, test.want)
			}
		})
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
}

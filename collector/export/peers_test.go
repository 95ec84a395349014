package export

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// receiver is the path of a real receiver's program, or skips: what it takes to
// build them is not asked of everyone.
func receiver(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("/usr/local/bin", name)
	if _, err := os.Stat(path); err != nil {
		if strings.Contains(os.Getenv("SALLYPORT_TEST_REQUIRE"), "receivers") {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed: make test-peers builds it", name)
	}
	return path
}

// start runs a receiver until the test ends, and waits until it listens.
func start(t *testing.T, address, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s: %s", program, said.Bytes())
		}
	})
	eventually(t, program+" to listen", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", program, said.Bytes())
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// freeAddress is a TCP address on loopback that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

const otelConfig = `
receivers:
  otlp:
    protocols:
      %[1]s: {endpoint: %[2]s, tls: {cert_file: %[3]s/server.crt, key_file: %[3]s/server.key, client_ca_file: %[3]s/ca.crt}}
exporters:
  file: {path: %[4]s, flush_interval: 100ms}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs: {receivers: [otlp], exporters: [file]}
`

// otelLine is what the collector's file exporter writes.
type otelLine struct {
	ResourceLogs []struct {
		ScopeLogs []struct {
			LogRecords []struct {
				EventName    string
				SeverityText string
				Body         struct{ StringValue string }
			}
		}
	}
}

func TestOpenTelemetryCollectorTakesBothProtocols(t *testing.T) {
	program := receiver(t, "otelcol")
	p := newPKI(t)
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			folder, address := t.TempDir(), freeAddress(t)
			out := filepath.Join(folder, "out.jsonl")
			write(t, filepath.Join(folder, "otel.yaml"), fmt.Sprintf(otelConfig, protocol, address, p.folder, out))
			start(t, address, program, "--config", filepath.Join(folder, "otel.yaml"))
			e := open(t, "otlp", "ocsf", fmt.Sprintf("protocol: %s\nurl: https://%s\ntls: {ca: %s, certificate: %s, key: %s}",
				protocol, address, p.file("ca.crt"), p.file("client.crt"), p.file("client.key")))
			arrives(t, e, ocsfFormat{}, "", out, func(text []byte) []string { return bodies(t, text) })
		})
	}
}

// arrives exports the items and waits until the receiver has written them all to
// out: each in its format, behind the prefix, in any order.
func arrives(t *testing.T, e Exporter, f Format, prefix, out string, read func([]byte) []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	batch := items(t)
	if err := e.Export(ctx, batch); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range batch {
		text, err := f.Append(nil, &batch[i])
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, prefix+string(text))
	}
	var got []string
	eventually(t, "what was exported", func() bool {
		text, _ := os.ReadFile(out) // not there yet
		got = read(text)
		return len(got) >= len(want)
	})
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func bodies(t *testing.T, text []byte) []string {
	t.Helper()
	var list []string
	for row := range bytes.Lines(text) {
		var l otelLine
		if err := json.Unmarshal(row, &l); err != nil {
			return nil // half written
		}
		for _, r := range l.ResourceLogs {
			for _, s := range r.ScopeLogs {
				for _, record := range s.LogRecords {
					if record.EventName != "sallyport.finding" || record.SeverityText == "" {
						t.Errorf("record %+v", record)
					}
					list = append(list, record.Body.StringValue)
				}
			}
		}
	}
	return list
}

func TestRealS3GatewayTakesObjects(t *testing.T) {
	program := receiver(t, "versitygw")
	p := newPKI(t)
	folder, address := t.TempDir(), freeAddress(t)
	if err := os.Mkdir(filepath.Join(folder, "findings"), 0o700); err != nil { // the bucket
		t.Fatal(err)
	}
	sidecar := t.TempDir() // the folder's file system may have no extended attributes
	start(t, address, program, "--access", "AKIDEXAMPLE", "--secret", "s3cret-s3cret", "--region", "eu-west-1", "--port", address,
		"--cert", p.file("server.crt"), "--key", p.file("server.key"), "posix", "--sidecar", sidecar, folder)
	text := "url: https://" + address + "\ntls: {ca: " + p.file("ca.crt") + "}\npath_style: true\nbucket: findings\nregion: eu-west-1\naccess_key: AKIDEXAMPLE\nsecret_key_file: "
	e := open(t, "s3", "json", text+secret(t, "s3cret-s3cret"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	batch := items(t)
	for range 2 { // the same batch overwrites itself
		if err := e.Export(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := filepath.Glob(filepath.Join(folder, "findings", "sallyport", "date=2026-11-27", "*.jsonl.gz"))
	if err != nil || len(objects) != 1 {
		t.Fatalf("objects %v, error %v", objects, err)
	}
	packed, err := os.ReadFile(objects[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(unpacked(t, "gzip", packed), "\n"); got != len(batch) {
		t.Errorf("%d lines", got)
	}
	if err := open(t, "s3", "json", text+secret(t, "wrong-wrong")).Export(ctx, batch); err == nil {
		t.Error("a wrong key counts")
	}
}

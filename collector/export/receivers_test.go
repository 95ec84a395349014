package export

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const otelSyslogConfig = `
receivers:
  syslog:
    protocol: rfc5424
    enable_octet_counting: %[1]t
    tcp: {listen_address: %[2]s, max_log_size: 1MiB, tls: {cert_file: %[3]s/server.crt, key_file: %[3]s/server.key, client_ca_file: %[3]s/ca.crt}}
exporters:
  file: {path: %[4]s, flush_interval: 100ms}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs: {receivers: [syslog], exporters: [file]}
`

// otelSyslog is what the collector made of a message.
type otelSyslog struct {
	ResourceLogs []struct {
		ScopeLogs []struct {
			LogRecords []struct {
				Attributes []struct {
					Key   string
					Value struct{ StringValue string }
				}
			}
		}
	}
}

func TestOpenTelemetryCollectorTakesSyslog(t *testing.T) {
	program := receiver(t, "otelcol")
	p := newPKI(t)
	for framing, counts := range map[string]bool{"octet-counting": true, "lf": false} {
		t.Run(framing, func(t *testing.T) {
			folder, address := t.TempDir(), freeAddress(t)
			out := filepath.Join(folder, "out.jsonl")
			write(t, filepath.Join(folder, "otel.yaml"), fmt.Sprintf(otelSyslogConfig, counts, address, p.folder, out))
			start(t, address, program, "--config", filepath.Join(folder, "otel.yaml"))
			e := open(t, "syslog", "leef", fmt.Sprintf("transport: tls\nframing: %s\naddress: %s\ntls: {ca: %s, certificate: %s, key: %s}",
				framing, address, p.file("ca.crt"), p.file("client.crt"), p.file("client.key")))
			arrives(t, e, leefFormat{}, "sallyport finding ", out, messages)
		})
	}
}

// messages are the apps, message ids and texts of what was written.
func messages(text []byte) []string {
	var list []string
	for row := range bytes.Lines(text) {
		var l otelSyslog
		if json.Unmarshal(row, &l) != nil {
			return nil // half written
		}
		for _, r := range l.ResourceLogs {
			for _, s := range r.ScopeLogs {
				for _, record := range s.LogRecords {
					fields := map[string]string{}
					for _, a := range record.Attributes {
						fields[a.Key] = a.Value.StringValue
					}
					list = append(list, fields["appname"]+" "+fields["msg_id"]+" "+fields["message"])
				}
			}
		}
	}
	return list
}

// victoria is a real VictoriaLogs, which speaks the bulk interface and HEC.
type victoria struct {
	t       *testing.T
	address string
	pki     pki
	user    string // and password, where it asks
}

func startVictoria(t *testing.T, user string) victoria {
	t.Helper()
	program := receiver(t, "victorialogs")
	v := victoria{t, freeAddress(t), newPKI(t), user}
	args := []string{
		"-httpListenAddr=" + v.address, "-storageDataPath=" + t.TempDir(), "-retentionPeriod=100y", "-futureRetention=100y", "-memory.allowedBytes=128MiB",
		"-tls", "-tlsCertFile=" + v.pki.file("server.crt"), "-tlsKeyFile=" + v.pki.file("server.key"), "-insert.maxLineSizeBytes=4MiB",
	}
	if user != "" {
		args = append(args, "-httpAuth.username="+user, "-httpAuth.password=s3cret-s3cret")
	}
	start(t, v.address, program, args...)
	return v
}

// ids are the values of a field in everything it has.
func (v victoria) ids(field string) []string {
	v.t.Helper()
	client, err := (&httpSettings{URL: "https://" + v.address, TLS: tlsSettings{CA: v.pki.file("ca.crt")}}).client()
	if err != nil {
		v.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodGet, "https://"+v.address+"/select/logsql/query?"+url.Values{"query": {"*"}, "limit": {"1000"}}.Encode(), nil)
	if err != nil {
		v.t.Fatal(err)
	}
	req.SetBasicAuth(v.user, "s3cret-s3cret")
	res, err := client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		v.t.Fatalf("query: %s %s %v", res.Status, text, err)
	}
	var list []string
	for row := range bytes.Lines(text) {
		var document map[string]string
		if err := json.Unmarshal(row, &document); err != nil {
			v.t.Fatalf("%s: %v", row, err)
		}
		list = append(list, document[field])
	}
	slices.Sort(list)
	return list
}

func findingIDs(batch []Item) []string {
	var list []string
	for i := range batch {
		list = append(list, batch[i].Finding.ID)
	}
	slices.Sort(list)
	return list
}

// has waits until it has a field of every item, and nothing else.
func (v victoria) has(field string, batch []Item) {
	v.t.Helper()
	want := findingIDs(batch)
	var got []string
	eventually(v.t, "the documents", func() bool { got = v.ids(field); return len(got) >= len(want) })
	if diff := cmp.Diff(want, got); diff != "" {
		v.t.Error(diff)
	}
}

// TestVictoriaLogsTakesBulk sends to a server that is not Elasticsearch and speaks
// its bulk interface: it takes what is created, with a user's password.
func TestVictoriaLogsTakesBulk(t *testing.T) {
	v := startVictoria(t, "sallyport")
	text := "url: https://" + v.address + "/insert/elasticsearch\ntls: {ca: " + v.pki.file("ca.crt") + "}\nuser: sallyport\npassword_file: "
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	batch := items(t)
	if err := open(t, "elasticsearch", "ecs", text+secret(t, "wrong-wrong")).Export(ctx, batch); err == nil {
		t.Error("a wrong password counts")
	}
	if err := open(t, "elasticsearch", "ecs", text+secret(t, "s3cret-s3cret")).Export(ctx, batch); err != nil {
		t.Fatal(err)
	}
	v.has("sallyport.id", batch)
}

// TestVictoriaLogsTakesHEC sends events to a server that is not Splunk and speaks
// HEC, without acknowledgement.
func TestVictoriaLogsTakesHEC(t *testing.T) {
	v := startVictoria(t, "")
	e := open(t, "splunk", "json", "url: https://"+v.address+"/insert/splunk\ntls: {ca: "+v.pki.file("ca.crt")+"}\nacknowledge: false\ntoken_file: "+
		secret(t, "12345678-1234-1234-1234-123456789012"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	batch := items(t)
	if err := e.Export(ctx, batch); err != nil {
		t.Fatal(err)
	}
	v.has("fields.finding_id", batch)
}

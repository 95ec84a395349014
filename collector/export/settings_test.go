package export

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/hashicorp/go-hclog"
)

func TestBadSettingsSayWhatToDo(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "type: webhook\nsettings: {url: https://a, secret_file: /s, sercet: x}", "sercet"},
		{"plain HTTP", "type: webhook\nsettings: {url: http://a, secret_file: /s}", "plaintext: true"},
		{"another scheme", "type: webhook\nsettings: {url: ftp://a, secret_file: /s}", "https://"},
		{"password in a URL", "type: webhook\nsettings: {url: https://u:p@a, secret_file: /s}", "own settings"},
		{"no URL", "type: splunk\nsettings: {token_file: /t}", "whole URL"},
		{"secret in the open", "type: splunk\nsettings: {url: https://a, token: x}", "token"},
		{"no secret", "type: splunk\nsettings: {url: https://a}", "give the path of a file"},
		{"relative secret", "type: splunk\nsettings: {url: https://a, token_file: t}", "absolute"},
		{"half a certificate", "type: splunk\nsettings: {url: https://a, token_file: /t, tls: {certificate: /c}}", "certificate and key"},
		{"text to objects", "type: elasticsearch\nformat: cef\nsettings: {url: https://a}", "JSON format only"},
		{"data stream", "type: elasticsearch\nsettings: {url: https://a, data_stream: \"A B\"}", "lower-case"},
		{"two sign-ins", "type: elasticsearch\nsettings: {url: https://a, api_key_file: /k, user: u, password_file: /p}", "api_key_file, or"},
		{"brokers", "type: kafka\nsettings: {brokers: [a]}", "HOST:PORT"},
		{"no brokers", "type: kafka", "HOST:PORT"},
		{"SASL", "type: kafka\nsettings: {brokers: [\"a:1\"], sasl: gssapi, user: u, password_file: /p}", "scram-sha-256"},
		{"compression", "type: kafka\nsettings: {brokers: [\"a:1\"], compression: rar}", "zstd"},
		{"OTLP protocol", "type: otlp\nsettings: {url: https://a, protocol: carrier-pigeon}", "http or grpc"},
		{"Sentinel credentials", "type: sentinel\nsettings: {url: https://a, rule: r, tenant: t, client_id: c}", "client_secret_file or assertion_file"},
		{"Sentinel body", "type: sentinel\nsettings: {url: https://a, rule: r, tenant: t, client_id: c, assertion_file: /a, max_body: 2000000}", "1000000 at most"},
		{"bucket", "type: s3", "bucket"},
		{"S3 path", "type: s3\nsettings: {bucket: b, url: https://a/b}", "no path"},
		{"S3 keys", "type: s3\nsettings: {bucket: b, access_key: a}", "together"},
		{"syslog address", "type: syslog\nsettings: {address: a}", "HOST:PORT"},
		{"syslog transport", "type: syslog\nsettings: {address: \"a:1\", transport: relp}", "tls, tcp or udp"},
		{"syslog framing", "type: syslog\nsettings: {address: \"a:1\", framing: crlf}", "octet-counting or lf"},
		{"datagram", "type: syslog\nsettings: {address: \"a:1\", transport: udp, max_message: 100000}", "65507"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c Config
			err := yaml.Unmarshal([]byte("name: x\n"+tt.text), &c)
			if err == nil {
				err = c.Validate()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want it to say %q", err, tt.want)
			}
		})
	}
}

// TestShippedExamples reads the commented examples of deploy/collector.yaml: one
// for every type, each of which is accepted and opens but for its files.
func TestShippedExamples(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "collector.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range examples(t, string(text)) {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		seen[c.Type] = true
		if strings.Contains(c.Name, "file") {
			continue
		}
		r, err := New([]Config{c}, nil, nil, hclog.NewNullLogger())
		if err != nil {
			if !strings.Contains(err.Error(), "no such file") {
				t.Error(err)
			}
			continue
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, k := range kinds {
		if !seen[k.name] {
			t.Errorf("deploy/collector.yaml has no example of type %s", k.name)
		}
	}
}

// examples takes the comment marks off what follows "exporters:".
func examples(t *testing.T, text string) []Config {
	t.Helper()
	_, text, ok := strings.Cut(text, "\nexporters:\n")
	if !ok {
		t.Fatal("no exporters")
	}
	var lines []string
	example := true
	for l := range strings.Lines(text) {
		row, comment := strings.CutPrefix(l, "  # ")
		if strings.HasPrefix(row, "- name:") {
			example = true
		} else if comment && !strings.HasPrefix(row, "  ") {
			example = false // prose
		}
		if example {
			lines = append(lines, strings.Replace(l, "  # ", "  ", 1))
		}
	}
	var list []Config
	if err := yaml.UnmarshalWithOptions([]byte(strings.Join(lines, "")), &list, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestEveryTypeAndFormatIsDocumented keeps docs/exporters.md whole.
func TestEveryTypeAndFormatIsDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "exporters.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if !strings.Contains(string(text), "\n## "+k.name+"\n") {
			t.Errorf("docs/exporters.md has no section %s", k.name)
		}
	}
	for _, f := range formats {
		if !strings.Contains(string(text), "| `"+f.name+"` |") {
			t.Errorf("docs/exporters.md has no row for format %s", f.name)
		}
	}
	for _, c := range csvColumns {
		if !strings.Contains(string(text), c.name) {
			t.Errorf("docs/exporters.md does not name column %s", c.name)
		}
	}
}

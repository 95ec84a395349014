package export

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	collectorlogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
)

// otlpSettings are the settings of type "otlp". The URL is the receiver's base:
// https://HOST:4318 for HTTP, https://HOST:4317 for gRPC.
type otlpSettings struct {
	HTTP httpSettings `yaml:",inline"`
	// Protocol is "http" (protobuf over HTTP) or "grpc".
	Protocol string `yaml:"protocol"`
	// TokenFile holds a bearer token. Empty: none is sent.
	TokenFile string `yaml:"token_file"`
}

func readOTLPSettings(s Settings) (otlpSettings, error) {
	// A gRPC receiver takes 4 MiB by default.
	cfg := otlpSettings{HTTP: httpSettings{MaxBody: 3_000_000}, Protocol: "http"}
	if err := s.read(&cfg); err != nil {
		return cfg, err
	}
	if cfg.Protocol != "http" && cfg.Protocol != "grpc" {
		return cfg, fmt.Errorf("settings.protocol %q is unknown; give http or grpc", cfg.Protocol)
	}
	return cfg, errors.Join(cfg.HTTP.validate(), absolute("settings.token_file", cfg.TokenFile))
}

func checkOTLP(s Settings) error {
	_, err := readOTLPSettings(s)
	return err
}

// otlp sends one log record a revision, the document as its body.
type otlp struct {
	cfg    otlpSettings
	format Format
	client *http.Client
	call   func(context.Context, []byte) ([]byte, error) // one export over HTTP or gRPC
}

func openOTLP(o opening) (Exporter, error) {
	cfg, err := readOTLPSettings(o.settings)
	if err != nil {
		return nil, err
	}
	client, err := cfg.HTTP.client()
	if err != nil {
		return nil, err
	}
	x := &otlp{cfg: cfg, format: o.format, client: client}
	x.call = x.overHTTP
	if cfg.Protocol == "grpc" {
		onlyHTTP2(client.Transport.(*http.Transport), cfg.HTTP.Plaintext)
		x.call = x.overGRPC
	}
	return x, nil
}

func (x *otlp) Close() error {
	x.client.CloseIdleConnections()
	return nil
}

func (x *otlp) Export(ctx context.Context, items []Item) error {
	return deliver(ctx, x.format, items, x.cfg.HTTP.MaxBody, x.send)
}

// send treats a partial success as a refusal of the whole: the answer does not
// say which records it means. Those that were taken come again.
func (x *otlp) send(ctx context.Context, lines []line) ([]RefusedItem, error) {
	body, err := proto.Marshal(otlpRequest(lines, time.Now()))
	if err != nil {
		return nil, fmt.Errorf("write OTLP: %w", err)
	}
	text, err := x.call(ctx, body)
	if err != nil {
		return nil, err
	}
	var result collectorlogs.ExportLogsServiceResponse
	if err := proto.Unmarshal(text, &result); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	if p := result.GetPartialSuccess(); p.GetRejectedLogRecords() > 0 {
		return nil, &permanent{fmt.Sprintf("receiver rejected %d records: %s", p.GetRejectedLogRecords(), cut(clean(p.GetErrorMessage(), ""), 500))}
	}
	return nil, nil
}

func (x *otlp) header(contentType string) (http.Header, error) {
	h := http.Header{"Content-Type": {contentType}}
	if x.cfg.TokenFile != "" {
		token, err := readSecret(x.cfg.TokenFile)
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", "Bearer "+token)
	}
	return h, nil
}

func (x *otlp) overHTTP(ctx context.Context, body []byte) ([]byte, error) {
	header, err := x.header("application/x-protobuf")
	if err != nil {
		return nil, err
	}
	header.Set("Content-Encoding", "gzip")
	if body, err = compressed(body); err != nil {
		return nil, err
	}
	a, err := request(ctx, x.client, http.MethodPost, x.cfg.HTTP.at("/v1/logs"), header, body)
	if err != nil {
		return nil, err
	}
	return a.body, a.outcome(ctx)
}

// otlpRequest groups the lines by host, which is their resource.
func otlpRequest(lines []line, now time.Time) *collectorlogs.ExportLogsServiceRequest {
	request := &collectorlogs.ExportLogsServiceRequest{}
	scopes := map[string]*logs.ScopeLogs{}
	for _, l := range lines {
		host := l.item.Finding.Observation.Host
		scope, ok := scopes[host]
		if !ok {
			scope = &logs.ScopeLogs{Scope: &common.InstrumentationScope{Name: "sallyport"}}
			scopes[host] = scope
			request.ResourceLogs = append(request.ResourceLogs, &logs.ResourceLogs{
				Resource:  &resource.Resource{Attributes: otlpAttributes("service.name", "sallyport", "host.name", host)},
				ScopeLogs: []*logs.ScopeLogs{scope},
			})
		}
		scope.LogRecords = append(scope.LogRecords, otlpRecord(l, now))
	}
	return request
}

func otlpRecord(l line, now time.Time) *logs.LogRecord {
	f := &l.item.Finding
	attributes := otlpAttributes("sallyport.finding.id", f.ID, "sallyport.finding.state", f.State, "sallyport.rule.id", f.Rule.ID)
	attributes = append(attributes, &common.KeyValue{
		Key: "sallyport.finding.revision", Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: int64(f.Revision)}},
	})
	return &logs.LogRecord{
		TimeUnixNano: uint64(f.Created.UnixNano()), ObservedTimeUnixNano: uint64(now.UnixNano()), EventName: "sallyport.finding",
		SeverityNumber: logs.SeverityNumber(levelOf(f.Severity).otlp), SeverityText: string(f.Severity),
		Body: otlpText(string(l.text)), Attributes: attributes,
	}
}

// otlpAttributes takes pairs; those without a value are left out. Protobuf takes
// UTF-8 only.
func otlpAttributes(pairs ...string) []*common.KeyValue {
	var list []*common.KeyValue
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			list = append(list, &common.KeyValue{Key: pairs[i], Value: otlpText(clean(pairs[i+1], ""))})
		}
	}
	return list
}

func otlpText(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

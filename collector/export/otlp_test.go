package export

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	collectorlogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
)

// fakeOTLP is a fake receiver of OTLP logs. Over gRPC it stands behind grpc-go's
// own server, which is real.
type fakeOTLP struct {
	mu      sync.Mutex
	records map[string]*logs.LogRecord // by finding id
	bad     string                     // reject records that hold this
	partial bool                       // by a partial success instead of a status
	busy    bool
}

func (f *fakeOTLP) take(request *collectorlogs.ExportLogsServiceRequest) (*collectorlogs.ExportLogsServiceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy {
		return nil, status.Error(codes.Unavailable, "busy 100%")
	}
	response := &collectorlogs.ExportLogsServiceResponse{}
	for _, r := range request.ResourceLogs {
		if len(r.Resource.Attributes) != 2 || r.Resource.Attributes[1].Value.GetStringValue() != "node-1" {
			return nil, status.Error(codes.FailedPrecondition, "resource")
		}
		for _, l := range r.ScopeLogs[0].LogRecords {
			id := l.Attributes[0].Value.GetStringValue()
			if f.bad != "" && strings.Contains(id, f.bad) {
				if !f.partial {
					return nil, status.Error(codes.InvalidArgument, "bad record")
				}
				response.PartialSuccess = &collectorlogs.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: "bad record"}
				continue
			}
			f.records[id] = l
		}
	}
	return response, nil
}

func (f *fakeOTLP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	z, err := gzip.NewReader(r.Body)
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/logs" || r.Header.Get("Content-Type") != "application/x-protobuf" ||
		r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Authorization") != "Bearer s3cret" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(z)
	var request collectorlogs.ExportLogsServiceRequest
	if err != nil || proto.Unmarshal(body, &request) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	response, err := f.take(&request)
	switch status.Code(err) {
	case codes.OK:
	case codes.InvalidArgument:
		w.WriteHeader(http.StatusBadRequest)
		return
	default:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	text, _ := proto.Marshal(response)
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Write(text)
}

// serveGRPC puts the fake behind a gRPC server.
func serveGRPC(t *testing.T, f *fakeOTLP, options ...grpc.ServerOption) string {
	t.Helper()
	s := grpc.NewServer(options...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "opentelemetry.proto.collector.logs.v1.LogsService",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Export", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var request collectorlogs.ExportLogsServiceRequest
			if err := decode(&request); err != nil {
				return nil, err
			}
			if md, _ := metadata.FromIncomingContext(ctx); len(md["authorization"]) != 1 || md["authorization"][0] != "Bearer s3cret" {
				return nil, status.Error(codes.Unauthenticated, "no token")
			}
			if _, ok := ctx.Deadline(); !ok {
				return nil, status.Error(codes.FailedPrecondition, "no deadline")
			}
			return f.take(&request)
		}}},
	}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// startOTLP makes a receiver and its exporter for a protocol.
func startOTLP(t *testing.T, protocol string) (*fakeOTLP, Exporter) {
	t.Helper()
	f := &fakeOTLP{records: map[string]*logs.LogRecord{}}
	token := "\ntoken_file: " + secret(t, "s3cret")
	switch protocol {
	case "http":
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		return f, open(t, "otlp", "ocsf", "url: "+s.URL+"\nplaintext: true"+token)
	case "grpc":
		return f, open(t, "otlp", "ocsf", "protocol: grpc\nurl: http://"+serveGRPC(t, f)+"\nplaintext: true"+token)
	}
	p := newPKI(t)
	address := serveGRPC(t, f, grpc.Creds(credentials.NewTLS(p.server(t, true))))
	return f, open(t, "otlp", "ocsf", fmt.Sprintf("protocol: grpc\nurl: https://%s\ntls: {ca: %s, certificate: %s, key: %s}%s",
		address, p.file("ca.crt"), p.file("client.crt"), p.file("client.key"), token))
}

func TestOTLPOverEachProtocol(t *testing.T) {
	for _, protocol := range []string{"http", "grpc", "grpc with TLS"} {
		t.Run(protocol, func(t *testing.T) {
			f, e := startOTLP(t, protocol)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := e.Export(ctx, items(t)); err != nil {
				t.Fatal(err)
			}
			if len(f.records) != len(samples()) {
				t.Errorf("%d records", len(f.records))
			}
			item := itemOf(t, desktop())
			text, _ := ocsfFormat{}.Append(nil, &item)
			r := f.records[item.Finding.ID]
			if r.GetBody().GetStringValue() != string(text) || r.SeverityNumber != logs.SeverityNumber_SEVERITY_NUMBER_INFO2 || r.TimeUnixNano != uint64(item.Finding.Created.UnixNano()) {
				t.Errorf("record %v", r)
			}
			otlpRefusals(t, f, e)
		})
	}
}

// otlpRefusals checks what is parked and what comes again.
func otlpRefusals(t *testing.T, f *fakeOTLP, e Exporter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, partial := range []bool{false, true} {
		f.mu.Lock()
		f.bad, f.partial, f.records = contact().ID, partial, map[string]*logs.LogRecord{}
		f.mu.Unlock()
		err := e.Export(ctx, items(t))
		var refused *Refused
		if !errors.As(err, &refused) || len(refused.Items) != 1 || refused.Items[0].Index != 2 || len(f.records) != len(samples())-1 {
			t.Errorf("partial success %v: error %v, %d records", partial, err, len(f.records))
		}
	}
	f.mu.Lock()
	f.busy = true
	f.mu.Unlock()
	var refused *Refused
	if err := e.Export(ctx, items(t)); err == nil || errors.As(err, &refused) {
		t.Errorf("error %v of a busy receiver", err)
	}
}

func TestGRPCAnswersAreRead(t *testing.T) {
	for _, tt := range []struct {
		name   string
		body   []byte
		header http.Header
		want   string
	}{
		{"no status", frame(nil), http.Header{}, "gRPC status"},
		{"not a number", frame(nil), http.Header{"Grpc-Status": {"x"}}, "gRPC status"},
		{"refused", nil, http.Header{"Grpc-Status": {"7"}, "Grpc-Message": {"not%20allowed%"}}, "status 7"},
		{"cut short", frame([]byte("abc"))[:6], http.Header{"Grpc-Status": {"0"}}, "whole gRPC message"},
		{"compressed", []byte{1, 0, 0, 0, 0}, http.Header{"Grpc-Status": {"0"}}, "whole gRPC message"},
		{"nothing", nil, http.Header{"Grpc-Status": {"0"}}, "whole gRPC message"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := grpcOutcome(answer{status: 200, header: tt.header, body: tt.body})
			if err == nil {
				_, err = unframe(tt.body)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

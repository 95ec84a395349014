package export

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// otlpMethod is the one call that is made. A unary gRPC call is an HTTP/2 POST of
// a message with five bytes before it, and trailers with a status
// (github.com/grpc/grpc, PROTOCOL-HTTP2): no library is needed for it.
const otlpMethod = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

// Status codes of gRPC that say something of the message itself.
const (
	grpcOK              = 0
	grpcInvalidArgument = 3
)

// onlyHTTP2 is what gRPC is spoken over, without TLS too where that is allowed.
func onlyHTTP2(t *http.Transport, plaintext bool) {
	var p http.Protocols
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(plaintext)
	t.Protocols = &p
}

func (x *otlp) overGRPC(ctx context.Context, body []byte) ([]byte, error) {
	header, err := x.header("application/grpc+proto")
	if err != nil {
		return nil, err
	}
	header.Set("Te", "trailers")
	if deadline, ok := ctx.Deadline(); ok {
		header.Set("Grpc-Timeout", grpcTimeout(deadline))
	}
	a, err := request(ctx, x.client, http.MethodPost, x.cfg.HTTP.at(otlpMethod), header, frame(body))
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, errors.New("receiver answered " + a.text()) // a balancer, not gRPC
	}
	if err := grpcOutcome(a); err != nil {
		return nil, err
	}
	return unframe(a.body)
}

// grpcTimeout is what is left until the deadline, in milliseconds.
func grpcTimeout(deadline time.Time) string {
	return strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 1), 10) + "m"
}

// frame puts the message's prefix: not compressed, and its length.
func frame(message []byte) []byte {
	out := make([]byte, 5, 5+len(message))
	binary.BigEndian.PutUint32(out[1:], uint32(len(message)))
	return append(out, message...)
}

// unframe takes the one message of an answer.
func unframe(body []byte) ([]byte, error) {
	if len(body) < 5 || body[0] != 0 || uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-5) {
		return nil, errors.New("decode answer: it is not one whole gRPC message")
	}
	return body[5:], nil
}

// grpcOutcome reads the status: in the trailers, or in the header of an answer
// that has no message.
func grpcOutcome(a answer) error {
	text := a.header.Get("Grpc-Status")
	code, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("receiver gave the gRPC status %q", cut(text, 20))
	}
	message, err := url.PathUnescape(a.header.Get("Grpc-Message"))
	if err != nil {
		message = a.header.Get("Grpc-Message")
	}
	reason := fmt.Sprintf("receiver answered gRPC status %d %s", code, cut(clean(message, ""), 500))
	switch code {
	case grpcOK:
		return nil
	case grpcInvalidArgument:
		return &permanent{reason}
	}
	return errors.New(reason)
}

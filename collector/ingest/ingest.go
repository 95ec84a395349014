// Package ingest takes what agents send: it authenticates, checks, has the
// stream append, and only then acknowledges.
package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"sallyport/collector/identity"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// maxWindow bounds what a hostile zstd frame can have us allocate, in bytes.
const maxWindow = 8 << 20

// Identity says who sent a request.
type Identity interface {
	Agent(*http.Request) (string, error)
}

// Stream takes entries durably.
type Stream interface {
	Ready() error
	MaxEntry() int64
	Append(context.Context, []stream.Entry) error
}

// Fleet keeps what agents say of themselves.
type Fleet interface {
	Heartbeat(ctx context.Context, agent, address string, at time.Time, h rules.Heartbeat) error
}

// Ingest handles the agents' requests.
type Ingest struct {
	cfg      Config
	identity Identity
	stream   Stream
	fleet    Fleet
	logger   hclog.Logger
	slots    chan struct{}
	metrics  metrics
}

type metrics struct {
	accepted, rejected, bytes prometheus.Counter
	refused                   *prometheus.CounterVec
	seconds                   prometheus.Histogram
}

// New makes the handlers.
func New(cfg Config, id Identity, s Stream, fleet Fleet, logger hclog.Logger) *Ingest {
	return &Ingest{
		cfg: cfg, identity: id, stream: s, fleet: fleet, logger: logger.Named("ingest"), slots: make(chan struct{}, cfg.Concurrent),
		metrics: metrics{
			accepted: prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_ingest_findings_total", Help: "Finding revisions appended to the stream, repeats included."}),
			rejected: prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_ingest_rejected_total", Help: "Lines refused for good."}),
			bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_ingest_bytes_total", Help: "Bytes of findings appended, unpacked."}),
			refused:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_ingest_refused_total", Help: "Requests refused, by code."}, []string{"code"}),
			seconds:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sallyport_ingest_seconds", Help: "From request to acknowledgement.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12)}),
		},
	}
}

// Metrics are what the collector registers.
func (g *Ingest) Metrics() []prometheus.Collector {
	m := g.metrics
	return []prometheus.Collector{m.accepted, m.rejected, m.bytes, m.refused, m.seconds}
}

// Findings handles rules.PathFindings.
func (g *Ingest) Findings(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	receipt, err := g.take(w, r)
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	g.metrics.seconds.Observe(time.Since(start).Seconds())
	w.Header().Set("Content-Type", "application/json")
	// An error here means that the agent hung up; it sends again, which is harmless.
	_ = json.NewEncoder(w).Encode(receipt)
}

func (g *Ingest) take(w http.ResponseWriter, r *http.Request) (rules.Receipt, error) {
	agent, err := g.identity.Agent(r)
	if err != nil {
		return rules.Receipt{}, err
	}
	if r.Method != http.MethodPost {
		return rules.Receipt{}, identity.Refusal{Status: http.StatusMethodNotAllowed, Code: rules.CodeBadRequest, Detail: "POST only"}
	}
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	default:
		return rules.Receipt{}, identity.Refusal{Status: http.StatusTooManyRequests, Code: rules.CodeBusy, Detail: "many agents send at once", RetryAfter: g.cfg.RetryAfter}
	}
	if err := g.stream.Ready(); err != nil { // before the body is read for nothing
		return rules.Receipt{}, err
	}
	body, done, err := g.unpack(w, r)
	if err != nil {
		return rules.Receipt{}, err
	}
	defer done()
	b, err := readBatch(body, agent, start(), limits{g.cfg.MaxLine, g.cfg.MaxLines, g.cfg.MaxBatch, g.stream.MaxEntry()})
	if err != nil {
		return rules.Receipt{}, err
	}
	if len(b.entries) == 0 {
		return b.receipt, nil
	}
	if err := g.stream.Append(r.Context(), b.entries); err != nil {
		return rules.Receipt{}, err
	}
	g.count(b)
	return b.receipt, nil
}

// start is the time of receipt, as the store can keep it.
func start() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func (g *Ingest) count(b batch) {
	g.metrics.accepted.Add(float64(b.receipt.Accepted))
	g.metrics.rejected.Add(float64(len(b.receipt.Rejected)))
	n := 0
	for _, e := range b.entries {
		n += len(e.Finding)
	}
	g.metrics.bytes.Add(float64(n))
}

// unpack gives the request's body without its compression.
func (g *Ingest) unpack(w http.ResponseWriter, r *http.Request) (io.Reader, func(), error) {
	body := http.MaxBytesReader(w, r.Body, g.cfg.MaxBody)
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
		return body, func() {}, nil
	case "zstd":
		d, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(uint64(g.cfg.MaxBatch)))
		if err != nil {
			return nil, nil, identity.Refusal{Status: http.StatusBadRequest, Code: rules.CodeBadRequest, Detail: "body is not zstd"}
		}
		return d, d.Close, nil
	}
	return nil, nil, identity.Refusal{Status: http.StatusUnsupportedMediaType, Code: rules.CodeBadRequest, Detail: "Content-Encoding must be zstd or identity"}
}

// Heartbeat handles rules.PathHeartbeat.
func (g *Ingest) Heartbeat(w http.ResponseWriter, r *http.Request) {
	if err := g.heartbeat(w, r); err != nil {
		g.refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (g *Ingest) heartbeat(w http.ResponseWriter, r *http.Request) error {
	agent, err := g.identity.Agent(r)
	if err != nil {
		return err
	}
	if r.Method != http.MethodPost {
		return identity.Refusal{Status: http.StatusMethodNotAllowed, Code: rules.CodeBadRequest, Detail: "POST only"}
	}
	var h rules.Heartbeat
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, g.cfg.MaxHeartbeat)).Decode(&h); err != nil {
		return identity.Refusal{Status: http.StatusBadRequest, Code: rules.CodeBadRequest, Detail: "body is not a heartbeat"}
	}
	if h.Agent != agent {
		return identity.Refusal{Status: http.StatusForbidden, Code: rules.CodeOtherAgent, Detail: "the heartbeat is of another agent"}
	}
	return g.fleet.Heartbeat(r.Context(), agent, r.RemoteAddr, time.Now(), h)
}

// refuse answers an error; what is not the sender's fault is 503, and the sender
// keeps what it has.
func (g *Ingest) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal := g.refusal(err)
	g.metrics.refused.WithLabelValues(refusal.Code).Inc()
	if refusal.Status == http.StatusServiceUnavailable {
		g.logger.Error("request not served", "path", r.URL.Path, "address", r.RemoteAddr, "error", err)
	} else {
		g.logger.Warn("request refused", "path", r.URL.Path, "address", r.RemoteAddr, "code", refusal.Code, "detail", refusal.Detail)
	}
	refusal.Write(w)
}

func (g *Ingest) refusal(err error) identity.Refusal {
	var refusal identity.Refusal
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &tooBig), errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return identity.Refusal{Status: http.StatusRequestEntityTooLarge, Code: rules.CodeTooLarge, Detail: "send smaller batches"}
	case errors.Is(err, errBody):
		return identity.Refusal{Status: http.StatusBadRequest, Code: rules.CodeBadRequest, Detail: "body is cut or not zstd"}
	case errors.Is(err, stream.ErrUnavailable):
		return identity.Refusal{Status: http.StatusServiceUnavailable, Code: rules.CodeNotAvailable, Detail: "the stream takes no findings now", RetryAfter: g.cfg.RetryAfter}
	}
	return identity.Refusal{Status: http.StatusServiceUnavailable, Code: rules.CodeNotAvailable, Detail: "the collector cannot do that now", RetryAfter: g.cfg.RetryAfter}
}

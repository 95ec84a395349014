package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsLimit bounds one request's time.
const metricsLimit = 10 * time.Second

// serveMetrics answers /metrics and /healthz on loopback until ctx ends.
func (a *Agent) serveMetrics(ctx context.Context) error {
	if a.cfg.Metrics == "" {
		return nil
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(collector{a}); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", a.healthz)
	server := &http.Server{Addr: a.cfg.Metrics, Handler: mux, ReadTimeout: metricsLimit, WriteTimeout: metricsLimit}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.ListenAndServe(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w (set metrics to another port, or to \"\" for none)", a.cfg.Metrics, err)
	}
	return nil
}

func (a *Agent) healthz(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-a.ready:
		fmt.Fprintln(w, "ok")
	default:
		http.Error(w, "sensors are not attached yet", http.StatusServiceUnavailable)
	}
}

// collector reads the agent's counters when it is asked.
type collector struct{ a *Agent }

var (
	lostDesc     = prometheus.NewDesc("sallyport_lost_total", "What the kernel could not give, by stage and reason.", []string{"reason"}, nil)
	droppedDesc  = prometheus.NewDesc("sallyport_dropped_total", "What was not kept, by stage and reason.", []string{"reason"}, nil)
	seenDesc     = prometheus.NewDesc("sallyport_seen_total", "What the sensors gave, by sensor and kind.", []string{"sensor", "kind"}, nil)
	flowsDesc    = prometheus.NewDesc("sallyport_flows_total", "Flows opened.", nil, nil)
	openDesc     = prometheus.NewDesc("sallyport_flows_open", "Flows in the table.", nil, nil)
	decidedDesc  = prometheus.NewDesc("sallyport_flows_decided_total", "Flows whose identification is settled.", nil, nil)
	judgedDesc   = prometheus.NewDesc("sallyport_observations_total", "Observations judged.", nil, nil)
	findingsDesc = prometheus.NewDesc("sallyport_findings_total", "Finding revisions handed to the spool.", nil, nil)
	spoolDesc    = prometheus.NewDesc("sallyport_spool_findings", "Findings waiting to be delivered.", nil, nil)
	spoolByte    = prometheus.NewDesc("sallyport_spool_bytes", "Size of the spool in bytes.", nil, nil)
	hookDesc     = prometheus.NewDesc("sallyport_hook_up", "1 where the hook is attached and has given data.", []string{"hook"}, nil)
	setDesc      = prometheus.NewDesc("sallyport_indicators", "Indicators in force.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	a := c.a
	lost, dropped := a.lossCounters()
	for _, reason := range sortedKeys(lost) {
		count(lostDesc, lost[reason], reason)
	}
	for _, reason := range sortedKeys(dropped) {
		count(droppedDesc, dropped[reason], reason)
	}
	for _, s := range a.sensors {
		seen := s.Counters().Seen
		for _, kind := range sortedKeys(seen) {
			count(seenDesc, seen[kind], s.Name(), kind)
		}
	}
	flows, _ := a.pipeline.counters()
	count(flowsDesc, flows.Flows)
	gauge(openDesc, float64(flows.Open))
	count(decidedDesc, flows.Decided)
	count(judgedDesc, a.court.judged.Load())
	count(findingsDesc, a.ledger.Stats().Sent)
	spool := a.spool.State()
	gauge(spoolDesc, float64(spool.Findings))
	gauge(spoolByte, float64(spool.Bytes))
	hooks := a.hooks()
	for _, name := range sortedKeys(hooks) {
		up := 0.0
		if hooks[name] == "ok" {
			up = 1
		}
		gauge(hookDesc, up, name)
	}
	gauge(setDesc, float64(a.live.Set().Len()))
}

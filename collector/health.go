package collector

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// healthHandler serves health and metrics on loopback.
func (c *Collector) healthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", c.readiness)
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{}))
	return mux
}

// readiness says whether findings are taken.
func (c *Collector) readiness(w http.ResponseWriter, r *http.Request) {
	if err := c.ready(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (c *Collector) ready(ctx context.Context) error {
	if err := c.stream.Ready(); err != nil {
		return err
	}
	if err := c.store.Ping(ctx); err != nil {
		return fmt.Errorf("ask store: %w", err)
	}
	return nil
}

// register makes the registry of this collector's metrics.
func (c *Collector) register() error {
	c.registry = prometheus.NewRegistry()
	c.stored = prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_store_entries_total", Help: "Stream entries the store has taken, repeats included."})
	list := []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), c.stored, stateCollector{c},
	}
	list = append(list, c.ingest.Metrics()...)
	list = append(list, c.exporters.Metrics()...)
	for _, m := range list {
		if err := c.registry.Register(m); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// stateCollector reads what others keep, when it is asked.
type stateCollector struct{ c *Collector }

const scrapeTimeout = 5 * time.Second

// sendGauge sends one value.
type sendGauge func(d *prometheus.Desc, v float64, labels ...string)

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sallyport_"+name, help, labels, nil)
}

// Describe says nothing, which makes the collector unchecked: which series there
// are depends on agents and exporters.
func (s stateCollector) Describe(chan<- *prometheus.Desc) {}

// Collect asks stream, store, fleet and exporters. What does not answer is left
// out; sallyport_ready then says so.
func (s stateCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := time.Now()
	readiness := 1.0
	if s.c.ready(ctx) != nil {
		readiness = 0
	}
	send(gauge("ready", "1 when findings are taken."), readiness)
	if st, err := s.c.stream.State(ctx); err == nil {
		send(gauge("stream_entries", "Entries in the stream."), float64(st.Entries))
		send(gauge("stream_bytes", "Bytes in the stream."), float64(st.Bytes))
		send(gauge("stream_max_bytes", "Bytes the stream may hold."), float64(st.MaxBytes))
		send(gauge("stream_restarts", "Restarts of the embedded stream after a failed write."), float64(st.Restarts))
	}
	if p, err := s.c.stream.Position(ctx, "store"); err == nil {
		send(gauge("store_pending", "Entries the store has not taken yet."), float64(p.Pending))
	}
	if list, err := s.c.exporters.Status(ctx); err == nil {
		for _, e := range list {
			send(gauge("export_pending", "Entries an exporter has not sent yet.", "exporter"), float64(e.Pending), e.Name)
			send(gauge("export_parked_now", "Findings parked.", "exporter"), float64(e.Parked), e.Name)
			behind := 0.0
			if !e.Behind.IsZero() {
				behind = now.Sub(e.Behind).Seconds()
			}
			send(gauge("export_behind_seconds", "Age of the oldest entry not sent.", "exporter"), behind, e.Name)
		}
	}
	s.packs(send)
	agents, err := s.c.fleet.Agents(ctx, now)
	if err != nil {
		return
	}
	states := map[string]int{"reporting": 0, "silent": 0, "new": 0, "revoked": 0}
	var missing, lost, dropped uint64
	for _, a := range agents {
		states[a.State]++
		missing += a.Missing
		lost += a.Lost
		dropped += a.Dropped
	}
	for state, n := range states {
		send(gauge("agents", "Agents by state.", "state"), float64(n), state)
	}
	send(gauge("agents_missing", "Numbers of agents' sequences that never came."), float64(missing))
	send(gauge("agents_lost", "What the kernels could not give the agents."), float64(lost))
	send(gauge("agents_dropped", "What the agents chose not to keep."), float64(dropped))
}

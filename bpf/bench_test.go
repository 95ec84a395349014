package bpf

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/agent/testenv"
)

// rounds is how often each mode is measured, in turn. Many short rounds: on
// shared cores most of them are not disturbed, and medians leave out the rest.
const rounds = 31

// BenchmarkSensor measures the kernel side against empty programs on the same
// two hooks, loaded in turn. Run it with -benchtime 1x.
func BenchmarkSensor(b *testing.B) {
	testenv.Exclusive(b)
	for _, w := range workloads() {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				compare(b, w)
			}
		})
	}
}

// compare interleaves the modes and reports the medians: for packets, what one
// costs above an empty program in processor time of the sending thread, in which
// the packet is received too; for connections and bytes, the rate in per cent.
func compare(b *testing.B, w workload) {
	sensor := newSensor(b)
	defer sensor.close(b)
	measure(b, w, sensor.attach)
	var empty, full []span
	for i := range rounds {
		if i%2 == 0 {
			empty = append(empty, measure(b, w, attachEmpty))
		}
		full = append(full, measure(b, w, sensor.attach))
		if i%2 == 1 {
			empty = append(empty, measure(b, w, attachEmpty))
		}
	}
	b.ReportMetric(0, "ns/op")
	if w.packets > 0 {
		e, f := median(empty, span.cpuPerOp), median(full, span.cpuPerOp)
		b.ReportMetric((f-e)/float64(w.packets), "ns/packet-above-empty")
		b.ReportMetric(e/float64(w.packets), "ns/packet-empty")
	} else {
		b.ReportMetric(100*median(empty, span.wallPerOp)/median(full, span.wallPerOp), "%-of-empty-rate")
		b.ReportMetric(100*median(empty, span.cpuPerOp)/median(full, span.cpuPerOp), "%-of-empty-by-processor-time")
		b.ReportMetric(1e9/median(empty, span.wallPerOp), "ops/s-empty")
	}
	b.Logf("load average %s", loadAverage())
}

func measure(b *testing.B, w workload, attach func(b *testing.B) (detach func())) span {
	defer attach(b)()
	return w.run(b)
}

// span is what some operations took, the processor time that of one thread or of
// the whole process as the workload has it.
type span struct {
	wall, cpu time.Duration
	ops       int
}

func (s span) wallPerOp() float64 { return float64(s.wall) / float64(s.ops) }
func (s span) cpuPerOp() float64  { return float64(s.cpu) / float64(s.ops) }

func median(spans []span, of func(span) float64) float64 {
	x := make([]float64, len(spans))
	for i, s := range spans {
		x[i] = of(s)
	}
	slices.Sort(x)
	return x[len(x)/2]
}

// loadAverage is that of the last minute: no figure is worth much without it.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// attachEmpty attaches programs that only let pass.
func attachEmpty(b *testing.B) func() {
	programs := emptyPrograms(b)
	defer func() {
		for _, p := range programs {
			p.Close() // its link keeps it
		}
	}()
	return attachAll(b, programs)
}

// benchSensor is the kernel side, loaded once and attached many times, and the
// reader of its ring.
type benchSensor struct {
	kernel *Kernel
	stop   context.CancelFunc
	done   chan struct{}
}

func newSensor(b *testing.B) *benchSensor {
	cfg := testConfig(b)
	cfg.RingBytes, cfg.UDPFlows = 8<<20, 16384
	k, err := Load(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &benchSensor{kernel: k, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		var p Packet
		k.Read(ctx, func(raw []byte) { p.Decode(raw) }, func() { k.Tick() })
	}()
	return s
}

func (s *benchSensor) attach(b *testing.B) func() {
	if err := s.kernel.Attach(); err != nil {
		b.Fatal(err)
	}
	return func() {
		for _, a := range s.kernel.hooks {
			if a.link != nil {
				a.link.Close()
				a.link = nil
			}
		}
	}
}

// close reports what was lost, and ends.
func (s *benchSensor) close(b *testing.B) {
	s.stop()
	<-s.done
	c, err := s.kernel.Counters()
	if err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(c.Lost["ring_full"]), "records-lost")
	b.ReportMetric(float64(c.Seen["records"]+c.Seen["packets"]), "records")
	s.kernel.Close()
}

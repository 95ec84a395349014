package e2e

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"sallyport/agent/testenv"
)

// bulkRounds is how often each mode of BenchmarkBulk is measured, in turn.
const bulkRounds = 7

// BenchmarkBulk measures one TCP stream over a veth pair with the agent on and
// off: its rate, and, since a loaded machine shares out time at will, what the
// two ends carry in a second of processor time. Run it with -benchtime 1x.
func BenchmarkBulk(b *testing.B) {
	iperf := testenv.Tool(b, "iperf3")
	s := newSite(b, "")
	client, server := testenv.Pair(b)
	serving := server.Command(iperf, "-s")
	if err := serving.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { serving.Process.Kill(); serving.Wait() }()
	for b.Loop() {
		var on, off streams
		iperfRun(b, client, iperf)
		for range bulkRounds {
			on.add(b, client, iperf)
			s.agent.end(b)
			off.add(b, client, iperf)
			s.startAgent(b)
		}
		b.ReportMetric(100*middle(on.rate)/middle(off.rate), "%-of-rate-without-agent")
		b.ReportMetric(100*middle(on.perSecond)/middle(off.perSecond), "%-of-bits-per-processor-second")
		b.ReportMetric(middle(off.rate)/1e9, "Gbit/s-without-agent")
		b.Logf("load average %s", loadAverage())
	}
	b.ReportMetric(0, "ns/op")
}

// streams are runs of one mode, in bits a second and in bits a second of
// processor time.
type streams struct{ rate, perSecond []float64 }

func (s *streams) add(b *testing.B, n testenv.Netns, iperf string) {
	for range 2 {
		rate, processors := iperfRun(b, n, iperf)
		s.rate = append(s.rate, rate)
		s.perSecond = append(s.perSecond, rate/processors)
	}
}

func middle(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// iperfRun is one second's rate in bits a second, and the processors that both
// ends kept busy.
func iperfRun(b *testing.B, n testenv.Netns, iperf string) (rate, processors float64) {
	b.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		var report struct {
			End struct {
				Received struct {
					Rate float64 `json:"bits_per_second"`
				} `json:"sum_received"`
				Processor struct {
					Host   float64 `json:"host_total"`
					Remote float64 `json:"remote_total"`
				} `json:"cpu_utilization_percent"`
			} `json:"end"`
			Error string `json:"error"`
		}
		out, _ := n.Command(iperf, "-c", testenv.ServerAddr, "-t", "1", "-J").Output()
		if err := json.Unmarshal(out, &report); err != nil {
			b.Fatalf("read iperf3's report: %v\n%s", err, out)
		}
		end := report.End
		if report.Error == "" && end.Received.Rate > 0 && end.Processor.Host+end.Processor.Remote > 0 {
			return end.Received.Rate, (end.Processor.Host + end.Processor.Remote) / 100
		}
		if time.Now().After(deadline) {
			b.Fatalf("iperf3: %s", report.Error)
		}
	}
}

package bpf

import (
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
)

// BenchmarkRun reports the kernel's own account of the mean run of each packet
// program, which a busy machine disturbs less than wall time does. It holds the
// cost of the measurement, some 20 to 40 ns a run.
func BenchmarkRun(b *testing.B) {
	testenv.Exclusive(b)
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		b.Skip(err)
	}
	defer stats.Close()
	for name, connected := range map[string]bool{"connected_udp": true, "unconnected_udp": false} {
		b.Run(name, func(b *testing.B) {
			k, err := Load(testConfig(b))
			if err != nil {
				b.Fatal(err)
			}
			defer k.Close()
			if err := k.Attach(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				datagrams(b, connected)
			}
			b.ReportMetric(0, "ns/op")
			for _, a := range k.hooks {
				if a.object.name != packetObject.name {
					continue
				}
				s, err := a.program.Stats()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(s.Runtime.Nanoseconds())/float64(max(1, s.RunCount)), "ns/"+a.name)
			}
		})
	}
}

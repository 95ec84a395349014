package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// Sizes of BenchmarkAgent's parts.
const (
	settleTime   = 10 * time.Second
	idleTime     = 20 * time.Second
	benchFlows   = 100
	pressureTime = 10 * time.Second
)

// BenchmarkAgent measures the real agent with the real collector: memory, idle
// processor time, the way from a flow's first packet to the finding in the
// collector's file, and memory and losses under as many connections as the
// machine makes. Run it with -benchtime 1x.
func BenchmarkAgent(b *testing.B) {
	for b.Loop() {
		s := newSite(b, "")
		client, server := testenv.Pair(b)
		time.Sleep(settleTime)
		a := s.agent.cmd.Process.Pid
		b.ReportMetric(mebibytes(b, a, "status", "VmRSS:"), "MiB-rss-at-start")
		b.ReportMetric(mebibytes(b, a, "smaps_rollup", "Pss:"), "MiB-pss-at-start")
		before := processorTime(b, a)
		time.Sleep(idleTime)
		b.ReportMetric(100*(processorTime(b, a)-before).Seconds()/idleTime.Seconds(), "%-core-idle")
		latency(b, s, client, server)
		pressure(b, s, client, server)
		b.Logf("load average %s", loadAverage())
	}
	b.ReportMetric(0, "ns/op")
}

// latency makes RDP contacts one after the other, each with a remote of its own,
// and reports how long after a flow's first packet the finding that says RDP was
// made, and was in the collector's file.
func latency(b *testing.B, s *site, client, server testenv.Netns) {
	b.Helper()
	server.Run(b, "ip", "route", "add", "local", "203.0.113.0/24", "dev", "lo")
	serveRDP(b, server)
	arrived := map[string]time.Time{} // by remote
	first := map[string]rules.Finding{}
	var offset int64
	collect := func() {
		at := time.Now()
		for _, f := range newLines[rules.Finding](b, s.path("findings.jsonl"), &offset) {
			remote := f.Observation.Remote.Addr.String()
			if _, seen := first[remote]; !seen && ours(&f) && f.Observation.Direction == rules.Outbound && f.Observation.Identification.Protocol == "rdp" {
				first[remote], arrived[remote] = f, at
			}
		}
	}
	for i := 1; i <= benchFlows; i++ {
		remote := fmt.Sprintf("203.0.113.%d", i)
		contactRDP(b, client, remote)
		for deadline := time.Now().Add(patience); arrived[remote].IsZero(); time.Sleep(2 * time.Millisecond) {
			if collect(); time.Now().After(deadline) {
				b.Fatalf("no finding for %s within %s", remote, patience)
			}
		}
	}
	var made, file []float64
	for remote, f := range first {
		made = append(made, f.Created.Sub(f.Observation.First).Seconds()*1000)
		file = append(file, arrived[remote].Sub(f.Observation.First).Seconds()*1000)
	}
	slices.Sort(made)
	slices.Sort(file)
	for name, ms := range map[string][]float64{"made": made, "in-file": file} {
		b.ReportMetric(ms[len(ms)/2], "ms-p50-"+name)
		b.ReportMetric(ms[len(ms)*99/100], "ms-p99-"+name)
	}
}

// pressure makes connections as fast as the machine does, and reports the
// largest memory and what was lost.
func pressure(b *testing.B, s *site, client, server testenv.Netns) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), pressureTime)
	defer cancel()
	made := make(chan int, 1)
	go func() { made <- connectUntil(ctx, b, client, server) }()
	a := s.agent.cmd.Process.Pid
	var rss, pss float64
	before := processorTime(b, a)
	for ctx.Err() == nil {
		rss = max(rss, mebibytes(b, a, "status", "VmRSS:"))
		pss = max(pss, mebibytes(b, a, "smaps_rollup", "Pss:"))
		time.Sleep(200 * time.Millisecond)
	}
	n := <-made
	b.ReportMetric(float64(n)/pressureTime.Seconds(), "connections/s")
	b.ReportMetric((processorTime(b, a)-before).Seconds()*1e6/float64(n), "agent-us/connection")
	b.ReportMetric(rss, "MiB-rss-under-load")
	b.ReportMetric(pss, "MiB-pss-under-load")
	status, err := s.control().Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var lost, dropped uint64
	for _, k := range status.Lost {
		lost += k
	}
	for _, k := range status.Dropped {
		dropped += k
	}
	b.ReportMetric(float64(lost), "lost")
	b.ReportMetric(float64(dropped), "dropped")
	b.Logf("lost %v, dropped %v of %d connections, both ends on this host", status.Lost, status.Dropped, n)
}

// mebibytes reads a line of a file of /proc/PID that is in kB.
func mebibytes(b *testing.B, pid int, file, key string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == key {
			kb, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb / 1024
		}
	}
	b.Fatalf("/proc/%d/%s has no %s", pid, file, key)
	return 0
}

// processorTime is what the process has used, in user and kernel mode, in steps
// of 10 ms (proc(5), fields 14 and 15 of stat).
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int64
	for _, field := range f[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// loadAverage is that of the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

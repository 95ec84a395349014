package bpf

import (
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
)

// BenchmarkRun reports the kernel's own account of one run of each program, above
// one of an empty program: what the account itself costs is in both.
func BenchmarkRun(b *testing.B) {
	testenv.Exclusive(b)
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		b.Skip(err)
	}
	defer stats.Close()
	for _, w := range workloads() {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				account(b, w)
			}
		})
	}
}

// account interleaves the modes as compare does.
func account(b *testing.B, w workload) {
	sensor := newSensor(b)
	defer sensor.close(b)
	programs := map[string]*ebpf.Program{}
	for _, a := range sensor.kernel.hooks {
		if a.program != nil {
			programs[a.name] = a.program
		}
	}
	measure(b, w, sensor.attach)
	empty := map[string][]float64{}
	full := map[string][]float64{}
	for range rounds {
		e := emptyPrograms(b)
		meanRuns(b, e, empty, func() { measure(b, w, func(b *testing.B) func() { return attachAll(b, e) }) })
		meanRuns(b, programs, full, func() { measure(b, w, sensor.attach) })
		for _, p := range e {
			p.Close()
		}
	}
	b.ReportMetric(0, "ns/op")
	nothing := middle(empty["egress"])
	b.ReportMetric(nothing, "ns/empty")
	for name, means := range full {
		if len(means) >= rounds/2 {
			b.ReportMetric(middle(means)-nothing, "ns/"+name)
		}
	}
	b.Logf("load average %s", loadAverage())
}

// meanRuns adds the mean run of each program that ran often while work did.
func meanRuns(b *testing.B, programs map[string]*ebpf.Program, means map[string][]float64, work func()) {
	type sum struct {
		runs uint64
		time time.Duration
	}
	read := func(p *ebpf.Program) sum {
		s, err := p.Stats()
		if err != nil {
			b.Fatal(err)
		}
		return sum{s.RunCount, s.Runtime}
	}
	before := map[string]sum{}
	for name, p := range programs {
		before[name] = read(p)
	}
	work()
	for name, p := range programs {
		now := read(p)
		if runs := now.runs - before[name].runs; runs >= 1000 {
			means[name] = append(means[name], float64(now.time-before[name].time)/float64(runs))
		}
	}
}

func middle(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// emptyPrograms only let pass.
func emptyPrograms(b *testing.B) map[string]*ebpf.Program {
	programs := map[string]*ebpf.Program{}
	for name, at := range map[string]ebpf.AttachType{"egress": ebpf.AttachCGroupInetEgress, "ingress": ebpf.AttachCGroupInetIngress} {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.CGroupSKB, AttachType: at, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
		})
		if err != nil {
			b.Fatal(err)
		}
		programs[name] = p
	}
	return programs
}

// attachAll attaches the empty programs.
func attachAll(b *testing.B, programs map[string]*ebpf.Program) func() {
	root := testConfig(b).CgroupRoot
	var links []link.Link
	for name, at := range map[string]ebpf.AttachType{"egress": ebpf.AttachCGroupInetEgress, "ingress": ebpf.AttachCGroupInetIngress} {
		l, err := link.AttachCgroup(link.CgroupOptions{Path: root, Attach: at, Program: programs[name]})
		if err != nil {
			b.Fatal(err)
		}
		links = append(links, l)
	}
	return func() {
		for _, l := range links {
			l.Close()
		}
	}
}

package bpf

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/ringbuf"

	"sallyport/agent/testenv"
)

// Of a call's program: how often the call stands in it in a row, how often the
// program runs in one measurement, and how many of these there are.
const (
	callsInRow  = 16
	callRuns    = 50
	callSamples = 201
)

// BenchmarkCalls measures on warm caches what the parts cost that the programs
// are made of: what no rewriting of the programs can save.
func BenchmarkCalls(b *testing.B) {
	testenv.Exclusive(b)
	m := newCallMaps(b)
	for _, c := range calls(m) {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				empty, full := m.program(b, nil), m.program(b, c.code)
				var none, some []float64
				for range callSamples {
					none = append(none, m.run(b, empty))
					some = append(some, m.run(b, full))
				}
				b.ReportMetric((middle(some)-middle(none))/callsInRow, "ns/call")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// call is what is measured, as instructions that may use all registers but R6,
// which holds the packet, and R7, which holds its socket. The 256 bytes of the
// stack are zero.
type call struct {
	name string
	code asm.Instructions
}

type callMaps struct {
	ring, flows, sockets *ebpf.Map
	reader               *ringbuf.Reader
}

func newCallMaps(b *testing.B) *callMaps {
	spec, err := loadPacket()
	if err != nil {
		b.Fatal(err)
	}
	open := func(name string) *ebpf.Map {
		m, err := ebpf.NewMap(spec.Maps[name])
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { m.Close() })
		return m
	}
	m := &callMaps{ring: open(packetMapRecords), flows: open(packetMapUdpFlows), sockets: open(packetMapSockets)}
	if m.reader, err = ringbuf.NewReader(m.ring); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.reader.Close() })
	return m
}

func (m *callMaps) program(b *testing.B, code asm.Instructions) *ebpf.Program {
	ins := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, 168, asm.DWord), // __sk_buff.sk
		asm.JEq.Imm(asm.R7, 0, "out"),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnSkFullsock.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.Mov.Imm(asm.R1, 0),
	}
	for at := int16(-256); at < 0; at += 8 {
		ins = append(ins, asm.StoreMem(asm.R10, at, asm.R1, asm.DWord))
	}
	for range callsInRow {
		ins = append(ins, code...)
	}
	ins = append(ins, asm.Mov.Imm(asm.R0, 1).WithSymbol("out"), asm.Return())
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.CGroupSKB, AttachType: ebpf.AttachCGroupInetEgress, License: "GPL", Instructions: ins,
	})
	if err != nil {
		b.Fatalf("%+v", err)
	}
	b.Cleanup(func() { p.Close() })
	return p
}

// run gives the nanoseconds of one run of a program.
func (m *callMaps) run(b *testing.B, p *ebpf.Program) float64 {
	_, took, err := p.Benchmark(make([]byte, 128), callRuns, nil)
	if err != nil {
		b.Fatal(err)
	}
	m.reader.SetDeadline(time.Unix(1, 0))
	var rec ringbuf.Record
	for m.reader.ReadInto(&rec) == nil {
	}
	return float64(took)
}

func calls(m *callMaps) []call {
	join := func(parts ...asm.Instructions) (all asm.Instructions) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	do := func(ins ...asm.Instruction) asm.Instructions { return ins }
	stack := func(r asm.Register, at int32) asm.Instructions {
		return do(asm.Mov.Reg(r, asm.R10), asm.Add.Imm(r, at))
	}
	ofMap := func(x *ebpf.Map) asm.Instructions { return do(asm.LoadMapPtr(asm.R1, x.FD())) }
	storage := func(flags int32) asm.Instructions {
		return join(ofMap(m.sockets), do(asm.Mov.Reg(asm.R2, asm.R7), asm.Mov.Imm(asm.R3, 0), asm.Mov.Imm(asm.R4, flags), asm.FnSkStorageGet.Call()))
	}
	add := asm.StoreXAdd(asm.R10, asm.R1, asm.DWord)
	add.Offset = -8
	// A key of the flows that is another at each call: the first eight bytes count.
	next := do(asm.FnKtimeGetNs.Call(), asm.StoreMem(asm.R10, -32, asm.R0, asm.DWord))
	reserve := func(size int32) asm.Instructions {
		label := asm.JEq.Imm(asm.R0, 0, "")
		label.Offset = 3
		return join(ofMap(m.ring), do(asm.Mov.Imm(asm.R2, size), asm.Mov.Imm(asm.R3, 0), asm.FnRingbufReserve.Call(), label,
			asm.Mov.Reg(asm.R1, asm.R0), asm.Mov.Imm(asm.R2, 1), asm.FnRingbufSubmit.Call()))
	}
	return []call{
		{"atomic_add", do(asm.Mov.Imm(asm.R1, 1), add)},
		{"get_current_task", do(asm.FnGetCurrentTask.Call())},
		{"get_smp_processor_id", do(asm.FnGetSmpProcessorId.Call())},
		{"ktime_get_ns", do(asm.FnKtimeGetNs.Call())},
		{"probe_read_kernel", join(do(asm.FnGetCurrentTask.Call(), asm.Mov.Reg(asm.R3, asm.R0)), stack(asm.R1, -16), do(asm.Mov.Imm(asm.R2, 8), asm.FnProbeReadKernel.Call()))},
		{"skb_load_bytes", join(do(asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, 0)), stack(asm.R3, -64), do(asm.Mov.Imm(asm.R4, 20), asm.FnSkbLoadBytes.Call()))},
		{"get_socket_cookie", do(asm.Mov.Reg(asm.R1, asm.R6), asm.FnGetSocketCookie.Call())},
		{"ringbuf_record", reserve(224)},
		{"ringbuf_query", join(ofMap(m.ring), do(asm.Mov.Imm(asm.R2, 0), asm.FnRingbufQuery.Call()))},
		{"flow_lookup", join(ofMap(m.flows), stack(asm.R2, -32), do(asm.FnMapLookupElem.Call()))},
		{"flow_insert", join(next, ofMap(m.flows), stack(asm.R2, -32), stack(asm.R3, -256), do(asm.Mov.Imm(asm.R4, 1), asm.FnMapUpdateElem.Call()))},
		{"storage_get", storage(1)},
		{"storage_make_and_free", join(storage(1), ofMap(m.sockets), do(asm.Mov.Reg(asm.R2, asm.R7), asm.FnSkStorageDelete.Call()))},
	}
}

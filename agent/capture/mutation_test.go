package capture_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/agent/capture"
	"sallyport/agent/flow"
	"sallyport/agent/protocol"
	"sallyport/agent/testenv"
)

// frame is a frame of a capture in memory.
type frame struct {
	link   capture.Link
	data   []byte
	length int
	at     time.Time
}

// flowID is a flow's five-tuple, whichever way it is seen.
type flowID struct {
	proto uint8
	a, b  netip.AddrPort
}

func idOf(proto uint8, x, y netip.AddrPort) flowID {
	x, y = netip.AddrPortFrom(x.Addr().Unmap(), x.Port()), netip.AddrPortFrom(y.Addr().Unmap(), y.Port())
	if y.Compare(x) < 0 {
		x, y = y, x
	}
	return flowID{proto, x, y}
}

func readFrames(name string, file []byte) (list []frame, err error) {
	r, err := capture.NewReader(name, bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var f capture.Frame
	for {
		if err := r.Next(&f); err == io.EOF {
			return list, nil
		} else if err != nil {
			return list, err
		}
		list = append(list, frame{f.Link, slices.Clone(f.Data), f.Length, f.Time})
	}
}

// answers is what the flow table makes of frames: the labels of each flow that
// has one. inner also takes the flows inside tunnels.
type answers struct {
	inner  bool
	labels map[flowID][]string
}

func (a *answers) Flow(f *flow.Flow, event flow.Event) {
	if label := protocol.Category(f.Result.Label); event == flow.Closed && label != "none" && (a.inner || !f.Inner) {
		id := idOf(f.Transport, f.Client, f.Server)
		a.labels[id] = append(a.labels[id], label)
	}
}

func (*answers) DNS(*flow.Flow, bool, []byte, time.Time) {}

// identifier is a decoder and an engine that many replays share.
type identifier struct {
	decoder *capture.Decoder
	engine  *protocol.Engine
}

func newIdentifier() *identifier {
	return &identifier{capture.NewDecoder(), protocol.NewEngine(protocol.Detectors())}
}

func (d *identifier) replay(frames []frame, inner bool) map[flowID][]string {
	a := &answers{inner, map[flowID][]string{}}
	cfg := flow.ReplayConfig()
	cfg.Evidence.Packets = 0
	table := flow.New(cfg, d.engine, a)
	for _, f := range frames {
		if p, err := d.decoder.Decode(f.link, f.data, f.length, f.at); err == nil {
			table.Packet(p, &flow.Meta{})
		}
	}
	table.Close()
	return a.labels
}

// packet is a frame and whose it is.
type packet struct {
	frame
	id    flowID
	low   bool // sent by the end that stands first in id
	known bool // decoded, and no later fragment
	data  int  // payload bytes
	nth   int  // of its flow, from 0
	ip    frame
	proto uint8
}

// sort gives each frame its flow.
func (d *identifier) sort(frames []frame) []packet {
	seen := map[flowID]int{}
	list := make([]packet, 0, len(frames))
	for _, f := range frames {
		p := packet{frame: f}
		if got, err := d.decoder.Decode(f.link, f.data, f.length, f.at); err == nil {
			p.id, p.known = idOf(got.Proto, got.Src, got.Dst), !got.Fragment
			p.low, p.data, p.proto = p.id.a == netip.AddrPortFrom(got.Src.Addr().Unmap(), got.Src.Port()), len(got.Payload), got.Proto
			p.nth = seen[p.id]
			seen[p.id]++
			p.ip = frame{capture.LinkRaw, slices.Clone(got.Data), got.Length, f.at}
		}
		list = append(list, p)
	}
	return list
}

// mutation is what may happen to a capture. same: nothing that a reader may
// notice has been lost, and every answer must stay.
type mutation struct {
	name   string
	same   bool
	inner  bool // the flows are then inside others
	change func(*rand.Rand, []packet) []frame
}

func each(keep func(*rand.Rand, *packet) []frame) func(*rand.Rand, []packet) []frame {
	return func(random *rand.Rand, list []packet) (out []frame) {
		for i := range list {
			out = append(out, keep(random, &list[i])...)
		}
		return out
	}
}

func snap(n int) func(*rand.Rand, []packet) []frame {
	return each(func(_ *rand.Rand, p *packet) []frame {
		f := p.frame
		f.data = f.data[:min(len(f.data), n)]
		return []frame{f}
	})
}

func only(keep func(*rand.Rand, *packet) bool) func(*rand.Rand, []packet) []frame {
	return each(func(random *rand.Rand, p *packet) []frame {
		if p.known && !keep(random, p) {
			return nil
		}
		return []frame{p.frame}
	})
}

// repeat sends some frames again at once, or a little later as a retransmission.
func repeat(random *rand.Rand, list []packet) (out []frame) {
	var later []frame
	for i := range list {
		out = append(out, list[i].frame)
		switch random.IntN(5) {
		case 0:
			out = append(out, list[i].frame)
		case 1:
			later = append(later, list[i].frame)
		case 2:
			out, later = append(out, later...), nil
		}
	}
	return append(out, later...)
}

// overtake lets TCP segments of one side with data overtake the next. Datagrams
// and the segments that open a connection keep their order: what a detector is
// told of datagrams is their order.
func overtake(random *rand.Rand, list []packet) []frame {
	order := slices.Clone(list)
	for i := 0; i+1 < len(order); i++ {
		a, b := &order[i], &order[i+1]
		if a.known && b.known && a.proto == 6 && a.id == b.id && a.low == b.low && a.data > 0 && b.data > 0 && a.nth > 2 && random.IntN(2) == 0 {
			order[i], order[i+1] = order[i+1], order[i]
			i++
		}
	}
	out := make([]frame, len(order))
	for i := range order {
		out[i] = order[i].frame
		out[i].at = list[i].at
	}
	return out
}

// turned moves the first packet of each flow's second side to its front, as when
// the two sides come from two taps.
func turned(_ *rand.Rand, list []packet) (out []frame) {
	first := map[flowID]int{}
	order := slices.Clone(list)
	done := map[flowID]bool{}
	for i := range order {
		p := &order[i]
		if !p.known || done[p.id] {
			continue
		}
		at, ok := first[p.id]
		if !ok {
			first[p.id] = i
			continue
		}
		if order[at].low != p.low {
			order[at], order[i] = order[i], order[at]
			done[p.id] = true
		}
	}
	for i := range order {
		f := order[i].frame
		f.at = list[i].at
		out = append(out, f)
	}
	return out
}

func mutations() []mutation {
	list := []mutation{
		{name: "repeated", change: repeat, same: true},
		{name: "overtaken", change: overtake, same: true},
		{name: "turned", change: turned},
		{name: "low side only", change: only(func(_ *rand.Rand, p *packet) bool { return p.low })},
		{name: "high side only", change: only(func(_ *rand.Rand, p *packet) bool { return !p.low })},
		{name: "loss of 5%", change: only(func(r *rand.Rand, _ *packet) bool { return r.IntN(20) > 0 })},
		{name: "loss of 30%", change: only(func(r *rand.Rand, _ *packet) bool { return r.IntN(10) > 2 })},
	}
	for _, n := range []int{64, 96, 128, 200} {
		list = append(list, mutation{name: fmt.Sprintf("%d bytes of a frame", n), change: snap(n)})
	}
	for _, n := range []int{1, 2, 3, 4, 6, 10, 20, 50} {
		list = append(list, mutation{name: fmt.Sprintf("begun after %d packets", n), change: only(func(_ *rand.Rand, p *packet) bool { return p.nth >= n })})
	}
	for _, w := range wraps() {
		list = append(list, mutation{name: w.name, inner: w.tunnel, same: true, change: each(func(_ *rand.Rand, p *packet) []frame {
			if p.ip.data == nil {
				return nil
			}
			return []frame{w.wrap(p.ip)}
		})})
	}
	for _, c := range containers() {
		list = append(list, mutation{name: c.name, same: true, change: func(_ *rand.Rand, list []packet) []frame {
			var frames []frame
			for i := range list {
				frames = append(frames, list[i].frame)
			}
			again, err := readFrames(c.name, c.write(frames))
			if err != nil {
				panic(err)
			}
			return again
		}})
	}
	return list
}

// truth is what labels.jsonl says of the flows of one capture.
type truth map[flowID][]string

func readTruth(t *testing.T, path string) map[string]truth {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all := map[string]truth{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	numbers := map[string]uint8{"tcp": 6, "udp": 17}
	for lines.Scan() {
		var row struct {
			Capture, Proto, Src, Dst, Label string
			Sport, Dport                    uint16
			Also                            []string
			Ambiguous                       bool
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		proto := numbers[row.Proto]
		if proto == 0 {
			fmt.Sscan(row.Proto, &proto)
		}
		src, errA := netip.ParseAddr(row.Src)
		dst, errB := netip.ParseAddr(row.Dst)
		if errA != nil || errB != nil {
			continue
		}
		if all[row.Capture] == nil {
			all[row.Capture] = truth{}
		}
		id := idOf(proto, netip.AddrPortFrom(src, row.Sport), netip.AddrPortFrom(dst, row.Dport))
		all[row.Capture][id] = append(row.Also, row.Label)
		if row.Ambiguous {
			all[row.Capture][id] = nil
		}
	}
	return all
}

// tally counts, for a mutation, what became of the flows that have a category.
type tally struct{ kept, lost, wrong int }

// TestMutations does to each labelled capture what happens to captures, and
// checks that no flow gets a wrong category, and that where nothing was lost
// the answer stays.
func TestMutations(t *testing.T) {
	folder := testenv.Shared(t, "captures", "dev")
	labels := readTruth(t, filepath.Join(folder, "labels.jsonl"))
	d := newIdentifier()
	results := make([]map[string]*tally, len(mutations()))
	for i := range results {
		results[i] = map[string]*tally{}
	}
	long := os.Getenv("SALLYPORT_TEST_LONG") != ""
	for n, name := range slices.Sorted(mapKeys(labels)) {
		file, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		frames, _ := readFrames(name, file) // a truncated one counts as far as it goes
		packets := d.sort(frames)
		whole := d.replay(frames, false)
		for i, m := range mutations() {
			if len(whole) == 0 && (m.same || !long && (n+i)%4 > 0) {
				continue // what hides nothing makes nothing of nothing; of the rest a quarter is enough each time
			}
			random := rand.New(rand.NewPCG(uint64(i), uint64(len(name))))
			got := d.replay(m.change(random, packets), m.inner)
			compare(t, m, name, labels[name], whole, got, results[i])
		}
	}
	report(t, results)
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func compare(t *testing.T, m mutation, capture string, want truth, whole, got map[flowID][]string, into map[string]*tally) {
	t.Helper()
	for id, labels := range got {
		right, labelled := want[id]
		if !labelled || right == nil {
			continue
		}
		if slices.Contains(right, "socks") && !m.same {
			right = append([]string{"rdp", "ssh", "vnc"}, right...) // what a relay carries, once its request is gone
		}
		for _, label := range labels {
			if !slices.Contains(right, label) {
				count(into, right[len(right)-1]).wrong++
				t.Errorf("%s: %s: %v is called %s and is %s", m.name, capture, id, label, strings.Join(right, ", "))
			}
		}
	}
	for id, labels := range whole {
		right := want[id]
		if right == nil || right[len(right)-1] == "none" {
			continue
		}
		if c := count(into, labels[0]); len(got[id]) > 0 {
			c.kept++
		} else {
			c.lost++
			if m.same {
				t.Errorf("%s: %s: %v is no longer %s", m.name, capture, id, labels[0])
			}
		}
	}
}

func count(m map[string]*tally, label string) *tally {
	if m[label] == nil {
		m[label] = &tally{}
	}
	return m[label]
}

// report logs a line a mutation.
func report(t *testing.T, results []map[string]*tally) {
	for i, m := range mutations() {
		var all tally
		var lost []string
		for label, c := range results[i] {
			all.kept, all.lost, all.wrong = all.kept+c.kept, all.lost+c.lost, all.wrong+c.wrong
			if c.lost > 0 {
				lost = append(lost, fmt.Sprintf("%s %d of %d", label, c.lost, c.lost+c.kept))
			}
		}
		slices.SortFunc(lost, cmp.Compare[string])
		t.Logf("%-24s %3d kept, %3d less, %d wrong  %s", m.name, all.kept, all.lost, all.wrong, strings.Join(lost, ", "))
	}
}

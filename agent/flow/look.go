package flow

import (
	"bytes"

	"sallyport/agent/capture"
	"sallyport/agent/protocol"
)

// look is what is held of an undecided flow: the first bytes of both sides and
// the engine's state. Decided flows give theirs back.
type look struct {
	sides  [2]half // client, server
	state  protocol.EngineState
	budget int // bytes charged to the table
	next   *look
}

// half is one side. Datagrams share one arena; a datagram is found by its end.
type half struct {
	stream  stream
	arena   []byte
	ends    [protocol.MaxDatagrams]uint16
	lengths [protocol.MaxDatagrams]uint32
	kept    uint8
	count   int
}

// scratch is what the detectors are shown, of one flow at a time.
type scratch struct {
	flow      protocol.Flow
	datagrams [2][protocol.MaxDatagrams][]byte
	lengths   [2][protocol.MaxDatagrams]int
}

func (l *look) reset() {
	for i := range l.sides {
		h := &l.sides[i]
		h.stream.reset()
		h.arena = h.arena[:0]
		h.kept, h.count = 0, 0
	}
	l.state = protocol.EngineState{}
	l.budget = 0
}

// size is what the look holds.
func (l *look) size() int {
	n := 0
	for i := range l.sides {
		n += cap(l.sides[i].stream.data) + cap(l.sides[i].arena)
	}
	return n
}

// add takes a datagram and says whether it was kept. One that came before, as
// mirrors and senders that had no answer repeat them, tells nothing new.
func (h *half) add(payload []byte, length int) bool {
	if h.kept == protocol.MaxDatagrams || h.count <= maxRepeats && h.has(payload, length) {
		return false
	}
	h.arena = append(h.arena, payload[:min(len(payload), protocol.MaxDatagram)]...)
	h.ends[h.kept], h.lengths[h.kept] = uint16(len(h.arena)), uint32(length)
	h.kept++
	return true
}

// maxRepeats is how many datagrams of a side are compared with those kept: a flow
// that sends one and the same for good must be decided too.
const maxRepeats = 4 * protocol.MaxDatagrams

// has says whether the same datagram is kept already.
func (h *half) has(payload []byte, length int) bool {
	payload = payload[:min(len(payload), protocol.MaxDatagram)]
	from := uint16(0)
	for i, end := range h.ends[:h.kept] {
		if int(h.lengths[i]) == length && bytes.Equal(h.arena[from:end], payload) {
			return true
		}
		from = end
	}
	return false
}

// show lays one side out for the detectors.
func (c *scratch) show(h *half, n int, to *protocol.Side) {
	to.Stream, to.Count = h.stream.ready(), h.count
	from := uint16(0)
	for i, end := range h.ends[:h.kept] {
		c.datagrams[n][i] = h.arena[from:end:end]
		c.lengths[n][i] = int(h.lengths[i])
		from = end
	}
	to.Datagrams, to.Lengths = c.datagrams[n][:h.kept], c.lengths[n][:h.kept]
}

// full says whether the side takes nothing more.
func (h *half) full(proto uint8) bool {
	if proto == 6 {
		return len(h.stream.ready()) == protocol.MaxStream
	}
	return h.kept == protocol.MaxDatagrams
}

// content gives an undecided flow's payload to the detectors.
func (t *Table) content(f *Flow, p *capture.Packet, fromClient bool) {
	l := f.look
	h := &l.sides[index(fromClient)]
	more := false
	if f.Transport == 6 {
		l.start(p, fromClient)
		if len(p.Payload) == 0 {
			return
		}
		h.count++
		seq := p.Seq
		if p.Flags&capture.SYN != 0 {
			seq++
		}
		grown, full := h.stream.add(seq, p.Payload, protocol.MaxStream)
		if full {
			t.counters.dropped(DropReassembly)
		}
		more = grown
	} else {
		if len(p.Payload) == 0 {
			return
		}
		h.count++
		more = h.add(p.Payload, p.Sent)
	}
	if !more {
		return
	}
	t.charge(l)
	over := t.bytes > t.cfg.MaxBytes
	if over {
		t.counters.dropped(DropBytes)
	}
	t.ask(f, over)
}

// charge keeps the account of what all looks hold.
func (t *Table) charge(l *look) {
	size := l.size()
	t.bytes += size - l.budget
	l.budget = size
}

// ask lets the detectors look. last: nothing more will come.
func (t *Table) ask(f *Flow, last bool) {
	l := f.look
	c := &t.scratch
	c.show(&l.sides[0], 0, &c.flow.Client)
	c.show(&l.sides[1], 1, &c.flow.Server)
	c.flow.Proto = f.Transport
	c.flow.ClientPort, c.flow.ServerPort = f.Client.Port(), f.Server.Port()
	c.flow.MidFlow = f.MidFlow
	c.flow.Facts = &f.Facts
	c.flow.Closed = last || l.sides[0].full(f.Transport) && l.sides[1].full(f.Transport)
	best, changed, decided := t.engine.Look(&l.state, &c.flow)
	f.Result = best
	if changed {
		t.emit(f, Identified)
	}
	if decided || c.flow.Closed {
		t.decide(f)
	}
}

// decide lets the flow's bytes go.
func (t *Table) decide(f *Flow) {
	f.decided = true
	t.releaseLook(f)
	if !f.keep && protocol.Internal(f.Result.Label) {
		t.dropEvidence(f)
	}
	t.counters.decided++
	t.emit(f, Decided)
}

func (t *Table) takeLook() *look {
	l := t.freeLooks
	if l == nil {
		return &look{}
	}
	t.freeLooks, l.next = l.next, nil
	t.idleLooks--
	return l
}

func (t *Table) releaseLook(f *Flow) {
	l := f.look
	if l == nil {
		return
	}
	f.look = nil
	t.bytes -= l.budget
	l.reset()
	if t.idleLooks < maxIdleLooks {
		l.next, t.freeLooks = t.freeLooks, l
		t.idleLooks++
	}
}

// maxIdleLooks bounds what is kept for reuse.
const maxIdleLooks = 256

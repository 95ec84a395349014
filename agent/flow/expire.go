package flow

import "time"

// The wheel: a flow waits in the slot of the second in which it may have timed
// out. A packet does not move it; when the slot comes up, a flow that has been
// seen since goes into a later one.
const (
	wheelSlots = 1024
	wheelStep  = int64(4 * time.Second)
)

type wheel struct {
	slots [wheelSlots]*Flow
	turn  int64 // the last step that was worked off
}

// Expire closes the flows that have timed out. Live sensors' tables are told the
// time when no packet tells it.
func (t *Table) Expire(now time.Time) { t.expire(now.UnixNano()) }

func (t *Table) expire(now int64) {
	if now <= t.now {
		return
	}
	first := t.now == 0
	t.now = now
	step := now / wheelStep
	if first {
		t.wheel.turn = step
		return
	}
	for n := min(step-t.wheel.turn, wheelSlots); n > 0; n-- {
		t.work(int((step - n + 1) % wheelSlots))
	}
	t.wheel.turn = step
}

// work looks at the flows of one slot.
func (t *Table) work(slot int) {
	f := t.wheel.slots[slot]
	t.wheel.slots[slot] = nil
	for f != nil {
		next := f.next
		f.next, f.prev = nil, nil
		f.slot = -1
		if f.lastSeen+t.timeout(f) <= t.now {
			t.close(f)
		} else {
			t.schedule(f)
		}
		f = next
	}
}

// schedule puts f into the slot after its time-out, out of the one it is in.
func (t *Table) schedule(f *Flow) {
	t.unschedule(f)
	now := t.now / wheelStep
	step := max((f.lastSeen+t.timeout(f))/wheelStep, now) + 1
	step = min(step, now+wheelSlots-1)
	f.slot = int(step % wheelSlots)
	head := t.wheel.slots[f.slot]
	f.next = head
	if head != nil {
		head.prev = f
	}
	t.wheel.slots[f.slot] = f
}

func (t *Table) unschedule(f *Flow) {
	if f.slot < 0 {
		return
	}
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		t.wheel.slots[f.slot] = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	}
	f.next, f.prev, f.slot = nil, nil, -1
}

// timeout of a flow in its present state. The kernel says when a flow ends that
// it keeps a record of: the longest time-out is only for a record that was lost.
func (t *Table) timeout(f *Flow) int64 {
	switch {
	case f.Reported.Seen:
		return int64(t.cfg.TCPIdle)
	case f.Transport != 6:
		return int64(t.cfg.UDPIdle)
	case f.tcp.closed():
		return int64(t.cfg.TCPClosed)
	case f.tcp.opening():
		return int64(t.cfg.TCPOpening)
	}
	return int64(t.cfg.TCPIdle)
}

// evictSample is how many flows are compared to find one to close.
const evictSample = 8

// evict closes the least recently seen of a sample, so that a flood of new
// flows cannot blind the table to what comes after it.
func (t *Table) evict() {
	var victim *Flow
	n := 0
	for _, f := range t.byTuple {
		if victim == nil || f.lastSeen < victim.lastSeen {
			victim = f
		}
		if n++; n == evictSample {
			break
		}
	}
	if victim == nil {
		for _, f := range t.byKey {
			victim = f
			break
		}
	}
	if victim != nil {
		t.counters.dropped(DropFlows)
		t.close(victim)
	}
}

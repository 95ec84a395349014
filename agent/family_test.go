package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// at is a process that began in the given tick after boot.
func at(pid uint32, tick uint64) sensor.ProcessRef {
	return sensor.ProcessRef{PID: pid, Start: tick * startTick}
}

// host is processes by number.
type host map[uint32]sensor.Process

func (h host) process(ref sensor.ProcessRef) (sensor.Process, bool) {
	p, ok := h[ref.PID]
	return p, ok && p.Ref.Start/startTick == ref.Start/startTick
}

// danteHost has Dante's processes as they are: a mother that accepts, and her
// children, one of which reads the request and another connects.
func danteHost() host {
	const dante = "/usr/sbin/danted"
	h := host{
		1:  {Ref: at(1, 1), Executable: "/usr/lib/systemd/systemd"},
		9:  {Ref: at(9, 9), Parent: at(1, 1), Executable: dante, Exited: time.Unix(1, 0)}, // put itself into the background
		10: {Ref: at(10, 10), Parent: at(9, 9), Executable: dante},
		20: {Ref: at(20, 20), Parent: at(1, 1), Executable: dante}, // another server
		30: {Ref: at(30, 30), Parent: at(10, 10), Executable: "/bin/sh"},
		31: {Ref: at(31, 31), Parent: at(30, 30), Executable: dante},
		40: {Ref: at(40, 40), Parent: at(10, 9), Executable: dante}, // of one that had the number before
	}
	for pid := uint32(11); pid <= 13; pid++ {
		h[pid] = sensor.Process{Ref: at(pid, uint64(pid)), Parent: at(10, 10), Executable: dante}
	}
	h[14] = sensor.Process{Ref: at(14, 14), Parent: at(13, 13), Executable: dante}
	h[15] = sensor.Process{Ref: at(15, 15), Parent: at(10, 10)} // what it runs is not known
	return h
}

func TestFamily(t *testing.T) {
	mother := at(10, 10)
	for name, test := range map[string]struct{ of, want sensor.ProcessRef }{
		"the head":                            {mother, mother},
		"the head, to the nanosecond":         {sensor.ProcessRef{PID: 10, Start: mother.Start + 5}, mother},
		"a child":                             {at(11, 11), mother},
		"a grandchild":                        {at(14, 14), mother},
		"another server of the program":       {at(20, 20), at(20, 20)},
		"with a shell between":                {at(31, 31), at(31, 31)},
		"of one that had the parent's number": {at(40, 40), at(40, 40)},
		"one whose executable is not known":   {at(15, 15), at(15, 15)},
		"one that is not known":               {at(99, 99), at(99, 99)},
		"a parent of another executable":      {at(30, 30), at(30, 30)},
	} {
		if got := familyOf(test.of, danteHost().process); got != test.want {
			t.Errorf("%s: the family is %v, want %v", name, got, test.want)
		}
	}
}

// A long line of forks is climbed no further than the bound.
func TestFamilyIsBounded(t *testing.T) {
	asked := 0
	endless := func(ref sensor.ProcessRef) (sensor.Process, bool) {
		asked++
		return sensor.Process{Ref: ref, Parent: at(ref.PID+1, 1), Executable: "/bin/x"}, true
	}
	if got := familyOf(at(1, 1), endless); got != at(1+maxAncestors, 1) || asked != maxAncestors+1 {
		t.Errorf("climbed to %v, %d processes read", got, asked)
	}
}

// One process of a server takes the request, another opens the connection: it is
// marked, judged again where it had ended, and found among the flows that are open.
func TestFamilyOfARelayIsMarked(t *testing.T) {
	r := newRelays(danteHost().process)
	connects, other := sensor.OwnerRef{Process: at(12, 12)}, sensor.OwnerRef{Process: at(20, 20)}
	for _, owner := range []sensor.OwnerRef{connects, other} {
		r.ended(&observed{o: rules.Observation{Direction: rules.Outbound}, owner: owner, last: true})
	}
	r.mark(&rules.Observation{Direction: rules.Inbound, Hidden: &rules.Hidden{Host: "x.example", By: "socks5"}}, sensor.OwnerRef{Process: at(11, 11)})
	late := r.belated()
	if len(late) != 1 || late[0].owner != connects {
		t.Errorf("to be judged again: %+v", late)
	}
	open := func() []sensor.ProcessRef { return []sensor.ProcessRef{at(20, 20), at(13, 13), at(1, 1), at(14, 14)} }
	if diff := cmp.Diff([]sensor.ProcessRef{at(13, 13), at(14, 14)}, r.learnt(open)); diff != "" {
		t.Errorf("whose open flows are reported again (-want +got):\n%s", diff)
	}
	if again := r.learnt(open); len(again) != 0 {
		t.Errorf("reported again without news: %v", again)
	}
	for owner, want := range map[sensor.OwnerRef]string{connects: relayProxy, other: ""} {
		o := rules.Observation{Direction: rules.Outbound}
		if r.mark(&o, owner); o.Owner.Intermediary != want {
			t.Errorf("pid %d is marked %q, want %q", owner.Process.PID, o.Owner.Intermediary, want)
		}
	}
	if diff := cmp.Diff([]string{"/usr/sbin/danted (pid 10) is a proxy"}, r.seen()); diff != "" {
		t.Error(diff)
	}
}

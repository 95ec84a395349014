package agent

import (
	"fmt"
	"slices"
	"time"

	"sallyport/agent/sensor"
)

// maxAncestors bounds how far up a family goes: a daemon, its masters and their
// workers.
const maxAncestors = 8

// startTick is the step in which /proc tells when a process began (USER_HZ is 100).
const startTick = uint64(10 * time.Millisecond)

// processes gives what is known of a process. It may read /proc.
type processes func(sensor.ProcessRef) (sensor.Process, bool)

// unknownProcess is what is known of a process where no sensor sees any: nothing.
func unknownProcess(sensor.ProcessRef) (p sensor.Process, _ bool) { return p, false }

// familyOf is the head of a process's family: its furthest ancestor that still
// runs and is of the same executable, with no other between, or the process
// itself. The parts of a server are one family: Dante accepts in its mother
// process, reads the request in one child and connects in another. Programs in one
// interpreter, started by a third in it, are taken for one family too.
func familyOf(ref sensor.ProcessRef, process processes) sensor.ProcessRef {
	p, known := process(ref)
	for range maxAncestors {
		if !known || p.Executable == "" {
			break
		}
		var parent sensor.Process
		parent, known = process(p.Parent)
		if !known || parent.Executable != p.Executable || !parent.Exited.IsZero() {
			break
		}
		ref, p = p.Parent, parent
	}
	ref.Start -= ref.Start % startTick // a parent may be known by /proc alone
	return ref
}

// inWords lists those of the processes that still run, with what is known of each.
func inWords(what map[sensor.ProcessRef]string, verb string, process processes) []string {
	var out []string
	for ref, known := range what {
		if p, ok := process(ref); ok && p.Exited.IsZero() {
			out = append(out, fmt.Sprintf("%s (pid %d) %s %s", p.Executable, ref.PID, verb, known))
		}
	}
	slices.Sort(out)
	return out
}

package enrich

import (
	"sallyport/agent/sensor"
	"sallyport/rules"
)

// maxParents bounds the line of ancestors.
const maxParents = 8

// process names the owner's process, its parents and its user.
type process struct {
	source ProcessSource
	lines  *lines
	users  *users
}

func newProcess(source ProcessSource, passwd string) *process {
	u := newUsers(passwd)
	return &process{source, newLines(u), u}
}

func (p *process) enrich(o *rules.Observation, owner sensor.OwnerRef) {
	o.Owner.Attribution = owner.Attribution
	if owner.Attribution == "" {
		o.Owner.Attribution = rules.AttributionUnknown
	}
	if owner.Process.PID == 0 {
		return
	}
	var room [1 + maxParents]sensor.Process
	ancestry := p.ancestry(room[:0], owner.Process)
	if len(ancestry) == 0 {
		// The kernel's own record still gives the number, the user and the short name.
		o.Owner.Process = &rules.Process{PID: owner.Process.PID, Name: owner.Comm, UID: owner.UID, User: p.users.name(owner.UID)}
		return
	}
	o.Owner.Process, o.Owner.Parents = p.lines.of(ancestry)
}

// ancestry appends the process and its parents, as far as they are known.
func (p *process) ancestry(to []sensor.Process, ref sensor.ProcessRef) []sensor.Process {
	for len(to) <= maxParents && p.source != nil && ref.PID != 0 {
		known, ok := p.source.Process(ref)
		if !ok || isIn(to, known.Ref) {
			break
		}
		to = append(to, known)
		ref = known.Parent
	}
	return to
}

func isIn(list []sensor.Process, ref sensor.ProcessRef) bool {
	for i := range list {
		if list[i].Ref == ref {
			return true
		}
	}
	return false
}

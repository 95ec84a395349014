package enrich

import (
	"sallyport/agent/sensor"
	"sallyport/rules"
)

// maxParents bounds the line of ancestors.
const maxParents = 8

// process names the owner's process, its parents and its user.
type process struct {
	source     ProcessSource
	users      *users
	redactions *redactions
}

func newProcess(source ProcessSource, passwd string) *process {
	return &process{source, newUsers(passwd), newRedactions()}
}

func (p *process) enrich(o *rules.Observation, owner sensor.OwnerRef) {
	o.Owner.Attribution = owner.Attribution
	if owner.Attribution == "" {
		o.Owner.Attribution = rules.AttributionUnknown
	}
	if owner.Process.PID == 0 {
		return
	}
	known, ok := p.find(owner.Process)
	if !ok {
		// The kernel's own record still gives the number, the user and the short name.
		o.Owner.Process = &rules.Process{PID: owner.Process.PID, Name: owner.Comm, UID: owner.UID, User: p.users.name(owner.UID)}
		return
	}
	host := known.CgroupPath == "" || parseCgroup(known.CgroupPath).ID == ""
	o.Owner.Process = p.describe(known, host)
	o.Owner.Parents = nil
	seen := map[sensor.ProcessRef]bool{known.Ref: true}
	for len(o.Owner.Parents) < maxParents {
		parent, ok := p.find(known.Parent)
		if !ok || seen[parent.Ref] {
			return
		}
		seen[parent.Ref] = true
		o.Owner.Parents = append(o.Owner.Parents, *p.describe(parent, host))
		known = parent
	}
}

func (p *process) find(ref sensor.ProcessRef) (sensor.Process, bool) {
	if p.source == nil || ref.PID == 0 {
		return sensor.Process{}, false
	}
	return p.source.Process(ref)
}

// describe translates a process. A container's users are its own: the host's
// names for them would mislead.
func (p *process) describe(k sensor.Process, host bool) *rules.Process {
	d := &rules.Process{
		PID: k.Ref.PID, Start: k.Start, Executable: k.Executable, Name: k.Name,
		Args: p.redactions.of(k.Args), UID: k.UID,
	}
	if host || k.UID == 0 {
		d.User = p.users.name(k.UID)
	}
	return d
}

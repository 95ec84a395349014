package enrich

import (
	"slices"
	"sync"
	"time"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// Bounds of what lines remembers.
const (
	maxLines  = 1024
	lineLives = 10 * time.Second // users are renamed
)

// lines remembers how processes and their parents were described: a process makes
// many flows, and to describe it anew for each was a third of the agent's
// processor time and three quarters of its garbage. What it gives is shared by
// many observations: nobody may change it.
type lines struct {
	users      *users
	redactions *redactions

	mu    sync.Mutex
	known map[sensor.ProcessRef]line
}

// line is a process and its parents: as they were, and as they are described.
type line struct {
	of      []sensor.Process
	until   time.Time
	process *rules.Process
	parents []rules.Process
}

func newLines(u *users) *lines {
	return &lines{users: u, redactions: newRedactions(), known: map[sensor.ProcessRef]line{}}
}

// of describes the first process of the ancestry, and the rest as its parents.
func (l *lines) of(ancestry []sensor.Process) (*rules.Process, []rules.Process) {
	now := time.Now()
	l.mu.Lock()
	known, ok := l.known[ancestry[0].Ref]
	l.mu.Unlock()
	if ok && now.Before(known.until) && slices.EqualFunc(known.of, ancestry, unchanged) {
		return known.process, known.parents
	}
	fresh := l.describe(ancestry)
	fresh.until = now.Add(lineLives)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.known[ancestry[0].Ref]; !ok && len(l.known) >= maxLines {
		clear(l.known)
	}
	l.known[ancestry[0].Ref] = fresh
	return fresh.process, fresh.parents
}

// unchanged says whether a process is still what it was: exec changes all but its
// reference.
func unchanged(a, b sensor.Process) bool {
	return a.Ref == b.Ref && a.Executable == b.Executable && a.Name == b.Name && a.UID == b.UID &&
		a.Start.Equal(b.Start) && a.CgroupPath == b.CgroupPath && slices.Equal(a.Args, b.Args)
}

func (l *lines) describe(ancestry []sensor.Process) line {
	first := &ancestry[0]
	host := first.CgroupPath == "" || parseCgroup(first.CgroupPath).ID == ""
	out := line{of: slices.Clone(ancestry)}
	for i := range ancestry {
		d := l.one(&ancestry[i], host)
		if i == 0 {
			out.process = &d
			continue
		}
		out.parents = append(out.parents, d)
	}
	return out
}

// one translates a process. A container's users are its own: the host's names for
// them would mislead.
func (l *lines) one(k *sensor.Process, host bool) rules.Process {
	d := rules.Process{
		PID: k.Ref.PID, Start: k.Start, Executable: k.Executable, Name: k.Name,
		Args: l.redactions.of(k.Args), UID: k.UID,
	}
	if host || k.UID == 0 {
		d.User = l.users.name(k.UID)
	}
	return d
}

package sensor

import (
	"container/list"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"sallyport/bpf"
)

// userTick is the unit of /proc/PID/stat's start time: USER_HZ is 100 on every
// architecture we run on.
const userTick = 10 * time.Millisecond

// cgroupAge is how long the cgroup path of a live process is believed: a
// container runtime or systemd may move it.
const cgroupAge = 5 * time.Second

// processKey identifies a process by what both /proc and the kernel's records
// give: no number is used twice within a tick.
type processKey struct {
	pid   uint32
	ticks uint64
}

func keyOf(ref ProcessRef) processKey {
	return processKey{ref.PID, ref.Start / uint64(userTick)}
}

// known is a process in the cache.
type known struct {
	Process
	looked time.Time // when its cgroup was read from /proc
}

// processCache remembers processes, and for a while those that have gone. The
// least recently changed goes first when it is full.
type processCache struct {
	keep  time.Duration
	limit int
	boot  time.Time

	mu      sync.Mutex
	entries map[processKey]*list.Element // of *known
	live    map[uint32]processKey
	order   *list.List // oldest first
	lost    uint64
}

func newProcessCache(limit int, keep time.Duration) *processCache {
	return &processCache{
		limit: limit, keep: keep, boot: bootTime(),
		entries: map[processKey]*list.Element{}, live: map[uint32]processKey{}, order: list.New(),
	}
}

// scan reads every process of /proc.
func (c *processCache) scan() {
	folder, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		if p, ok := readProcess(uint32(pid), c.boot); ok {
			c.put(p)
		}
	}
}

// put adds or replaces a process.
func (c *processCache) put(p Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store(&known{Process: p})
}

func (c *processCache) store(k *known) {
	key := keyOf(k.Ref)
	if old := c.entries[key]; old != nil {
		c.order.Remove(old)
	}
	c.entries[key] = c.order.PushBack(k)
	if k.Exited.IsZero() {
		c.live[k.Ref.PID] = key
	}
	for c.order.Len() > c.limit {
		c.remove(c.order.Front())
		c.lost++
	}
}

func (c *processCache) remove(e *list.Element) {
	k := c.order.Remove(e).(*known)
	key := keyOf(k.Ref)
	delete(c.entries, key)
	if c.live[k.Ref.PID] == key {
		delete(c.live, k.Ref.PID)
	}
}

func (c *processCache) find(ref ProcessRef) *known {
	if e := c.entries[keyOf(ref)]; e != nil {
		return e.Value.(*known)
	}
	return nil
}

// exec sets what a process runs from now on.
func (c *processCache) exec(e *bpf.Process) {
	p := Process{
		Ref:        ProcessRef{PID: e.Owner.TGID, Start: e.Owner.Start},
		Parent:     ProcessRef{PID: e.Parent, Start: e.ParentStart},
		Start:      c.boot.Add(time.Duration(e.Owner.Start)),
		Executable: executableOf(e),
		Name:       e.Owner.Comm,
		Args:       e.Exec.Args,
		UID:        e.Owner.UID,
		CgroupPath: e.Exec.Cgroup,
		CgroupID:   e.Owner.Cgroup,
	}
	if e.Exec.ArgsCut {
		p.Args = append(p.Args, "...")
	}
	c.put(p)
}

// executableOf prefers the path the kernel resolved over the name that was given,
// which may be relative, a script, or /dev/fd/3.
func executableOf(e *bpf.Process) string {
	path := e.Exec.Path
	if !e.Exec.PathWhole {
		if link, err := os.Readlink(procPath(e.Owner.TGID, "exe")); err == nil {
			return link
		}
		if e.Exec.Filename != "" && e.Exec.Filename[0] == '/' {
			path = e.Exec.Filename
		}
	}
	if e.Exec.Deleted {
		path += " (deleted)"
	}
	return path
}

// fork makes a child like its parent, until it calls exec.
func (c *processCache) fork(e *bpf.Process) {
	ref := ProcessRef{PID: e.Owner.TGID, Start: e.Owner.Start}
	parent := ProcessRef{PID: e.Parent, Start: e.ParentStart}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.find(ref) != nil {
		return
	}
	k := &known{Process: Process{
		Ref: ref, Parent: parent, Start: c.boot.Add(time.Duration(ref.Start)),
		Name: e.Owner.Comm, UID: e.Owner.UID, CgroupID: e.Owner.Cgroup,
	}}
	if p := c.find(parent); p != nil {
		k.Executable, k.Args, k.CgroupPath = p.Executable, p.Args, p.CgroupPath
	}
	c.store(k)
}

// exit marks a process as gone.
func (c *processCache) exit(e *bpf.Process, at time.Time) {
	ref := ProcessRef{PID: e.Owner.TGID, Start: e.Owner.Start}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.find(ref)
	if k == nil {
		k = &known{Process: Process{
			Ref: ref, Parent: ProcessRef{PID: e.Parent, Start: e.ParentStart}, Start: c.boot.Add(time.Duration(ref.Start)),
			Name: e.Owner.Comm, UID: e.Owner.UID, CgroupID: e.Owner.Cgroup,
		}}
	}
	k.Exited = at
	delete(c.live, ref.PID)
	c.store(k) // to the back: exits are in order
}

// expire forgets what has been gone for long. Live processes are moved back, out
// of its way.
func (c *processCache) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := c.order.Len(); n > 0; n-- {
		front := c.order.Front()
		k := front.Value.(*known)
		switch {
		case k.Exited.IsZero():
			c.order.MoveToBack(front)
		case now.Sub(k.Exited) > c.keep:
			c.remove(front)
		default:
			return
		}
	}
}

// get returns what is known of a process, reading /proc where the cache has
// nothing or may be stale.
func (c *processCache) get(ref ProcessRef) (Process, bool) {
	if ref.PID == 0 {
		return Process{}, false
	}
	now := time.Now()
	c.mu.Lock()
	k := c.find(ref)
	var p Process
	fresh := k != nil
	if fresh {
		p = k.Process
		// One whose executable cannot be read is not asked for it at every flow.
		fresh = p.Executable != "" && !p.Exited.IsZero() || now.Sub(k.looked) < cgroupAge
	}
	c.mu.Unlock()
	if fresh {
		return clone(p), true
	}
	read, ok := readProcess(ref.PID, c.boot)
	if !ok || keyOf(read.Ref) != keyOf(ref) { // gone, or the number is another's
		return c.gone(ref, now)
	}
	if p.Ref.PID != 0 {
		read.Ref, read.Parent, read.Start, read.CgroupID = p.Ref, p.Parent, p.Start, p.CgroupID
		if p.Executable != "" {
			read.Executable = p.Executable
		}
	} else {
		read.Ref = ref
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.find(ref); k != nil && !k.Exited.IsZero() {
		return clone(k.Process), true
	}
	c.store(&known{Process: read, looked: now})
	return clone(read), true
}

// gone takes a process that is there no more for ended, where its exit was lost,
// and gives what was known of it.
func (c *processCache) gone(ref ProcessRef, now time.Time) (Process, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.find(ref)
	if k == nil {
		return Process{}, false
	}
	if k.Exited.IsZero() {
		k.Exited = now
		c.store(k)
		delete(c.live, ref.PID)
	}
	return clone(k.Process), true
}

// started gives the processes that began since then.
func (c *processCache) started(since time.Time) (found []Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Front(); e != nil; e = e.Next() {
		if k := e.Value.(*known); !k.Start.Before(since) {
			found = append(found, clone(k.Process))
		}
	}
	return found
}

func clone(p Process) Process {
	p.Args = slices.Clone(p.Args)
	return p
}

func (c *processCache) evicted() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

package enrich

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// cache is a process source that a test changes.
type cache map[sensor.ProcessRef]sensor.Process

func (c cache) Process(ref sensor.ProcessRef) (sensor.Process, bool) {
	p, ok := c[ref]
	return p, ok
}

// A process that is described once is described anew when it has executed
// something else, or when a parent has.
func TestDescriptionFollowsExec(t *testing.T) {
	shell, child := sensor.ProcessRef{PID: 10, Start: 1}, sensor.ProcessRef{PID: 11, Start: 2}
	c := cache{
		shell: {Ref: shell, Executable: "/bin/sh", Args: []string{"sh"}},
		child: {Ref: child, Parent: shell, Executable: "/bin/sh", Args: []string{"sh"}},
	}
	p := newProcess(c, "/nonexistent")
	seen := func() []string {
		var o rules.Observation
		p.enrich(&o, sensor.OwnerRef{Process: child})
		out := []string{o.Owner.Process.Executable}
		for _, parent := range o.Owner.Parents {
			out = append(out, parent.Executable)
		}
		return append(out, o.Owner.Process.Args...)
	}
	for _, step := range []struct {
		change func()
		want   []string
	}{
		{func() {}, []string{"/bin/sh", "/bin/sh", "sh"}},
		{func() {
			c[child] = sensor.Process{Ref: child, Parent: shell, Executable: "/usr/bin/curl", Args: []string{"curl", "-s"}}
		}, []string{"/usr/bin/curl", "/bin/sh", "curl", "-s"}},
		{func() { c[shell] = sensor.Process{Ref: shell, Executable: "/bin/bash"} }, []string{"/usr/bin/curl", "/bin/bash", "curl", "-s"}},
		{func() { delete(c, shell) }, []string{"/usr/bin/curl", "curl", "-s"}},
	} {
		step.change()
		for range 2 {
			if diff := cmp.Diff(step.want, seen()); diff != "" {
				t.Fatal(diff)
			}
		}
	}
}

func TestKnownLineAllocatesNothing(t *testing.T) {
	c := cache{}
	for i := range uint32(maxParents + 3) {
		c[sensor.ProcessRef{PID: i + 1}] = sensor.Process{Ref: sensor.ProcessRef{PID: i + 1}, Parent: sensor.ProcessRef{PID: i + 2}, Args: []string{"a", "b"}}
	}
	p := newProcess(c, "/nonexistent")
	var o rules.Observation
	owner := sensor.OwnerRef{Process: sensor.ProcessRef{PID: 1}, Attribution: rules.AttributionExact}
	if n := testing.AllocsPerRun(100, func() { p.enrich(&o, owner) }); n > 0 {
		t.Errorf("%v allocations for a process that is known", n)
	}
	if len(o.Owner.Parents) != maxParents {
		t.Errorf("%d parents, the bound is %d", len(o.Owner.Parents), maxParents)
	}
}

func TestLinesAreBounded(t *testing.T) {
	l := newLines(newUsers("/nonexistent"))
	for i := range uint32(maxLines + 10) {
		process, parents := l.of([]sensor.Process{{Ref: sensor.ProcessRef{PID: i + 1}, Name: "x"}})
		if process.PID != i+1 || len(parents) != 0 {
			t.Fatalf("process %+v, parents %v", process, parents)
		}
	}
	if n := len(l.known); n > maxLines {
		t.Errorf("%d are remembered, the bound is %d", n, maxLines)
	}
	if !slices.Equal(l.redactions.of([]string{"a"}), []string{"a"}) {
		t.Error("arguments are lost")
	}
}

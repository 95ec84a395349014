package sensor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/bpf"
)

func event(kind bpf.Kind, pid uint32, start time.Duration, parent uint32, exec *bpf.Exec) *bpf.Process {
	return &bpf.Process{
		Kind: kind, Owner: bpf.Owner{TGID: pid, Start: uint64(start), Comm: "comm", UID: 7},
		Parent: parent, ParentStart: uint64(time.Second), Exec: exec,
	}
}

// A process whose exit was lost is found to be gone when it is asked for, and
// forgotten like any other then.
func TestLostExitIsNoticed(t *testing.T) {
	c := newProcessCache(10, time.Minute)
	ref := ProcessRef{childPID, uint64(time.Second)}
	c.exec(event(bpf.KindExec, childPID, time.Second, 1, &bpf.Exec{Path: "/opt/vpn", PathWhole: true}))
	if got, ok := c.get(ref); !ok || got.Exited.IsZero() || got.Executable != "/opt/vpn" {
		t.Errorf("%+v, %v: want what was known, and that it has ended", got, ok)
	}
	c.expire(time.Now().Add(2 * time.Minute))
	if _, ok := c.get(ref); ok {
		t.Error("it is remembered for ever")
	}
}

// Numbers above the kernel's largest PID (2^22): /proc has none of them.
const (
	parentPID = 1<<22 + 1 + iota
	childPID
)

func TestProcessCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newProcessCache(3, time.Minute)
		parent := ProcessRef{parentPID, uint64(time.Second)}
		c.exec(event(bpf.KindExec, parentPID, time.Second, 1, &bpf.Exec{
			Filename: "./vpn", Path: "/opt/vpn", PathWhole: true, Args: []string{"vpn", "-c"}, Cgroup: "/pod",
		}))
		child := ProcessRef{childPID, uint64(2 * time.Second)}
		c.fork(event(bpf.KindFork, childPID, 2*time.Second, parentPID, nil))
		got, ok := c.get(child)
		if !ok || got.Executable != "/opt/vpn" || got.CgroupPath != "/pod" || got.Parent != parent || got.UID != 7 {
			t.Errorf("child %+v, %v", got, ok)
		}
		if _, ok := c.get(ProcessRef{childPID, uint64(3 * time.Second)}); ok {
			t.Error("a number that was used again is taken for the old process")
		}
		c.exit(event(bpf.KindExit, childPID, 2*time.Second, parentPID, nil), time.Now())
		c.expire(time.Now().Add(50 * time.Second))
		if got, ok := c.get(child); !ok || got.Exited.IsZero() {
			t.Errorf("just gone: %+v, %v", got, ok)
		}
		c.expire(time.Now().Add(2 * time.Minute))
		if _, ok := c.get(child); ok {
			t.Error("long gone is still known")
		}
		if _, ok := c.get(parent); !ok {
			t.Error("the live parent was forgotten")
		}
		for i := range uint32(5) {
			c.fork(event(bpf.KindFork, childPID+10+i, time.Hour, parentPID, nil))
		}
		if c.order.Len() != 3 || len(c.entries) != 3 || c.evicted() != 3 {
			t.Errorf("%d entries, %d evicted", c.order.Len(), c.evicted())
		}
	})
}

func TestExecutable(t *testing.T) {
	for name, c := range map[string]struct {
		exec bpf.Exec
		want string
	}{
		"resolved":      {bpf.Exec{Filename: "sh", Path: "/usr/bin/sh", PathWhole: true}, "/usr/bin/sh"},
		"memfd":         {bpf.Exec{Filename: "/dev/fd/3", Path: "/memfd:x", PathWhole: true, Deleted: true}, "/memfd:x (deleted)"},
		"path cut":      {bpf.Exec{Filename: "/deep/tool", Path: "/tool"}, "/deep/tool"},
		"relative, cut": {bpf.Exec{Filename: "tool", Path: "/x/tool"}, "/x/tool"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := executableOf(event(bpf.KindExec, childPID, 1, 1, &c.exec)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestParseStat(t *testing.T) {
	start, parent, name, ok := parseStat("12 (a) b) c) S 34 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 8192 0")
	if !ok || start != 7_770_000_000 || parent != 34 || name != "a) b) c" {
		t.Error(start, parent, name, ok)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 (x) S 2", ") (", "1 (x) S a 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 b"} {
		if _, _, _, ok := parseStat(bad); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestParseCgroup(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"v2":          {"0::/system.slice/ssh.service\n", "/system.slice/ssh.service"},
		"hybrid":      {"4:memory:/docker/abc\n1:name=systemd:/x\n0::/\n", "/docker/abc"},
		"hybrid, sys": {"4:memory:/\n1:name=systemd:/user.slice\n0::/\n", "/user.slice"},
		"joined":      {"4:cpu,memory:/a:b\n0::/\n", "/a:b"},
		"root":        {"0::/\n", "/"},
		"nothing":     {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parseCgroup(c.text); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestParseMaps(t *testing.T) {
	maps := "55d0-55d1 r--p 00000000 08:01 77      /usr/bin/x\n" +
		"55d1-55d2 r-xp 00000000 08:01 77      /usr/bin/x\n" +
		"7f00-7f01 r-xp 00000000 08:01 78      /usr/lib/with space.so (deleted)\n" +
		"7f01-7f02 r-xp 00000000 00:00 0 \n" +
		"7f02-7f03 r-xp 00000000 00:00 0       [vdso]\n"
	want := []string{"/usr/bin/x", "/usr/lib/with space.so (deleted)"}
	if diff := cmp.Diff(want, parseMaps(maps)); diff != "" {
		t.Error(diff)
	}
}

func TestParseInterface(t *testing.T) {
	for info, want := range map[string]string{"pos:\t0\nflags:\t0100002\niff:\ttun7\n": "tun7", "pos:\t0\niff:\t\n": "", "pos:\t0\n": ""} {
		if got, ok := parseInterface(info); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", info, got, ok)
		}
	}
}

func TestUDPFlowsAreBounded(t *testing.T) {
	u := newUDPFlows(2)
	for i := range uint64(2) {
		if u.put(&bpf.Flow{Cookie: i}) {
			t.Errorf("%d pushed another out", i)
		}
	}
	if u.put(&bpf.Flow{Cookie: 0, BytesOut: 9}) {
		t.Error("a known flow needs no room")
	}
	if !u.put(&bpf.Flow{Cookie: 2}) {
		t.Error("the third fits in a table of two")
	}
	if got := u.take(0); len(got) != 1 || got[0].BytesOut != 9 {
		t.Errorf("flow of socket 0: %+v", got)
	}
	if got := u.take(1); len(got) != 0 {
		t.Errorf("the oldest is still there: %+v", got)
	}
}

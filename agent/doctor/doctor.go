// Package doctor says what this host gives Sallyport, and what is not seen
// because of what it does not give.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/agent/sensor"
)

// Level of a check's result.
type Level string

// Levels: Degraded works with a named consequence, Failed does not work.
const (
	OK       Level = "ok"
	Degraded Level = "degraded"
	Failed   Level = "failed"
	Info     Level = "info"
)

// Check is one thing that was looked at.
type Check struct {
	Name        string `json:"name"`
	Level       Level  `json:"level"`
	Found       string `json:"found"`
	Consequence string `json:"consequence,omitempty"` // what is not seen or not kept
	Remedy      string `json:"remedy,omitempty"`
}

// Where the kernel and the resolver say what they are.
const (
	btfFile        = "/sys/kernel/btf/vmlinux"
	resolvConf     = "/etc/resolv.conf"
	lockdownFile   = "/sys/kernel/security/lockdown"
	freeSpaceFloor = 256 << 20 // bytes below which the state folder is called small
)

// proofTime is how long the hooks are given to show data.
const proofTime = 2 * time.Second

// System looks at everything that needs no running agent.
func System(stateDir string) []Check {
	return []Check{kernel(), typeFormat(), lockdown(), capabilities(), processes(), state(stateDir), resolver()}
}

func kernel() Check {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Check{Name: "kernel", Level: Failed, Found: err.Error()}
	}
	c := Check{Name: "kernel", Level: OK, Found: unix.ByteSliceToString(u.Release[:]) + " " + runtime.GOARCH}
	major, minor := 0, 0
	if _, err := fmt.Sscanf(c.Found, "%d.%d", &major, &minor); err != nil {
		return c
	}
	switch {
	case major < 5 || major == 5 && minor < 8:
		c.Level, c.Consequence, c.Remedy = Degraded, "no ring buffer (Linux 5.8): the link sensor works alone, and flows have no owner", "use Linux 5.11 or newer"
	case major == 5 && minor < 11:
		c.Level, c.Consequence, c.Remedy = Degraded, "sockets older than the agent have no owner until they send (Linux 5.11)", "use Linux 5.11 or newer"
	}
	return c
}

func typeFormat() Check {
	if _, err := os.Stat(btfFile); err != nil {
		return Check{
			Name: "btf", Level: Failed, Found: err.Error(),
			Consequence: "the socket sensor cannot be loaded: flows have no owner, only the link sensor works",
			Remedy:      "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
		}
	}
	return Check{Name: "btf", Level: OK, Found: btfFile}
}

func lockdown() Check {
	data, err := os.ReadFile(lockdownFile)
	if err != nil {
		return Check{Name: "lockdown", Level: OK, Found: "none"}
	}
	mode := strings.TrimSpace(string(data))
	if strings.Contains(mode, "[confidentiality]") {
		return Check{
			Name: "lockdown", Level: Failed, Found: mode,
			Consequence: "the kernel refuses BPF programs that read kernel memory: no process cache and no owners",
			Remedy:      "boot with lockdown=integrity",
		}
	}
	return Check{Name: "lockdown", Level: OK, Found: mode}
}

// needed are the capabilities of docs/privileges.md.
var needed = []struct {
	bit         uint
	name        string
	consequence string
}{
	{unix.CAP_BPF, "CAP_BPF", "no BPF program can be loaded: nothing is seen"},
	{unix.CAP_PERFMON, "CAP_PERFMON", "no process cache, no close records, no owners of older sockets"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "no program can be attached to the cgroup: nothing is seen"},
	{unix.CAP_NET_RAW, "CAP_NET_RAW", "no link sensor: ESP, AH, GRE and other traffic without sockets is not seen"},
	{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "no executables of processes older than the agent, no host evidence"},
	{unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "executables that are hidden from this user are not known by content"},
}

func capabilities() Check {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return Check{Name: "capabilities", Level: Failed, Found: err.Error()}
	}
	var missing, consequences []string
	for _, n := range needed {
		if data[n.bit/32].Effective&(1<<(n.bit%32)) == 0 {
			missing = append(missing, n.name)
			consequences = append(consequences, n.consequence)
		}
	}
	if len(missing) == 0 {
		return Check{Name: "capabilities", Level: OK, Found: "all that are needed"}
	}
	return Check{
		Name: "capabilities", Level: Failed, Found: "missing: " + strings.Join(missing, ", "),
		Consequence: strings.Join(consequences, "; "), Remedy: "run as root, or grant them (docs/privileges.md)",
	}
}

func state(dir string) Check {
	c := Check{Name: "state folder", Level: OK, Found: dir}
	existing := dir
	for {
		_, err := os.Stat(existing)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || existing == "/" {
			return Check{Name: c.Name, Level: Failed, Found: err.Error(), Consequence: "nothing can be kept", Remedy: "set state_dir to a folder the agent may write"}
		}
		existing = filepath.Dir(existing)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(existing, &st); err != nil {
		return Check{Name: c.Name, Level: Failed, Found: err.Error()}
	}
	free := st.Bavail * uint64(st.Bsize)
	c.Found = fmt.Sprintf("%s, %d MB free", dir, free>>20)
	if free < freeSpaceFloor {
		c.Level, c.Consequence, c.Remedy = Degraded, "the spool may fill before a long outage of the collector ends", "make room, or lower deliver.max_bytes"
	}
	return c
}

// resolver names local stubs: behind one, the client of a name is not seen.
func resolver() Check {
	data, err := os.ReadFile(resolvConf)
	if err != nil {
		return Check{Name: "resolver", Level: Info, Found: err.Error()}
	}
	var servers, stubs []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		servers = append(servers, fields[1])
		if a, err := netip.ParseAddr(fields[1]); err == nil && a.IsLoopback() {
			stubs = append(stubs, fields[1])
		}
	}
	if len(stubs) > 0 {
		return Check{
			Name: "resolver", Level: Info, Found: "local stub at " + strings.Join(stubs, ", "),
			Consequence: "queries that leave the host are the stub's; the client is known from its query to the stub",
		}
	}
	return Check{Name: "resolver", Level: Info, Found: strings.Join(servers, ", ")}
}

// Sensors attaches each sensor for a moment and says what every hook gave.
func Sensors(ctx context.Context, sensors ...sensor.Sensor) []Check {
	var out []Check
	for _, s := range sensors {
		out = append(out, prove(ctx, s)...)
	}
	return out
}

func prove(ctx context.Context, s sensor.Sensor) []Check {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, nobody{}, func() { close(ready) }) }()
	select {
	case err := <-done:
		return []Check{{Name: s.Name() + " sensor", Level: Failed, Found: fmt.Sprint(err), Consequence: "nothing is seen through this sensor"}}
	case <-ready:
	}
	select {
	case <-time.After(proofTime):
	case <-ctx.Done():
	}
	checks := Hooks(s.Name(), s.Hooks())
	cancel()
	if err := <-done; err != nil {
		checks = append(checks, Check{Name: s.Name() + " sensor", Level: Degraded, Found: fmt.Sprintf("detach: %v", err)})
	}
	return checks
}

// Hooks turns the states of a sensor's hooks into checks.
func Hooks(name string, states []sensor.HookState) []Check {
	slices.SortFunc(states, func(a, b sensor.HookState) int { return strings.Compare(a.Name, b.Name) })
	var out []Check
	for _, h := range states {
		c := Check{Name: name + " sensor: " + h.Name, Level: OK, Found: "attached, gives data"}
		switch {
		case !h.Attached:
			c.Level, c.Found, c.Consequence = Degraded, h.Error, h.Consequence
		case !h.Canary:
			c.Level, c.Found, c.Consequence = Info, "attached, no data seen through it in this moment", h.Consequence
		}
		out = append(out, c)
	}
	return out
}

// nobody takes what sensors give and keeps nothing.
type nobody struct{}

func (nobody) Packet(*sensor.Packet)        {}
func (nobody) Record(*sensor.FlowRecord)    {}
func (nobody) Process(*sensor.ProcessEvent) {}

// Worst is the gravest level of the checks.
func Worst(checks []Check) Level {
	worst := OK
	for _, c := range checks {
		switch {
		case c.Level == Failed:
			return Failed
		case c.Level == Degraded:
			worst = Degraded
		}
	}
	return worst
}

package bpf

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
)

func testConfig(t testing.TB) Config {
	t.Helper()
	root, _, err := FindCgroupRoot()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		CgroupRoot: root, RingBytes: 1 << 22, UDPFlows: 1024, Prefixes: 4096, UpdateSeconds: 60, PacePerSecond: 10000,
		Budgets: Budgets{Plain: 512, Candidate: 4096, Handshake: 16384, Attributed: 65536},
	}
}

// Every program must pass this kernel's verifier.
func TestLoad(t *testing.T) {
	testenv.Exclusive(t)
	k, err := Load(testConfig(t))
	if err != nil {
		verifierLog(t, err)
		t.Fatal(err)
	}
	defer k.Close()
	running := release(t)
	for _, a := range k.hooks {
		if a.err != nil && running < since[a.name] {
			t.Logf("%s is not taken, as expected: %v", a.name, a.err)
		} else if a.err != nil {
			verifierLog(t, a.err)
			t.Errorf("%s: %v", a.name, a.err)
		}
	}
}

// since are the kernels below which a hook is known not to load: socket storage
// in BTF tracepoints came with 5.11, the error report with 5.14, cookies in
// iterators with 5.12. Seen on 5.10; 6.1 and 6.18 take all.
var since = map[string]int{"set_state": 5_11, "destroy": 5_11, "error_report": 5_14, "files": 5_12}

// release is the running kernel's version, 6_18 for 6.18.
func release(t *testing.T) int {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major*100 + minor
}

// verifierLog shows the end of the verifier's log, where the reason is.
func verifierLog(t *testing.T, err error) {
	t.Helper()
	var refused *ebpf.VerifierError
	if !errors.As(err, &refused) {
		return
	}
	for _, line := range refused.Log[max(0, len(refused.Log)-40):] {
		t.Log(line)
	}
}

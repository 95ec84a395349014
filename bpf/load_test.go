package bpf

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"

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
	for _, a := range k.hooks {
		if a.err != nil {
			verifierLog(t, a.err)
			t.Errorf("%s: %v", a.name, a.err)
		}
	}
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

package bpf

import (
	"testing"

	"sallyport/agent/testenv"
)

// ceilings bound the instructions that the verifier walks, of a million: a
// change that multiplies them would fail on kernels that prune less. They are
// about half as much again as 6.1 needs, which prunes less than 6.18.
var ceilings = map[string]uint32{
	"exec": 70_000, "fork": 500, "exit": 500, "device": 500,
	"set_state": 2_000, "error_report": 500, "destroy": 1_000,
	"connect4": 1_500, "connect6": 1_500, "sendmsg4": 1_500, "sendmsg6": 1_500, "release": 2_000,
	"ingress": 400_000, "egress": 450_000, "files": 2_000,
}

func TestVerifierCost(t *testing.T) {
	testenv.Exclusive(t)
	k, err := Load(testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for _, a := range k.hooks {
		if a.program == nil {
			continue
		}
		info, err := a.program.Info()
		if err != nil {
			t.Fatal(err)
		}
		n, known := info.VerifiedInstructions()
		if !known {
			t.Skip("this kernel does not tell (needs 5.16)")
		}
		t.Logf("%s: %d", a.name, n)
		if limit := ceilings[a.name]; n > limit {
			t.Errorf("%s: the verifier walks %d instructions, the ceiling is %d", a.name, n, limit)
		}
	}
}

package protocol

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// flowUnderTest is a flow of the tables or of testdata.
type flowUnderTest struct {
	name   string
	proto  uint8
	pieces []sent
}

func flowsUnderTest(t testing.TB) []flowUnderTest {
	t.Helper()
	var all []flowUnderTest
	for _, c := range remoteCases() {
		all = append(all, flowUnderTest{c.name, c.proto(), c.order()})
	}
	files, err := filepath.Glob("testdata/*/*.flow")
	if err != nil || len(files) == 0 {
		t.Fatalf("find captures: %v", err)
	}
	for _, path := range files {
		proto, pieces := loadCaptured(t, path)
		all = append(all, flowUnderTest{path, proto, pieces})
	}
	return all
}

// outcome is the part of an answer that may not depend on how the bytes
// came.
type outcome struct {
	Label, Category, Product string
	State                    State
	Facts                    Facts
}

func (r replayed) outcome() outcome {
	return outcome{r.result.Label, Category(r.result.Label), r.result.Product, r.result.State, *r.facts}
}

// TestSegmentationChangesNothing: however a stream is cut, and however the two
// sides interleave, the final answer and the facts are the same.
func TestSegmentationChangesNothing(t *testing.T) {
	for _, f := range flowsUnderTest(t) {
		if f.proto != 6 {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			want := replay(Detectors(), f.proto, f.pieces).outcome()
			for seed := range uint64(12) {
				random := rand.New(rand.NewPCG(seed, 1))
				got := replay(Detectors(), f.proto, recut(random, f.pieces)).outcome()
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("seed %d: (-whole +cut)\n%s", seed, diff)
				}
			}
		})
	}
}

// recut joins each side's bytes, cuts them anew, and interleaves the sides at
// random. The first byte stays the first sender's: who opens a flow is known by
// the packets, not by the bytes.
func recut(random *rand.Rand, pieces []sent) []sent {
	var sides [2]string
	for _, p := range pieces {
		if p.client {
			sides[0] += p.data
		} else {
			sides[1] += p.data
		}
	}
	limit := 1 + random.IntN(40)
	var out []sent
	for sides[0] != "" || sides[1] != "" {
		i := random.IntN(2)
		if sides[i] == "" {
			i = 1 - i
		}
		n := min(1+random.IntN(limit), len(sides[i]))
		if random.IntN(4) == 0 {
			n = min(len(sides[i]), 1+random.IntN(1460))
		}
		out = append(out, sent{i == 0, sides[i][:n]})
		sides[i] = sides[i][n:]
	}
	return out
}

// TestInterleavingChangesNothing: datagrams of the two sides may overtake each
// other; each side's own order stays.
func TestInterleavingChangesNothing(t *testing.T) {
	for _, f := range flowsUnderTest(t) {
		if f.proto == 6 {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			want := replay(Detectors(), f.proto, f.pieces).outcome()
			for seed := range uint64(8) {
				random := rand.New(rand.NewPCG(seed, 2))
				got := replay(Detectors(), f.proto, interleave(random, f.pieces)).outcome()
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("seed %d: (-sent +interleaved)\n%s", seed, diff)
				}
			}
		})
	}
}

func interleave(random *rand.Rand, pieces []sent) []sent {
	var sides [2][]sent
	for _, p := range pieces {
		i := 1
		if p.client {
			i = 0
		}
		sides[i] = append(sides[i], p)
	}
	var out []sent
	for len(sides[0])+len(sides[1]) > 0 {
		i := random.IntN(2)
		if len(sides[i]) == 0 {
			i = 1 - i
		}
		out = append(out, sides[i][0])
		sides[i] = sides[i][1:]
	}
	return out
}

// TestRepeatsChangeNothing: a datagram may come twice.
func TestRepeatsChangeNothing(t *testing.T) {
	for _, f := range flowsUnderTest(t) {
		if f.proto != 17 || len(f.pieces) > 4 {
			continue // more would push other datagrams out of the window
		}
		t.Run(f.name, func(t *testing.T) {
			want := replay(Detectors(), f.proto, f.pieces).result
			var twice []sent
			for _, p := range f.pieces {
				twice = append(twice, p, p)
			}
			got := replay(Detectors(), f.proto, twice).result
			if got.Label != want.Label || got.State != want.State {
				t.Errorf("sent twice: %q %d, once: %q %d", got.Label, got.State, want.Label, want.State)
			}
		})
	}
}

// TestNobodyIsAccused: flows whose bytes are random, or text, are no category.
func TestNobodyIsAccused(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	var accused []string
	for range 3000 {
		for _, proto := range []uint8{6, 17} {
			var pieces []sent
			for range 1 + random.IntN(6) {
				pieces = append(pieces, sent{random.IntN(2) == 0, noise(1 + random.IntN(300))})
			}
			if r := replay(Detectors(), proto, pieces).result; !Internal(r.Label) {
				accused = append(accused, r.Label+": "+r.Evidence)
			}
		}
	}
	slices.Sort(accused)
	if len(accused) > 0 {
		t.Errorf("of 6000 random flows %d are accused: %v", len(accused), accused[:min(len(accused), 5)])
	}
}

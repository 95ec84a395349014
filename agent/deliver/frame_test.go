package deliver

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testFrames(n int) (encoded []byte, starts []int) {
	for i := range n {
		starts = append(starts, len(encoded))
		encoded = appendFrame(encoded, frame{
			seq: uint64(i + 1), time: time.Unix(1_750_000_000+int64(i), 0),
			id: fmt.Sprintf("finding-%d.1", i+1), finding: fmt.Appendf(nil, `{"id":"finding-%d"}`, i+1),
		})
	}
	return encoded, starts
}

func readAll(b []byte) (seqs []uint64) {
	for len(b) > 0 {
		f, skipped, n, _ := nextFrame(b)
		if n == 0 {
			break
		}
		seqs = append(seqs, f.seq)
		b = b[skipped+n:]
	}
	return seqs
}

func TestFrameRoundTrip(t *testing.T) {
	want := frame{seq: 7, time: time.Unix(1_750_000_000, 5).UTC(), id: "a.1", finding: []byte(`{"x":1}`)}
	got, n, err := decodeFrame(appendFrame(nil, want))
	if err != nil || int64(n) != frameSize(want.id, want.finding) {
		t.Fatalf("decodeFrame = %d, %v", n, err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(frame{})); diff != "" {
		t.Error(diff)
	}
}

// Any single damaged byte costs the frame it is in, and no other.
func TestDamagedByteCostsItself(t *testing.T) {
	sound, starts := testFrames(3)
	for i := range sound {
		for _, flip := range []byte{0x01, 0xFF} {
			b := bytes.Clone(sound)
			b[i] ^= flip
			hurt := 0
			for n, start := range starts {
				if i >= start {
					hurt = n
				}
			}
			var want []uint64
			for n := range starts {
				if n != hurt {
					want = append(want, uint64(n+1))
				}
			}
			if diff := cmp.Diff(want, readAll(b)); diff != "" {
				t.Fatalf("byte %d of frame %d: %s", i-starts[hurt], hurt, diff)
			}
		}
	}
}

// A write that ended early is told from damage at every length.
func TestTornTail(t *testing.T) {
	sound, starts := testFrames(3)
	last := starts[2]
	for cut := last; cut < len(sound); cut++ {
		for _, zeros := range []int{0, 40} {
			b := append(bytes.Clone(sound[:cut]), make([]byte, zeros)...)
			r := scanSegment(b, 1)
			if r.frames != 2 || r.next != 3 || r.end != int64(last) {
				t.Fatalf("cut at %d: %+v", cut-last, r)
			}
			// Zeros in place of content are ambiguous once a header was written: they
			// may read as damage, never as a finding.
			if zeros == 0 && cut > last && (r.tailDamaged || !r.torn) {
				t.Fatalf("cut at %d reads as damage: %+v", cut-last, r)
			}
		}
	}
}

func TestLostBytesInTheMiddle(t *testing.T) {
	sound, starts := testFrames(4)
	b := append(bytes.Clone(sound[:starts[1]+10]), sound[starts[1]+25:]...)
	r := scanSegment(b, 1)
	if r.frames != 3 || r.missing != 1 || r.next != 5 || r.tailDamaged {
		t.Errorf("scan = %+v, want 3 frames and 1 missing", r)
	}
}

func FuzzSegment(f *testing.F) {
	sound, starts := testFrames(3)
	f.Add(sound)
	f.Add(sound[:starts[2]+9])
	f.Add(append(bytes.Clone(sound), 0, 0, 0))
	f.Add(append(bytes.Clone(sound[:20]), sound...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := scanSegment(b, 1)
		if r.end > int64(len(b)) || r.end < 0 {
			t.Fatalf("end %d of %d bytes", r.end, len(b))
		}
		if r.torn && r.tailDamaged {
			t.Fatal("both torn and damaged")
		}
		// Whatever was before, a sound frame after it is found.
		tail := appendFrame(nil, frame{seq: 99, time: time.Unix(0, 0), id: "x.1", finding: []byte("{}")})
		seqs := readAll(append(bytes.Clone(b), tail...))
		if len(seqs) == 0 || seqs[len(seqs)-1] != 99 {
			t.Fatalf("the frame after the bytes is not found: %v", seqs)
		}
	})
}

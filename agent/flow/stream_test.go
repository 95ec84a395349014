package flow

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"sallyport/agent/capture"
	"sallyport/agent/protocol"
)

// piece is a segment of a test's stream.
type piece struct {
	from int
	data []byte
}

// cut gives the stream in segments of random sizes, some twice, some overlapping,
// in random order.
func cut(r *rand.Rand, whole []byte) []piece {
	var pieces []piece
	for at := 0; at < len(whole); {
		size := min(1+r.IntN(200), len(whole)-at)
		pieces = append(pieces, piece{at, whole[at : at+size]})
		if r.IntN(4) == 0 { // retransmitted with more
			from := max(at-r.IntN(50), 0)
			pieces = append(pieces, piece{from, whole[from:min(at+size+r.IntN(50), len(whole))]})
		}
		at += size
	}
	return pieces
}

// disorder moves pieces by up to reach places: more would need more holes than a
// stream keeps.
func disorder(r *rand.Rand, pieces []piece, reach int) {
	for i := range pieces {
		j := min(i+r.IntN(reach), len(pieces)-1)
		pieces[i], pieces[j] = pieces[j], pieces[i]
	}
}

func TestSegmentationChangesNothing(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		whole := make([]byte, 1+r.IntN(6000))
		for i := range whole {
			whole[i] = byte(r.Uint32())
		}
		pieces := cut(r, whole)
		disorder(r, pieces, 6)
		isn := r.Uint32() // sequence numbers wrap
		var s stream
		s.start(isn)
		for _, p := range pieces {
			if _, full := s.add(isn+uint32(p.from), p.data, protocol.MaxStream); full {
				t.Fatalf("seed %d: too many holes", seed)
			}
		}
		if !bytes.Equal(s.ready(), whole) {
			t.Fatalf("seed %d: %d of %d bytes, or other ones", seed, len(s.ready()), len(whole))
		}
	}
}

func TestFirstBytesWin(t *testing.T) {
	var s stream
	s.start(0)
	s.add(4, []byte("EFGH"), 100)
	s.add(2, []byte("cdxxxxij"), 100) // overlaps what waits
	s.add(0, []byte("abyyyyyyyy"), 100)
	if got := string(s.ready()); got != "abcdEFGHij" {
		t.Errorf("got %q", got)
	}
	s.add(0, []byte("zzzzzzzzzzkl"), 100)
	if got := string(s.ready()); got != "abcdEFGHijkl" {
		t.Errorf("got %q", got)
	}
}

func TestStreamLimits(t *testing.T) {
	var s stream
	s.start(0)
	s.add(0, bytes.Repeat([]byte("x"), 90), 100)
	s.add(90, bytes.Repeat([]byte("y"), 90), 100)
	s.add(5000, []byte("far"), 100)
	if len(s.ready()) != 100 || len(s.data) != 100 {
		t.Errorf("%d ready, %d held", len(s.ready()), len(s.data))
	}
	s.reset()
	s.start(0)
	full := false
	for i := range 2 * maxRanges {
		_, f := s.add(uint32(10+10*i), []byte("x"), 10000)
		full = full || f
	}
	if !full || len(s.have) > maxRanges {
		t.Errorf("full %v, %d spans", full, len(s.have))
	}
}

func TestConsume(t *testing.T) {
	var s stream
	s.start(10)
	s.add(10, []byte("abcdef"), 100)
	s.add(20, []byte("kl"), 100)
	s.consume(4)
	if string(s.ready()) != "ef" {
		t.Errorf("%q", s.ready())
	}
	s.add(16, []byte("ghij"), 100)
	if string(s.ready()) != "efghijkl" {
		t.Errorf("%q", s.ready())
	}
}

// TestSegmentationChangesNoAnswer gives the table one conversation in many
// segmentations and orders.
func TestSegmentationChangesNoAnswer(t *testing.T) {
	hello, ready := []byte("hello, and some more bytes that follow"), []byte("ready, and more")
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		table, rec := newTable(ReplayConfig())
		feed(table, conversation()[:3]...)
		for _, side := range []struct {
			from, to netip.AddrPort
			seq      uint32
			data     []byte
		}{{client, server, 101, hello}, {server, client, 901, ready}} {
			pieces := cut(r, side.data)
			for i := range pieces { // shorter pieces than cut makes
				p := pieces[i]
				if n := len(p.data); n > 3 {
					at := 1 + r.IntN(n-2)
					pieces[i].data = p.data[:at]
					pieces = append(pieces, piece{p.from + at, p.data[at:]})
				}
			}
			disorder(r, pieces, 4)
			for _, p := range pieces {
				feed(table, segment(side.from, side.to, capture.ACK, side.seq+uint32(p.from), 1, string(p.data), 3))
			}
		}
		table.Close()
		if got := rec.closed[0].Result; got.State != protocol.Confirmed || got.Evidence != "both" {
			t.Fatalf("seed %d: %+v", seed, got)
		}
	}
}

// FuzzTable feeds packets made of the input's bytes: no panic, and the account
// of bytes comes out even.
func FuzzTable(f *testing.F) {
	f.Add([]byte("\x02\x00\x00hello\x12\x01\x00\x10\x00\x00hello\x10\x01\x00ready"))
	f.Add([]byte{0x1f, 1, 3, 9, 9, 9, 0x3f, 2, 4, 4, 4})
	f.Add([]byte("\x30\x00\x00\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		cfg := DefaultConfig()
		cfg.MaxFlows = 4
		table, rec := newTable(cfg)
		at := time.Duration(0)
		for len(in) >= 4 {
			kind, size := in[0], int(in[2])%64
			seq, body := uint32(in[3])*16, in[4:]
			body = body[:min(size, len(body))]
			from, to := client, server
			if kind&1 != 0 {
				from, to = to, from
			}
			if kind&0x40 != 0 {
				from = netip.AddrPortFrom(from.Addr(), uint16(kind))
			}
			at += time.Duration(in[1]) * time.Second
			p := segment(from, to, in[1]&0x1f, seq, 0, string(body), at)
			if kind&0x20 != 0 {
				p = datagram(from, to, string(body), at)
			}
			p.First, p.ID = kind&0x80 != 0, uint32(kind)
			feed(table, p)
			in = in[4+len(body):]
		}
		table.Close()
		if c := table.Counters(); c.Open != 0 || c.Bytes != 0 || uint64(len(rec.closed)) != c.Flows {
			t.Errorf("%+v, %d closed", c, len(rec.closed))
		}
	})
}

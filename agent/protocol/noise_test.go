package protocol

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// noiseFlows is how many flows of each kind TestNoise makes; SALLYPORT_NOISE_FLOWS
// sets another number.
const noiseFlows = 1500

// tunnelPorts are those on which a port number would mislead.
var tunnelPorts = []uint16{22, 443, 500, 655, 1080, 1194, 1701, 1723, 3389, 3478, 4242, 4500, 4501, 5004, 5555, 5900, 5938, 7070, 7777, 9993, 10000, 17771, 21116, 41641, 51820, 53}

// noiseKind makes the nth payload of a side.
type noiseKind struct {
	name string
	make func(r *rand.Rand, c *noiseState, n int, client bool) []byte
}

// noiseState is what a flow of a kind keeps from datagram to datagram.
type noiseState struct {
	head    []byte
	counter [2]uint64
	step    uint64
	size    int
}

func fill(r *rand.Rand, b []byte) []byte {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// noiseKinds are payloads without meaning, and the shapes that home-made protocols
// have: a fixed head, a counter of either order, a length, a type, padding.
func noiseKinds() []noiseKind {
	random := func(r *rand.Rand, most int) []byte { return fill(r, make([]byte, 1+r.IntN(most))) }
	next := func(c *noiseState, client bool) uint64 {
		i := 0
		if client {
			i = 1
		}
		c.counter[i] += c.step
		return c.counter[i]
	}
	counted := func(order binary.ByteOrder, wide bool) func(*rand.Rand, *noiseState, int, bool) []byte {
		return func(r *rand.Rand, c *noiseState, n int, client bool) []byte {
			b := append([]byte(nil), c.head...)
			if wide {
				order.PutUint64(fill(r, make([]byte, 8)), 0)
				word := make([]byte, 8)
				order.PutUint64(word, next(c, client))
				b = append(b, word...)
			} else {
				word := make([]byte, 4)
				order.PutUint32(word, uint32(next(c, client)))
				b = append(b, word...)
			}
			return append(b, random(r, 300)...)
		}
	}
	sized := func(order binary.ByteOrder, width int) func(*rand.Rand, *noiseState, int, bool) []byte {
		return func(r *rand.Rand, c *noiseState, n int, client bool) []byte {
			body := append(append([]byte(nil), c.head...), random(r, 300)...)
			word := make([]byte, 8)
			if order == binary.LittleEndian {
				order.PutUint64(word, uint64(len(body)))
				return append(word[:width], body...)
			}
			order.PutUint64(word, uint64(len(body)+width*r.IntN(2)))
			return append(word[8-width:], body...)
		}
	}
	return []noiseKind{
		{"random", func(r *rand.Rand, c *noiseState, n int, _ bool) []byte { return random(r, 1400) }},
		{"random, short", func(r *rand.Rand, c *noiseState, n int, _ bool) []byte { return random(r, 24) }},
		{"random of one length", func(r *rand.Rand, c *noiseState, n int, _ bool) []byte { return fill(r, make([]byte, c.size)) }},
		{"zeros", func(r *rand.Rand, c *noiseState, n int, _ bool) []byte { return make([]byte, 1+r.IntN(300)) }},
		{"one byte repeated", func(r *rand.Rand, c *noiseState, n int, _ bool) []byte {
			return []byte(strings.Repeat(string(rune(c.head[0]&0x7f)), 1+r.IntN(300)))
		}},
		{"bytes that count", func(r *rand.Rand, c *noiseState, n int, _ bool) []byte {
			b := random(r, 300)
			for i := range b {
				b[i] = c.head[0] + byte(i)
			}
			return b
		}},
		{"few values", func(r *rand.Rand, c *noiseState, n int, _ bool) []byte {
			b := random(r, 200)
			for i := range b {
				b[i] = []byte{0, 1, 2, 3, 5, 16, 255}[int(b[i])%7]
			}
			return b
		}},
		{"text", func(r *rand.Rand, c *noiseState, n int, _ bool) []byte {
			b := random(r, 200)
			for i := range b {
				b[i] = ' ' + b[i]%95
			}
			return b
		}},
		{"big-endian counter", counted(binary.BigEndian, false)},
		{"little-endian counter", counted(binary.LittleEndian, false)},
		{"big-endian long counter", counted(binary.BigEndian, true)},
		{"little-endian long counter", counted(binary.LittleEndian, true)},
		{"16-bit length", sized(binary.BigEndian, 2)},
		{"32-bit length", sized(binary.BigEndian, 4)},
		{"16-bit length, little endian", sized(binary.LittleEndian, 2)},
		{"32-bit length, little endian", sized(binary.LittleEndian, 4)},
		{"a head, then random", func(r *rand.Rand, c *noiseState, n int, _ bool) []byte {
			return append(append([]byte(nil), c.head...), random(r, 400)...)
		}},
		{"a type of few values, then random", func(r *rand.Rand, c *noiseState, n int, _ bool) []byte {
			return append([]byte{byte(r.IntN(32)), 0, 0, 0}, random(r, 400)...)
		}},
	}
}

// TestNoise: no flow without meaning is called anything, on any port.
func TestNoise(t *testing.T) {
	flows := noiseFlows
	if n, err := strconv.Atoi(os.Getenv("SALLYPORT_NOISE_FLOWS")); err == nil {
		flows = n
	}
	e := NewEngine(Detectors())
	for i, kind := range noiseKinds() {
		t.Run(kind.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(i), uint64(flows)))
			called := map[string]int{}
			for range flows {
				if got := noiseFlow(r, e, kind); !Internal(got.Label) {
					called[got.Label+": "+got.Evidence]++
				}
			}
			for what, n := range called {
				t.Errorf("%d of %d flows are called %s", n, flows, what)
			}
		})
	}
}

func noiseFlow(r *rand.Rand, e *Engine, kind noiseKind) Result {
	c := &noiseState{head: fill(r, make([]byte, 1+r.IntN(12))), step: uint64(1 + r.IntN(3)*r.IntN(200)), size: 1 + r.IntN(200)}
	if r.IntN(2) == 0 { // small numbers are what heads are made of
		for i := range c.head {
			c.head[i] &= 0x0f
		}
	}
	f := &Flow{Proto: 17, ClientPort: uint16(1024 + r.IntN(60000)), ServerPort: tunnelPorts[r.IntN(len(tunnelPorts))], Facts: &Facts{}}
	if r.IntN(2) == 0 {
		f.Proto, f.MidFlow = 6, r.IntN(2) == 0
	}
	var s EngineState
	oneWay := r.IntN(3) == 0
	for n := range 1 + r.IntN(12) {
		client := oneWay || r.IntN(2) == 0
		side := &f.Client
		if !client {
			side = &f.Server
		}
		side.add(f.Proto, string(kind.make(r, c, n, client)))
		if _, _, decided := e.Look(&s, f); decided {
			return s.Best()
		}
	}
	f.Closed = true
	e.Look(&s, f)
	return s.Best()
}

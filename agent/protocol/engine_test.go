package protocol

import (
	"bytes"
	"testing"
)

// fixed is a detector that is a candidate for TCP flows whose client starts with
// first, and answers from a script.
func fixed(name, first string, facts bool, script ...Result) Detector {
	n := 0
	return Detector{
		Name: name, Facts: facts,
		TCP: func(b []byte, fromClient bool) bool { return fromClient && bytes.HasPrefix(b, []byte(first)) },
		Look: func(*Flow) Result {
			r := script[min(n, len(script)-1)]
			n++
			return r
		},
	}
}

func answer(s State, label string) Result { return Result{State: s, Label: label} }

func TestEngine(t *testing.T) {
	more := Result{State: NeedMore}
	not := Result{State: NotThis}
	tests := []struct {
		name    string
		list    []Detector
		want    Result
		decided bool
	}{
		{"nothing", nil, Result{}, false},
		{"not a candidate", []Detector{fixed("a", "zz", false, answer(Confirmed, "a"))}, Result{}, false},
		{"confirmed decides", []Detector{fixed("a", "x", false, answer(Confirmed, "a"))}, answer(Confirmed, "a"), true},
		{"suspected does not", []Detector{fixed("a", "x", false, answer(Suspected, "a"))}, answer(Suspected, "a"), false},
		{"confirmed before suspected", []Detector{
			fixed("a", "x", false, answer(Suspected, "a")), fixed("b", "x", false, answer(Confirmed, "b")),
		}, answer(Confirmed, "b"), false},
		{"order of the list", []Detector{
			fixed("a", "x", false, answer(Suspected, "a")), fixed("b", "x", false, answer(Suspected, "b")),
		}, answer(Suspected, "a"), false},
		{"category before internal label", []Detector{
			fixed("t", "x", true, answer(Confirmed, "tls")), fixed("a", "x", false, answer(Suspected, "a")),
		}, answer(Suspected, "a"), false},
		{"facts may finish", []Detector{
			fixed("a", "x", false, answer(Confirmed, "a")), fixed("t", "x", true, more),
		}, answer(Confirmed, "a"), false},
		{"later ones need not", []Detector{
			fixed("a", "x", false, answer(Confirmed, "a")), fixed("b", "x", false, more),
		}, answer(Confirmed, "a"), true},
		{"earlier ones must", []Detector{
			fixed("a", "x", false, more), fixed("b", "x", false, answer(Confirmed, "b")),
		}, answer(Confirmed, "b"), false},
		{"not this", []Detector{fixed("a", "x", false, not)}, Result{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := NewEngine(tt.list)
			var s EngineState
			f := &Flow{Proto: 6, Client: Side{Stream: []byte("x")}, Facts: &Facts{}}
			got, _, decided := e.Look(&s, f)
			if got != tt.want || decided != tt.decided || s.Best() != tt.want {
				t.Errorf("%+v decided %v, want %+v %v", got, decided, tt.want, tt.decided)
			}
		})
	}
}

func TestEngineWithdraws(t *testing.T) {
	e := NewEngine([]Detector{fixed("a", "x", false, answer(Suspected, "a"), Result{State: NotThis})})
	var s EngineState
	f := &Flow{Proto: 6, Client: Side{Stream: []byte("x")}, Facts: &Facts{}}
	if _, changed, _ := e.Look(&s, f); !changed {
		t.Error("the first answer is no change")
	}
	if _, changed, _ := e.Look(&s, f); !changed || s.Best() != (Result{}) {
		t.Errorf("%+v", s.Best())
	}
	f.Client.Stream = bytes.Repeat([]byte("x"), FirstBytes)
	f.Server.Stream = f.Client.Stream
	if _, changed, decided := e.Look(&s, f); changed || !decided {
		t.Error("nothing is left to ask, and the flow is not decided")
	}
}

// TestEngineLateCandidate: one byte at a time hides nothing, and neither does a
// first datagram of another kind.
func TestEngineLateCandidate(t *testing.T) {
	e := NewEngine([]Detector{fixed("a", "hello", false, answer(Confirmed, "a"))})
	var s EngineState
	f := &Flow{Proto: 6, Facts: &Facts{}}
	for n := range 6 {
		f.Client.Stream = []byte("hello")[:n]
		e.Look(&s, f)
	}
	if s.Best().Label != "a" {
		t.Error("missed")
	}
	udp := Detector{
		UDP:  func(b []byte, n int, _ bool) bool { return len(b) == 9 && n == 99 },
		Look: func(*Flow) Result { return answer(Confirmed, "u") },
	}
	e, s = NewEngine([]Detector{udp}), EngineState{}
	f = &Flow{Proto: 17, Facts: &Facts{}, Client: Side{Datagrams: [][]byte{{1}, make([]byte, 9)}, Lengths: []int{1, 99}}}
	if best, _, decided := e.Look(&s, f); best.Label != "u" || !decided {
		t.Errorf("%+v", best)
	}
}

func TestEngineFacts(t *testing.T) {
	d := fixed("t", "x", true, answer(Suspected, "tls"))
	e := NewEngine([]Detector{d})
	var s EngineState
	f := &Flow{Proto: 6, Client: Side{Stream: []byte("x")}, Facts: &Facts{}}
	e.Look(&s, f)
	f.Facts.TLS = &TLS{SNI: "a.example"}
	if _, changed, _ := e.Look(&s, f); !changed {
		t.Error("new facts are no change")
	}
	if _, changed, _ := e.Look(&s, f); changed {
		t.Error("the same facts are a change")
	}
}

func TestEngineAllocatesNothing(t *testing.T) {
	e := NewEngine([]Detector{fixed("a", "x", false, answer(Suspected, "a")), fixed("b", "x", true, Result{State: NeedMore})})
	f := &Flow{Proto: 6, Client: Side{Stream: []byte("x")}, Facts: &Facts{TLS: &TLS{}}}
	n := testing.AllocsPerRun(100, func() {
		var s EngineState
		e.Look(&s, f)
		e.Look(&s, f)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCategory(t *testing.T) {
	for label, want := range map[string]string{"": "none", "tls": "none", "quic": "none", "rdp": "rdp"} {
		if got := Category(label); got != want {
			t.Errorf("%q is %q", label, got)
		}
	}
}

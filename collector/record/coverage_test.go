package record

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sallyport/rules"
)

// TestStretches follows an agent through a day in which much changes.
func TestStretches(t *testing.T) {
	const silent = 4 * time.Minute
	started := noon.Add(-time.Hour)
	text := ""
	var ended []Coverage
	beat := func(at time.Time, h rules.Heartbeat) {
		t.Helper()
		h.Agent, h.At, h.Version = "web-1", at, "1"
		if h.Started.IsZero() {
			h.Started = started
		}
		o, c, err := extend(text, "web-1", at, h, silent, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if c != nil {
			ended = append(ended, *c)
		}
		out, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		text = string(out)
	}
	good := map[string]string{"connect": "ok", "udp": "ok"}
	lost := func(n uint64) map[string]uint64 { return map[string]uint64{"ring_full": n} }
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }

	beat(minute(0), rules.Heartbeat{Hooks: good, Lost: lost(3)}) // 3 before we heard of it
	beat(minute(1), rules.Heartbeat{Hooks: good, Lost: lost(5)})
	beat(minute(1), rules.Heartbeat{Hooks: good, Lost: lost(5)}) // again: nothing new
	beat(minute(2), rules.Heartbeat{Hooks: map[string]string{"connect": "ok"}, Lost: lost(6)})
	if gone, err := Gone(text); err != nil || strings.Join(gone, " ") != "udp" {
		t.Errorf("gone: %q, %v", gone, err)
	}
	beat(minute(30), rules.Heartbeat{Hooks: good, Lost: lost(6)}) // silent in between
	for n := 31; n <= 95; n++ {
		beat(minute(n), rules.Heartbeat{Hooks: good, Lost: lost(6)})
	}
	beat(minute(96), rules.Heartbeat{Hooks: good, Lost: lost(2), Started: minute(95)}) // started again: 2 since
	beat(minute(97), rules.Heartbeat{Hooks: good, Lost: lost(2), Started: minute(95), Degraded: []string{"no udp"}})

	type row struct {
		from, to int
		lost     uint64
	}
	want := []row{{0, 1, 5}, {1, 2, 1}, {30, 90, 0}, {90, 95, 0}, {96, 96, 2}}
	if len(ended) != len(want) {
		t.Fatalf("%d stretches, want %d: %+v", len(ended), len(want), ended)
	}
	for i, w := range want {
		c := ended[i]
		if !c.From.Equal(minute(w.from)) || !c.To.Equal(minute(w.to)) || c.Lost["ring_full"] != w.lost {
			t.Errorf("stretch %d: %s to %s, lost %v; want minutes %d to %d, lost %d", i, c.From.Format(time.TimeOnly), c.To.Format(time.TimeOnly), c.Lost, w.from, w.to, w.lost)
		}
	}
}

func TestGaps(t *testing.T) {
	at := func(h int) time.Time { return noon.Add(time.Duration(h) * time.Hour) }
	a := AgentCoverage{Stretches: []Coverage{{From: at(5), To: at(7)}, {From: at(-2), To: at(1)}, {From: at(6), To: at(8)}, {From: at(9), To: at(20)}}}
	a.sum(at(0), at(10))
	var got []string
	for _, g := range a.Unseen {
		got = append(got, g.From.Format("15")+"-"+g.To.Format("15"))
	}
	if strings.Join(got, " ") != "13-17 20-21" || a.Covered != 5*time.Hour {
		t.Errorf("unseen %q, covered %s", got, a.Covered)
	}
}

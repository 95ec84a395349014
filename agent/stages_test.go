package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/agent/deliver"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

func TestRelaysMarkTheirOwnFlows(t *testing.T) {
	proxy := sensor.OwnerRef{Process: sensor.ProcessRef{PID: 7, Start: startTick}}
	reused := sensor.OwnerRef{Process: sensor.ProcessRef{PID: 7, Start: 2 * startTick}}
	r := newRelays(unknownProcess)
	before := rules.Observation{Direction: rules.Outbound}
	r.mark(&before, proxy)
	r.mark(&rules.Observation{Direction: rules.Inbound, Hidden: &rules.Hidden{Host: "x", By: "socks5"}}, proxy)
	after := rules.Observation{Direction: rules.Outbound}
	r.mark(&after, proxy)
	other := rules.Observation{Direction: rules.Outbound}
	r.mark(&other, reused)
	if before.Owner.Intermediary != "" || after.Owner.Intermediary != relayProxy || other.Owner.Intermediary != "" {
		t.Errorf("before %q, after %q, another process of the number %q", before.Owner.Intermediary, after.Owner.Intermediary, other.Owner.Intermediary)
	}
	if !strings.Contains(strings.Join(after.Notes, " "), "client unknown") {
		t.Errorf("notes %q do not say that the client is unknown", after.Notes)
	}
}

func TestRelaysAreBounded(t *testing.T) {
	r := newRelays(unknownProcess)
	for i := range uint32(maxRelays + 10) {
		r.mark(&rules.Observation{Direction: rules.Inbound, Local: rules.Endpoint{Port: 53}, Outcome: rules.OutcomeData},
			sensor.OwnerRef{Process: sensor.ProcessRef{PID: i + 1, Start: 1}})
	}
	if len(r.what) != maxRelays || r.full != 10 {
		t.Errorf("%d relays remembered, %d forgotten", len(r.what), r.full)
	}
}

func TestLossInTheWindow(t *testing.T) {
	lost, reads := map[string]uint64{}, 0
	l := newLosses(func() (map[string]uint64, map[string]uint64) {
		reads++
		copied := map[string]uint64{}
		for k, v := range lost {
			copied[k] = v
		}
		return copied, nil
	}, func() []string { return nil })
	start := time.Now()
	l.sample(start)
	l.sample(start.Add(lossEvery - 1))
	if reads != 1 {
		t.Errorf("the counters were read %d times for one sample", reads)
	}
	lost["ring_full"] = 5
	l.sample(start.Add(lossEvery))
	lost["ring_full"] = 7
	tests := []struct {
		name  string
		first time.Time
		want  *rules.Loss
	}{
		{"all of it", start.Add(time.Second), &rules.Loss{Lost: map[string]uint64{"ring_full": 7}}},
		{"the newest only", start.Add(lossEvery + time.Second), &rules.Loss{Lost: map[string]uint64{"ring_full": 2}}},
		{"older than the agent", start.Add(-time.Hour), &rules.Loss{Lost: map[string]uint64{"ring_full": 7}}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, l.since(test.first, start.Add(2*lossEvery))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	l.sample(start.Add(2 * lossEvery))
	if got := l.since(start.Add(2*lossEvery+time.Second), start.Add(3*lossEvery)); got != nil {
		t.Errorf("nothing was lost since, got %+v", got)
	}
}

func TestQueuesNeverBlockAndCount(t *testing.T) {
	q := newQueues()
	for range ordinaryQueue + 3 {
		q.put(observed{}, false)
	}
	q.put(observed{}, true)
	want := map[string]uint64{dropOrdinary: 3, dropAttributed: 0}
	if diff := cmp.Diff(want, q.drops()); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
	if len(q.attributed) != 1 {
		t.Error("ordinary flows pushed out an attributed one")
	}
}

func TestSelfFindingsAreValid(t *testing.T) {
	t.Setenv(hostEnv, "testhost")
	cfg, err := LoadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	l, err := loadRules(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	a := &Agent{cfg: cfg, version: "test", live: rules.NewLive(l.set)}
	for _, kind := range []string{deliver.EventCorrupt, deliver.EventGivenUp, deliver.EventDiskFull, deliver.EventDiskWrites, deliver.EventParked, deliver.EventRefused, deliver.EventClock, deliver.EventRenewal} {
		f := a.ofSelf(deliver.Event{Kind: kind, Detail: "what happened", Findings: 3})
		if err := f.Validate(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	one, other := a.selfFinding(stalePack, "a", "over", time.Now().UTC()), a.selfFinding(stalePack, "b", "over", time.Now().UTC())
	if err := one.Validate(); err != nil || one.Rule.ID != "sallyport.agent.stale_pack" || one.ID == other.ID {
		t.Errorf("stale packs: %+v, %v", one, err)
	}
}

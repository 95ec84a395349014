package agent

import (
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/rules"
)

// Heartbeat is what the agent says of itself.
func (a *Agent) Heartbeat() rules.Heartbeat {
	lost, dropped := a.lossCounters()
	flows, _ := a.pipeline.counters()
	config, err := a.cfg.Effective()
	if err != nil {
		a.log.Warn("effective configuration not shown", "error", err)
	}
	return rules.Heartbeat{
		Agent: a.cfg.Host, Version: a.version, Packs: a.live.Set().PackNames(), Kernel: kernelRelease(),
		Started: a.started, At: time.Now().UTC(),
		Hooks: a.hooks(), Degraded: append(a.degraded(), a.packComplaints(time.Now())...), Lost: lost, Dropped: dropped,
		Spool: a.spool.State(), Flows: flows.Flows, Config: config,
		Relays: a.relays.seen(), PrivateDNS: a.askers.seen(a.sensors[0].Process),
	}
}

func (a *Agent) info() rules.AgentInfo {
	return rules.AgentInfo{Name: a.cfg.Host, Version: a.version, Pack: strings.Join(a.live.Set().PackNames(), ", ")}
}

// hooks gives the state of every hook in a word or a consequence.
func (a *Agent) hooks() map[string]string {
	out := map[string]string{}
	for _, s := range a.sensors {
		for _, h := range s.Hooks() {
			name := s.Name() + "/" + h.Name
			switch {
			case h.Attached && h.Canary:
				out[name] = "ok"
			case h.Attached:
				out[name] = "attached, no data seen through it yet"
			default:
				out[name] = h.Consequence
			}
		}
	}
	return out
}

// degraded names what is not seen.
func (a *Agent) degraded() []string {
	var out []string
	for _, s := range a.sensors {
		for _, h := range s.Hooks() {
			if !h.Attached && h.Consequence != "" {
				out = append(out, h.Consequence)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// lossCounters adds up what every stage lost and dropped, by stage and reason.
func (a *Agent) lossCounters() (lost, dropped map[string]uint64) {
	lost, dropped = map[string]uint64{}, map[string]uint64{}
	add := func(to map[string]uint64, stage string, from map[string]uint64) {
		for reason, n := range from {
			if n > 0 {
				to[stage+"/"+reason] += n
			}
		}
	}
	for _, s := range a.sensors {
		c := s.Counters()
		add(lost, s.Name(), c.Lost)
		add(dropped, s.Name(), c.Dropped)
	}
	flows, garbled := a.pipeline.counters()
	add(dropped, "flow", flows.Dropped)
	add(dropped, "flow", map[string]uint64{"undecodable_packet": garbled, dropWatch: a.pipeline.unwatched()})
	add(dropped, "judge", a.queues.drops())
	add(dropped, "naming", a.names.Stats().Dropped)
	add(dropped, "history", map[string]uint64{"not_remembered": a.history.Stats().Dropped})
	add(dropped, "spool", a.spool.Dropped())
	add(dropped, "flow_log", map[string]uint64{"not_written": a.flowLog.Dropped()})
	return lost, dropped
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// sortedKeys lists a map's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

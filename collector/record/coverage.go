package record

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// Coverage is a stretch of time in which an agent's heartbeats came without a
// break and said the same of what it can see. Times are the collector's.
type Coverage struct {
	Agent    string            `json:"agent"`
	From     time.Time         `json:"from"`
	To       time.Time         `json:"to"`
	Version  string            `json:"version"`
	Kernel   string            `json:"kernel,omitempty"`
	Packs    []string          `json:"packs,omitempty"`
	Hooks    map[string]string `json:"hooks,omitempty"`
	Degraded []string          `json:"degraded,omitempty"`
	Relays   []string          `json:"relays,omitempty"`
	Lost     map[string]uint64 `json:"lost,omitempty"`    // in this stretch
	Dropped  map[string]uint64 `json:"dropped,omitempty"` // in this stretch
	Skew     time.Duration     `json:"skew_ns"`           // the largest, of the agent's clock
	Started  time.Time         `json:"started"`           // the agent's process, by its own clock
	Beats    int               `json:"heartbeats"`
}

// open is a stretch that goes on.
type open struct {
	Coverage
	// The agent's own counters, which run from its start: where they stood when the
	// stretch began, and where they stand.
	LostBefore, DroppedBefore map[string]uint64
	LostNow, DroppedNow       map[string]uint64
	// Once are the hooks that were "ok" at some time.
	Once []string
}

// CoverageStore keeps the open stretches.
type CoverageStore interface {
	CoverageOf(ctx context.Context, agent string) (string, error)
	SaveCoverage(ctx context.Context, agent, document string) error
}

// Keeper makes stretches of heartbeats.
type Keeper struct {
	cfg    Config
	store  CoverageStore
	stream Stream
	// silent is how long without a heartbeat ends a stretch.
	silent time.Duration
}

// NewKeeper makes one; silent is how long without a heartbeat is silence.
func NewKeeper(cfg Config, s CoverageStore, st Stream, silent time.Duration) *Keeper {
	return &Keeper{cfg, s, st, silent}
}

// Heartbeat takes what an agent says of itself.
func (k *Keeper) Heartbeat(ctx context.Context, agent string, at time.Time, h rules.Heartbeat) error {
	at = at.UTC().Truncate(time.Microsecond)
	text, err := k.store.CoverageOf(ctx, agent)
	if err != nil {
		return err
	}
	now, ended, err := extend(text, agent, at, h, k.silent, k.cfg.Stretch)
	if err != nil {
		return err
	}
	if ended != nil {
		// First the stream, then the store: a crash in between says it again, under
		// the same id, which is harmless.
		if err := k.stream.Append(ctx, []stream.Entry{coverageEntry(*ended, at)}); err != nil {
			return err
		}
	}
	document, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("encode coverage: %w", err)
	}
	return k.store.SaveCoverage(ctx, agent, string(document))
}

// extend adds a heartbeat to the stretch that is open, or ends that and begins
// another.
func extend(text, agent string, at time.Time, h rules.Heartbeat, silent, longest time.Duration) (open, *Coverage, error) {
	var o open
	if text != "" {
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			return open{}, nil, fmt.Errorf("decode coverage of %s: %w", agent, err)
		}
	}
	if o.Beats > 0 && !at.After(o.To) {
		return o, nil, nil // two collectors took heartbeats out of order
	}
	skew := h.At.Sub(at)
	if o.Beats > 0 && o.goesOn(at, h, silent) {
		o.add(at, h, skew)
		if at.Sub(o.From) < longest {
			return o, nil, nil
		}
		ended := o.Coverage
		return o.next(at, h, skew, o.To), &ended, nil
	}
	if o.Beats == 0 {
		return o.next(at, h, skew, at), nil, nil
	}
	ended := o.Coverage
	from := at
	if at.Sub(o.To) <= silent && h.Started.Equal(o.Started) {
		from = o.To // it was there, and what it could see changed at some time between
	}
	o.Agent = agent
	return o.next(at, h, skew, from), &ended, nil
}

// goesOn says whether a heartbeat says what those before it said.
func (o *open) goesOn(at time.Time, h rules.Heartbeat, silent time.Duration) bool {
	return at.Sub(o.To) <= silent && h.Started.Equal(o.Started) && h.Version == o.Version && h.Kernel == o.Kernel &&
		slices.Equal(h.Packs, o.Packs) && maps.Equal(h.Hooks, o.Hooks) && slices.Equal(h.Degraded, o.Degraded) && slices.Equal(h.Relays, o.Relays)
}

func (o *open) add(at time.Time, h rules.Heartbeat, skew time.Duration) {
	o.To = at
	o.Beats++
	if skew.Abs() > o.Skew.Abs() {
		o.Skew = skew
	}
	o.LostNow, o.DroppedNow = h.Lost, h.Dropped
	o.Lost, o.Dropped = grown(o.LostBefore, h.Lost), grown(o.DroppedBefore, h.Dropped)
}

// next begins a stretch after this one. Counters go on where the agent's process
// is the same; what it lost before its first heartbeat counts as well.
func (o *open) next(at time.Time, h rules.Heartbeat, skew time.Duration, from time.Time) open {
	n := open{
		Coverage: Coverage{
			Agent: h.Agent, From: from, Version: h.Version, Kernel: h.Kernel, Packs: h.Packs, Hooks: h.Hooks, Degraded: h.Degraded,
			Relays: h.Relays, Started: h.Started,
		},
		Once: slices.Clone(o.Once),
	}
	if o.Beats > 0 && h.Started.Equal(o.Started) {
		n.LostBefore, n.DroppedBefore = o.LostNow, o.DroppedNow
	}
	for hook, state := range h.Hooks {
		if state == hookGood && !slices.Contains(n.Once, hook) {
			n.Once = append(n.Once, hook)
		}
	}
	slices.Sort(n.Once)
	n.add(at, h, skew)
	return n
}

// hookGood is the state of a hook that is attached.
const hookGood = "ok"

// grown is how much counters have grown, without those that have not.
func grown(before, now map[string]uint64) map[string]uint64 {
	var out map[string]uint64
	for name, n := range now {
		if n > before[name] {
			if out == nil {
				out = map[string]uint64{}
			}
			out[name] = n - before[name]
		}
	}
	return out
}

// Gone lists the hooks that were attached once and are not now, of a stretch as
// the store keeps it.
func Gone(document string) ([]string, error) {
	o, err := decodeOpen(document)
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, hook := range o.Once {
		if o.Hooks[hook] != hookGood {
			gone = append(gone, hook)
		}
	}
	return gone, nil
}

func decodeOpen(document string) (open, error) {
	var o open
	if err := json.Unmarshal([]byte(document), &o); err != nil {
		return open{}, fmt.Errorf("decode coverage: %w", err)
	}
	return o, nil
}

func coverageEntry(c Coverage, at time.Time) stream.Entry {
	text, err := json.Marshal(c)
	if err != nil { // it holds nothing that cannot be encoded
		panic(err)
	}
	return stream.Entry{
		Agent: c.Agent, Kind: stream.KindCoverage, ID: "coverage." + strconv.FormatInt(c.From.UnixMicro(), 10), Received: at, Document: text,
	}
}

// DecisionEntry is how a reviewer's decision goes into the record.
func DecisionEntry(d store.Decision) (stream.Entry, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return stream.Entry{}, fmt.Errorf("encode decision: %w", err)
	}
	return stream.Entry{Agent: d.Agent, Kind: stream.KindDecision, ID: d.ID, Seq: uint64(d.Key), Received: d.At, Document: text}, nil
}

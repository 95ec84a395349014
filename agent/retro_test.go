package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/agent/control"
	"sallyport/rules"
	"sallyport/rules/pack"
)

// detectionOf is a Sigma rule by number, level and selection.
func detectionOf(number int, level, selection string) []byte {
	return fmt.Appendf(nil, "title: D%d\nid: %08d-5555-4555-8555-555555555555\nlevel: %s\nlogsource: {category: network_connection, product: linux}\ndetection: {s: %s, condition: s}\n", number, number, level, selection)
}

// withPast is an agent whose history holds a flow to each address, an hour ago,
// and which has matched it with the pack given.
func withPast(t *testing.T, cfg Config, addrs ...string) *Agent {
	t.Helper()
	a := opened(t, cfg)
	at := time.Now().Add(-time.Hour)
	for _, addr := range addrs {
		a.history.Add(&rules.Observation{
			FlowID: addr, Host: cfg.Host, Sensor: "socket", Transport: rules.TCP, Direction: rules.Outbound, Outcome: rules.OutcomeData, Closed: true,
			Remote: rules.Endpoint{Addr: netip.MustParseAddr(addr), Port: 5938}, First: at, Last: at,
			Owner: rules.Owner{Attribution: rules.AttributionUnknown}, Identification: rules.Identification{Protocol: "teamviewer", State: "confirmed"},
		})
	}
	if err := a.history.Flush(); err != nil {
		t.Fatal(err)
	}
	a.retroNow(t)
	return a
}

// retroNow does what lookBack would do next.
func (a *Agent) retroNow(t *testing.T) {
	t.Helper()
	select {
	case p := <-a.fresh:
		a.retro(t.Context(), p)
	default:
		t.Fatal("nothing waits to be matched against the history")
	}
}

// made lists the findings that an operator would be shown, oldest first.
func (a *Agent) made(t *testing.T) []rules.Finding {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- a.control.Run(ctx) }()
	var list []rules.Finding
	err := control.ErrNotRunning
	for end := time.Now().Add(time.Minute); errors.Is(err, control.ErrNotRunning) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		list, err = control.NewClient(a.cfg.StateDir).Findings(t.Context())
	}
	stop()
	if err := errors.Join(err, <-served); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

func TestNewDetectionIsMatchedAgainstTheHistory(t *testing.T) {
	keys := newAuthority(t)
	cfg := packConfig(t, keys)
	file := cfg.Rules.Packs[0] + "/v.pack"
	c := content("vendor", 1, "192.0.2.1")
	c.Detections = map[string][]byte{"a.yml": detectionOf(1, "high", "{attributed: true}"), "b.yml": detectionOf(2, "low", "{network.protocol: vnc}")}
	writePack(t, file, c, &keys.vendor)
	a := withPast(t, cfg, "192.0.2.1", "198.51.100.9")
	first := len(a.made(t))
	if first != 1 {
		t.Fatalf("%d findings at first, want that of the attributed remote", first)
	}
	reload := func(version uint64, change func(map[string][]byte)) []rules.Finding {
		t.Helper()
		before := len(a.made(t))
		c.Version = version
		change(c.Detections)
		writePack(t, file, c, &keys.vendor)
		if _, err := a.Reload(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		a.retroNow(t)
		return a.made(t)[before:]
	}
	for _, step := range []struct {
		name   string
		change func(map[string][]byte)
		want   int
	}{
		{"a new detection", func(d map[string][]byte) { d["c.yml"] = detectionOf(3, "medium", "{network.protocol: teamviewer}") }, 2},
		{"nothing new", func(map[string][]byte) {}, 0},
		{"a changed detection", func(d map[string][]byte) {
			d["b.yml"] = detectionOf(2, "low", "{network.protocol: teamviewer, DestinationIp: 198.51.100.9}")
		}, 1},
		{"one that past flows cannot answer", func(d map[string][]byte) { d["d.yml"] = detectionOf(4, "high", "{CommandLine: null}") }, 0},
		{"one switched off", func(d map[string][]byte) {
			d["e.yml"] = append(detectionOf(5, "high", "{network.protocol: teamviewer}"), "sallyport: {enabled: false}\n"...)
		}, 0},
	} {
		version := c.Version + 1
		found := reload(version, step.change)
		if len(found) != step.want {
			t.Errorf("%s: %d findings, want %d: %+v", step.name, len(found), step.want, found)
		}
		for i := range found {
			if !found[i].Retro {
				t.Errorf("%s: a finding is not marked retro", step.name)
			}
		}
	}
}

func TestNewDetectionIsBounded(t *testing.T) {
	d, err := rules.ParseSigmaRule("d.yml", detectionOf(1, "high", "{network.protocol: ssh}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := past{set: rules.NewLive(emptySet(t)).Set(), judge: &rules.Judge{Detections: []rules.Detection{d}}}.news(nil)
	made := 0
	for i := range maxPastFindings + 5 {
		for range 2 { // another flow of the same finding
			if n.brought(&rules.Finding{ID: fmt.Sprint(i), Rule: d.Ref()}) {
				made++
			}
		}
	}
	if made != 2*maxPastFindings || n.over[d.Ref().ID] != 10 {
		t.Errorf("%d made, %d over", made, n.over[d.Ref().ID])
	}
}

func emptySet(t *testing.T) *rules.Set {
	t.Helper()
	s, err := rules.Compile(rules.Pack{Name: "p"}, nil, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOnlyWhatIsNewIsMatchedAfterARestart holds that what was matched is
// remembered piece by piece, and that what was not matched to the end is again.
func TestOnlyWhatIsNewIsMatchedAfterARestart(t *testing.T) {
	keys := newAuthority(t)
	cfg := packConfig(t, keys)
	c := content("vendor", 1, "192.0.2.1")
	c.Detections = map[string][]byte{"a.yml": detectionOf(1, "high", "{attributed: true}")}
	writePack(t, cfg.Rules.Packs[0]+"/v.pack", c, &keys.vendor)
	withPast(t, cfg, "192.0.2.1", "192.0.2.2")

	c.Version, c.Entities = 2, content("vendor", 2, "192.0.2.1", "192.0.2.2").Entities
	writePack(t, cfg.Rules.Packs[0]+"/v.pack", c, &keys.vendor)
	l, err := loadRules(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	before, err := readMatched(filepath.Join(cfg.StateDir, matchedFile))
	if err != nil {
		t.Fatal(err)
	}
	n := past{set: l.set, judge: l.judge}.news(before)
	if n.count != 1 || n.ties[0].Value != "192.0.2.2" || len(n.detections) != 0 {
		t.Errorf("new after a restart: %+v", n)
	}
}

func TestLookingBackIsNotForgotten(t *testing.T) {
	keys := newAuthority(t)
	cfg := packConfig(t, keys)
	file := cfg.Rules.Packs[0] + "/v.pack"
	c := content("vendor", 1, "192.0.2.1")
	c.Detections = map[string][]byte{"a.yml": detectionOf(1, "high", "{attributed: true}")}
	writePack(t, file, c, &keys.vendor)
	a := withPast(t, cfg, "192.0.2.2", "192.0.2.3")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	c.Version, c.Entities = 2, content("vendor", 2, "192.0.2.1", "192.0.2.2").Entities
	writePack(t, file, c, &keys.vendor)
	if _, err := a.Reload(cancelled, ""); !errors.Is(err, context.Canceled) || a.live.Set().Len() != 1 {
		t.Errorf("a reload that nobody waits for: %v, %d in force", err, a.live.Set().Len())
	}
	for _, next := range []pack.Contents{content("vendor", 2, "192.0.2.1", "192.0.2.2"), content("vendor", 3, "192.0.2.1", "192.0.2.2", "192.0.2.3")} {
		next.Detections = c.Detections
		writePack(t, file, next, &keys.vendor)
		if _, err := a.Reload(t.Context(), ""); err != nil { // nobody looks back in between
			t.Fatal(err)
		}
	}
	a.retroNow(t)
	if found := a.made(t); len(found) != 2 {
		t.Errorf("%d findings of two reloads, want 2: %+v", len(found), found)
	}
	// Stopped half-way, it begins again at the next start.
	stopped, stop := context.WithCancel(t.Context())
	stop()
	c.Version, c.Entities = 4, content("vendor", 4, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4").Entities
	writePack(t, file, c, &keys.vendor)
	if _, err := a.Reload(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(cfg.StateDir, matchedFile))
	a.retro(stopped, <-a.fresh)
	if after, _ := os.ReadFile(filepath.Join(cfg.StateDir, matchedFile)); !bytes.Equal(before, after) {
		t.Error("what was not matched to the end is noted as matched")
	}
}

func TestMuchSmallerSetNeedsSomebodysWord(t *testing.T) {
	keys := newAuthority(t)
	cfg := packConfig(t, keys)
	file := cfg.Rules.Packs[0] + "/v.pack"
	writePack(t, file, content("vendor", 1, "192.0.2.1", "192.0.2.2", "192.0.2.3"), &keys.vendor)
	a := opened(t, cfg)
	small := content("vendor", 2, "192.0.2.1")
	writePack(t, file, small, &keys.vendor)
	if _, err := a.Reload(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "sallyport reload --force") {
		t.Errorf("a much smaller set: %v", err)
	}
	if a.live.Set().Len() != 3 || len(a.made(t)) != 0 {
		t.Errorf("%d in force, findings %+v", a.live.Set().Len(), a.made(t))
	}
	if _, err := a.Reload(t.Context(), "user 0 on this host (process 7)"); err != nil || a.live.Set().Len() != 1 {
		t.Errorf("forced: %v, %d in force", err, a.live.Set().Len())
	}
	found := a.made(t)
	if len(found) != 1 || found[0].Rule.ID != selfRule+forcedReload || !strings.Contains(found[0].Why[0], "1 indicators took the place of 3") || !strings.Contains(found[0].Why[0], "user 0 on this host (process 7)") {
		t.Errorf("audited as %+v", found)
	}
	// The signer's word does as well, and counts once.
	writePack(t, file, content("vendor", 3, "192.0.2.1", "192.0.2.2", "192.0.2.3"), &keys.vendor)
	if _, err := a.Reload(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	small.Version, small.Shrinks = 4, true
	writePack(t, file, small, &keys.vendor)
	if _, err := a.Reload(t.Context(), ""); err != nil || a.live.Set().Len() != 1 {
		t.Errorf("signed as shrinking: %v, %d in force", err, a.live.Set().Len())
	}
	if s := a.standing.Load(); s.shrinkers(s) != "" {
		t.Error("the word of a pack in force counts again")
	}
}

func FuzzParseMatched(f *testing.F) {
	m := &matched{[]uint64{1, 2, 1 << 60}}
	path := filepath.Join(f.TempDir(), "m")
	if err := m.write(path); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(matchedMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMatched(data)
		if err != nil {
			return
		}
		for _, sum := range m.sums {
			if !m.has(sum) {
				t.Fatalf("%d is in the list and not found", sum)
			}
		}
	})
}

package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"sallyport/collector/export"
	"sallyport/collector/store"
	"sallyport/rules"
)

// receiver is a webhook's receiver, which counts what it took.
type receiver struct {
	*httptest.Server
	down  atomic.Bool
	pause atomic.Int64 // before each answer, in nanoseconds

	mu    sync.Mutex
	taken map[string]int // by message id
}

func startReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{taken: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil || r.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		time.Sleep(time.Duration(r.pause.Load()))
		var f rules.Finding
		if err := json.Unmarshal(body, &f); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.taken[f.MessageID()]++
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) distinct() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.taken)
}

// exporter is one to the receiver.
func (r *receiver) exporter(t testing.TB, name string) export.Config {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("{name: %s, type: webhook, batch: 10, timeout: 20s, settings: {url: %q, plaintext: true, secret_file: %s}}", name, r.URL, secret)
	cfg := export.DefaultConfig()
	if err := yaml.UnmarshalWithOptions([]byte(text), &cfg, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// fileExporter writes to a file.
func fileExporter(t testing.TB, path string) export.Config {
	t.Helper()
	cfg := export.DefaultConfig()
	if err := yaml.Unmarshal(fmt.Appendf(nil, "{name: file, type: file, settings: {path: %s}}", path), &cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestRepeatsAndDisorder sends every batch up to three times, over several
// connections, in any order, and once more after the stream has forgotten it.
func TestRepeatsAndDisorder(t *testing.T) {
	cfg := testConfig(t)
	path := filepath.Join(t.TempDir(), "out.jsonl")
	cfg.Exporters = []export.Config{fileExporter(t, path)}
	cfg.Stream.Duplicates = time.Second
	s := startSite(t, cfg)
	const batches, batch, connections = 30, 10, 4
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	var requests [][]rules.Envelope
	want := map[string]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for b := range batches {
		var lines []rules.Envelope
		for i := range batch {
			n := uint64(b*batch + i + 1)
			f := a.finding(fmt.Sprintf("f%d", n%40), n) // its revisions come in any order
			lines = append(lines, a.envelope("e", n, f))
			want[f.MessageID()] = true
		}
		for range 1 + random.IntN(3) {
			requests = append(requests, lines)
		}
	}
	send := func() {
		random.Shuffle(len(requests), func(i, k int) { requests[i], requests[k] = requests[k], requests[i] })
		queue := make(chan []rules.Envelope, len(requests))
		for _, r := range requests {
			queue <- r
		}
		close(queue)
		var running sync.WaitGroup
		for range connections {
			c := *a
			c.connect()
			running.Go(func() {
				for lines := range queue {
					for { // as agents do; a stream on a busy disk may not be in time
						status, body, err := c.send(lines)
						if err == nil && status == http.StatusOK {
							break
						}
						if err != nil || status != http.StatusServiceUnavailable {
							t.Errorf("%d %s %v", status, body, err)
							break
						}
						time.Sleep(100 * time.Millisecond)
					}
				}
			})
		}
		running.Wait()
	}
	send()
	time.Sleep(2 * cfg.Stream.Duplicates) // then the stream takes them for new
	send()
	eventually(t, "everything exported", func() bool {
		st, err := exporterLag(t, s)
		return err == nil && st == 0 && s.counts(t).Revisions == int64(len(want))
	})
	if c := s.counts(t); c != (store.Counts{Findings: 40, Revisions: int64(len(want))}) {
		t.Errorf("store: %+v", c)
	}
	got := map[string]bool{}
	for _, id := range exported(t, path) {
		got[id] = true
	}
	if len(got) != len(want) {
		t.Errorf("%d revisions exported of %d", len(got), len(want))
	}
	st := s.open(t)
	page, err := st.Findings(t.Context(), store.Query{ID: "f7"})
	if err != nil || len(page.Findings) != 1 || page.Findings[0].Finding.Revision != 287 {
		t.Errorf("finding %+v, %v: the highest revision must stay", page, err)
	}
	list, err := st.Sequences(t.Context(), "web-1")
	if err != nil || len(list) != 1 || list[0].Received != batches*batch || list[0].Missing != nil {
		t.Errorf("sequences %+v, %v", list, err)
	}
}

// open opens the site's store beside it.
func (s *site) open(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(context.Background(), s.cfg.Store, s.cfg.State)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// exporterLag is how many entries the exporters have not taken.
func exporterLag(t testing.TB, s *site) (uint64, error) {
	t.Helper()
	var list []export.Status
	s.admin(t, "GET", "/exporters", nil, &list)
	var lag uint64
	for _, e := range list {
		lag += e.Pending
	}
	return lag, nil
}

// TestSlowReceiver has one receiver answer slowly and one not at all: agents and
// the other exporter are not held up, and in the end each has everything.
func TestSlowReceiver(t *testing.T) {
	crawls, dead := startReceiver(t), startReceiver(t)
	crawls.pause.Store(int64(200 * time.Millisecond))
	dead.down.Store(true)
	cfg := testConfig(t)
	path := filepath.Join(t.TempDir(), "out.jsonl")
	cfg.Exporters = []export.Config{crawls.exporter(t, "crawls"), dead.exporter(t, "dead"), fileExporter(t, path)}
	s := startSite(t, cfg)
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	const findings = 60
	for n := uint64(1); n <= findings; n++ {
		a.mustSend(t, a.envelope("e", n, a.finding(fmt.Sprintf("f%d", n), 1)))
	}
	eventually(t, "everything in the fast exporter's file", func() bool { return len(exported(t, path)) == findings })
	if n := dead.distinct(); n > 0 {
		t.Errorf("the dead receiver has %d", n)
	}
	dead.down.Store(false)
	crawls.pause.Store(0)
	for name, r := range map[string]*receiver{"crawls": crawls, "dead": dead} {
		eventually(t, "everything in "+name, func() bool { return r.distinct() == findings })
	}
}

// TestDamagedStream damages the stream's file behind a collector whose receiver
// was down: in the middle, and its end. What the store has reaches the receiver
// all the same, and what comes afterwards is taken.
func TestDamagedStream(t *testing.T) {
	for name, damage := range map[string]func([]byte, []int){
		"middle": func(data []byte, at []int) { copy(data[at[20]:], "XXXXXXXX") },
		"end":    func(data []byte, at []int) { clear(data[at[40]:]) },
		"several": func(data []byte, at []int) {
			for _, i := range []int{5, 6, 7, 33, 59} {
				copy(data[at[i]:], "XXXXXXXX")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			out := startReceiver(t)
			out.down.Store(true)
			cfg := testConfig(t)
			cfg.Exporters = []export.Config{out.exporter(t, "out")}
			s := startSite(t, cfg)
			const before, after = 60, 20
			a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
			send := func(from, to uint64) {
				for n := from; n <= to; n++ {
					a.mustSend(t, a.envelope("e", n, a.finding(fmt.Sprintf("f%03d", n), 1)))
				}
			}
			send(1, before)
			eventually(t, "everything in the store", func() bool { return s.counts(t).Revisions == before })
			s.stop()
			damageStream(t, cfg, damage)

			out.down.Store(false)
			s.start(t)
			a.url = "https://" + s.at.Agents.String()
			send(before+1, before+after)
			eventually(t, "everything at the receiver", func() bool { return out.distinct() == before+after })
			eventually(t, "everything in the store", func() bool { return s.counts(t).Revisions == before+after })
		})
	}
}

// damageStream gives a function the file of the stream's entries, and where each
// finding lies in it.
func damageStream(t *testing.T, cfg Config, damage func([]byte, []int)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.State, "stream", "*", "*", "*", cfg.Stream.Name, "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files of the stream: %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var at []int
	for n := 1; ; n++ {
		i := bytes.Index(data, fmt.Appendf(nil, `"id":"f%03d.1"`, n))
		if i < 0 {
			break
		}
		at = append(at, i)
	}
	if len(at) < 60 {
		t.Fatalf("%d findings in the stream's file", len(at))
	}
	damage(data, at)
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestClockMoved says when nothing may be removed for its age.
func TestClockMoved(t *testing.T) {
	for _, tt := range []struct {
		wall, passed time.Duration
		want         bool
	}{
		{time.Hour, time.Hour, false},
		{time.Hour + 30*time.Second, time.Hour, false}, // set by a little
		{2 * 365 * 24 * time.Hour, time.Hour, true},
		{-24 * time.Hour, time.Hour, true},
	} {
		if got := clockMoved(tt.wall, tt.passed); got != tt.want {
			t.Errorf("wall %s, passed %s: %t", tt.wall, tt.passed, got)
		}
	}
}

// TestAgentsClockJumps has an agent's clock jump by years between findings: all
// are taken, and each stands where its own times say.
func TestAgentsClockJumps(t *testing.T) {
	s := startSite(t, testConfig(t))
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	base := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	jumps := []time.Duration{0, 365 * 24 * time.Hour, -30 * 365 * 24 * time.Hour, time.Second, -time.Hour, 10 * 365 * 24 * time.Hour}
	for i, jump := range jumps {
		f := a.finding(fmt.Sprint("f", i), 1)
		f.First, f.Last, f.Created = base.Add(jump), base.Add(jump), base.Add(jump)
		f.Observation.First, f.Observation.Last = f.First, f.Last
		a.mustSend(t, a.envelope("e", uint64(i+1), f))
		again := f
		again.Revision, again.First, again.Last = 2, base.Add(-jump), base.Add(-jump) // and back again
		again.Observation.First, again.Observation.Last = again.First, again.Last
		a.mustSend(t, a.envelope("e2", uint64(i+1), again))
	}
	eventually(t, "everything in the store", func() bool {
		return s.counts(t) == store.Counts{Findings: int64(len(jumps)), Revisions: 2 * int64(len(jumps))}
	})
	page, err := s.open(t).Findings(t.Context(), store.Query{})
	if err != nil || len(page.Findings) != len(jumps) {
		t.Fatalf("%d findings, %v", len(page.Findings), err)
	}
	for i, f := range page.Findings[1:] {
		if f.Finding.Last.After(page.Findings[i].Finding.Last) {
			t.Errorf("%s of %s follows one of %s", f.Finding.ID, f.Finding.Last, page.Findings[i].Finding.Last)
		}
	}
}

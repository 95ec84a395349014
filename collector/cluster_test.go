package collector

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"sallyport/collector/store"
	"sallyport/collector/store/postgrestest"
	"sallyport/rules"
)

// member is one collector of a cluster, in a process of its own.
type member struct {
	*process
	site       *site
	file       string
	exportPath string
	at         place
}

// restart starts a member that has ended.
func (m *member) restart(t testing.TB) { m.process = startProcess(t, m.file, m.at) }

// startMembers starts collectors that are one, each at its place. local is how
// the test itself reaches their store.
func startMembers(t testing.TB, c *natsCluster, postgres, local string, places ...place) []*member {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca")
	var list []*member
	for i, at := range places {
		cfg := testConfig(t)
		cfg.Stream, cfg.Store.Postgres, cfg.Identity.Folder = c.cfg, local, ca
		cfg.Identity.Names = append(cfg.Identity.Names, at.addr)
		m := &member{at: at, site: &site{cfg: cfg}, exportPath: filepath.Join(t.TempDir(), "out.jsonl")}
		text, err := yaml.Marshal(map[string]any{
			"state_dir": cfg.State, "url": cfg.URL,
			"listen":   map[string]any{"agents": at.addr + ":0", "people": "127.0.0.1:0", "health": "127.0.0.1:0"},
			"identity": map[string]any{"folder": ca, "names": []string{"127.0.0.1"}},
			"store":    map[string]any{"postgres": postgres},
			"stream": map[string]any{
				"url": c.cfg.URL, "credentials": c.cfg.Credentials, "ca": c.cfg.CA, "certificate": c.cfg.Certificate, "key": c.cfg.Key,
				"replicas": c.cfg.Replicas, "append_timeout": "3s",
			},
			"exporters": []any{map[string]any{"name": "file", "type": "file", "settings": map[string]any{"path": m.exportPath}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		m.file = filepath.Join(t.TempDir(), "collector.yaml")
		write(t, m.file, text)
		if i == 0 { // once for all of them
			if _, err := Init(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
		m.restart(t)
		list = append(list, m)
	}
	return list
}

// sender sends batches without end; what was not acknowledged it sends again.
type sender struct {
	agent        *agent
	moves        bool // to another collector when one is not available
	acknowledged atomic.Int64
	retries      atomic.Int64
}

func (s *sender) run(t testing.TB, stop <-chan struct{}) {
	const batch = 10
	for seq := uint64(1); ; seq += batch {
		var lines []rules.Envelope
		for n := seq; n < seq+batch; n++ {
			lines = append(lines, s.agent.envelope("e", n, s.agent.finding(fmt.Sprintf("%s-f%d", s.agent.name, n-n%3), 1+n%3)))
		}
		for !s.once(t, lines) { // even after stop: what was sent may be in
			s.retries.Add(1)
			time.Sleep(100 * time.Millisecond)
		}
		s.acknowledged.Add(batch)
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *sender) once(t testing.TB, lines []rules.Envelope) bool {
	status, body, err := s.agent.send(lines)
	if err != nil || s.moves && status != http.StatusOK {
		s.agent.client.CloseIdleConnections() // it may lead nowhere: the next goes through the balancer again
	}
	if err != nil || status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		return false
	}
	var receipt rules.Receipt
	if status != http.StatusOK || json.Unmarshal(body, &receipt) != nil || receipt.Accepted != len(lines) {
		t.Errorf("answer %d %s", status, body)
	}
	return true
}

// TestSeveralCollectorsAreOne kills each process of a cluster in turn while
// agents send. Service goes on without it, every acknowledged revision arrives,
// and none is counted twice.
func TestSeveralCollectorsAreOne(t *testing.T) {
	if testing.Short() {
		t.Skip("three NATS servers and PostgreSQL")
	}
	const agents, step = 3, 60
	cluster := startNATS(t)
	cluster.whole(t)
	postgres := postgrestest.New(t)
	members := startMembers(t, cluster, postgres.DSN, postgres.DSN, loopback, loopback)
	balancer := startBalancer(t, loopback, members[0].agents, members[1].agents)
	token := members[0].site.token(t)
	var senders []*sender
	for i := range agents {
		senders = append(senders, &sender{agent: newAgent(t, balancer.address(), token, fmt.Sprintf("web-%d", i))})
	}
	stop, running := make(chan struct{}), sync.WaitGroup{}
	for _, s := range senders {
		running.Go(func() { s.run(t, stop) })
	}
	goesOn := func(what string) {
		t.Helper()
		target := total(senders) + step
		eventually(t, "findings taken "+what, func() bool { return total(senders) >= target })
	}
	goesOn("at first")
	for i := range cluster.procs {
		cluster.kill(i)
		goesOn(fmt.Sprintf("without NATS server %d", i))
		cluster.start(t, i)
		cluster.whole(t) // two of three must be there for the third to be missed
	}
	for i, m := range members {
		m.kill()
		goesOn(fmt.Sprintf("without collector %d", i))
		m.restart(t)
		balancer.set(i, m.agents)
		goesOn(fmt.Sprintf("with collector %d again", i))
	}
	postgres.Kill()
	goesOn("without PostgreSQL")
	postgres.Run(t)
	goesOn("with PostgreSQL again")
	close(stop)
	running.Wait()

	arrived(t, members, senders)
}

// total is how many findings were acknowledged.
func total(senders []*sender) (n int64) {
	for _, s := range senders {
		n += s.acknowledged.Load()
	}
	return n
}

// arrived waits until all that was acknowledged is in the store and in the
// exported files, and checks that nothing else is.
func arrived(t testing.TB, members []*member, senders []*sender) {
	t.Helper()
	want := total(senders)
	rises(t, "every acknowledged revision in the store", want, func() int64 { return members[0].site.counts(t).Revisions })
	if got := members[0].site.counts(t).Revisions; got != want {
		t.Errorf("%d revisions in the store, %d acknowledged and no other sent", got, want)
	}
	checkAgents(t, members[0].site.cfg, senders)
	ids := map[string]bool{}
	rises(t, "every revision in one of the exported files", want, func() int64 {
		for _, m := range members {
			for _, id := range exported(t, m.exportPath) {
				ids[id] = true
			}
		}
		return int64(len(ids))
	})
	if int64(len(ids)) != want {
		t.Errorf("%d revisions exported, %d acknowledged", len(ids), want)
	}
	retries := int64(0)
	for _, s := range senders {
		retries += s.retries.Load()
	}
	t.Logf("%d revisions acknowledged, batches sent again %d times", want, retries)
}

// rises waits until a count has come to what is wanted, as long as it goes on: a
// busy machine may take its time, but must not stand still.
func rises(t testing.TB, what string, want int64, count func() int64) {
	t.Helper()
	for last, since := int64(-1), time.Now(); ; time.Sleep(100 * time.Millisecond) {
		n := count()
		if n >= want {
			return
		}
		if n > last {
			last, since = n, time.Now()
		}
		if time.Since(since) > patience {
			t.Fatalf("never: %s (%d of %d)", what, n, want)
		}
	}
}

// checkAgents checks what the store says of each agent: as many as were
// acknowledged, and no number missing.
func checkAgents(t testing.TB, cfg Config, senders []*sender) {
	t.Helper()
	st, err := store.Open(t.Context(), cfg.Store, cfg.State)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	list, err := st.Agents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, want := map[string]int64{}, map[string]int64{}
	for _, a := range list {
		got[a.Name] = int64(a.Findings)
	}
	for _, s := range senders {
		want[s.agent.name] = s.acknowledged.Load()
	}
	if !maps.Equal(got, want) {
		t.Errorf("revisions by agent %v, acknowledged %v", got, want)
	}
	sequences, err := st.Sequences(t.Context(), "")
	if err != nil || len(sequences) != len(senders) {
		t.Fatalf("sequences %+v, %v", sequences, err)
	}
	for _, q := range sequences {
		if len(q.Missing) > 0 {
			t.Errorf("%s: numbers %v never came", q.Agent, q.Missing)
		}
	}
}

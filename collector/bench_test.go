package collector

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sallyport/collector/store/postgrestest"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// load is what a benchmark sends: batches by sender.
type load struct {
	total  int
	bodies [][][]byte       // packed requests, by sender and turn
	lines  [][][]rawMessage // the same entries as the stream carries them
	bytes  int
}

type rawMessage struct {
	id   string
	data []byte
}

const (
	benchSenders = 8
	benchBatch   = 100
)

// makeLoad prepares everything, so that only sending is measured.
func makeLoad(b *testing.B, agents []*agent, total int) load {
	b.Helper()
	l := load{bodies: make([][][]byte, len(agents)), lines: make([][][]rawMessage, len(agents))}
	random := rand.New(rand.NewPCG(1, 2))
	for i, a := range agents {
		for seq := uint64(1); seq <= uint64(total/len(agents)); {
			var envelopes []rules.Envelope
			var raw []rawMessage
			for range benchBatch {
				f := a.finding(fmt.Sprintf("f%d", seq), 1)
				f.Evidence.PCAPNG = make([]byte, 2048)
				for k := range f.Evidence.PCAPNG {
					f.Evidence.PCAPNG[k] = byte(random.Uint32()) // packets that do not shrink
				}
				env := a.envelope("e", seq, f)
				entry := stream.Entry{Agent: a.name, Epoch: "e", Seq: seq, ID: env.ID, Received: time.Now(), Finding: env.Finding}
				data, err := json.Marshal(entry)
				if err != nil {
					b.Fatal(err)
				}
				envelopes, raw = append(envelopes, env), append(raw, rawMessage{entry.MessageID(), data})
				l.bytes += len(data)
				l.total++
				seq++
			}
			body, err := packLines(envelopes)
			if err != nil {
				b.Fatal(err)
			}
			l.bodies[i], l.lines[i] = append(l.bodies[i], body), append(l.lines[i], raw)
		}
	}
	return l
}

// each runs one goroutine a sender, and gives the time they took.
func (l load) each(f func(sender int)) time.Duration {
	var running sync.WaitGroup
	start := time.Now()
	for i := range l.bodies {
		running.Go(func() { f(i) })
	}
	running.Wait()
	return time.Since(start)
}

// benchFindings is how many findings a benchmark sends.
func benchFindings() int {
	if n, err := strconv.Atoi(os.Getenv("SALLYPORT_BENCH_FINDINGS")); err == nil {
		return n
	}
	return 1600
}

// benchAgents are as many agents as send at a time.
func benchAgents(b *testing.B, address, token string) []*agent {
	b.Helper()
	var agents []*agent
	for i := range benchSenders {
		agents = append(agents, newAgent(b, address, token, fmt.Sprintf("web-%d", i)))
	}
	return agents
}

// BenchmarkIngest sends findings to one collector, with every part of it at work
// and every entry synced, and publishes the same bytes to JetStream alone, synced
// too. SALLYPORT_BENCH_FINDINGS says how many (docs/benchmarks-collector.md).
func BenchmarkIngest(b *testing.B) {
	cfg := testConfig(b)
	cfg.Log.Level = "error"
	s := startSite(b, cfg)
	agents := benchAgents(b, s.at.Agents.String(), s.token(b))
	for b.Loop() {
		l := makeLoad(b, agents, benchFindings())
		compare(b, s, agents, l, publishRaw(b, l))
	}
}

// BenchmarkIngestCluster does the same with two collectors behind a balancer,
// three NATS servers that each keep every entry, and PostgreSQL; alone the same
// three servers take the bytes.
func BenchmarkIngestCluster(b *testing.B) {
	cluster := startNATS(b)
	cluster.whole(b)
	postgres := postgrestest.New(b)
	members := startMembers(b, cluster, postgres.DSN, postgres.DSN, loopback, loopback)
	balancer := startBalancer(b, loopback, members[0].agents, members[1].agents)
	agents := benchAgents(b, balancer.address(), members[0].site.token(b))
	for b.Loop() {
		l := makeLoad(b, agents, benchFindings())
		conn, err := cluster.connect()
		if err != nil {
			b.Fatal(err)
		}
		raw := publish(b, l, conn, len(cluster.procs))
		conn.Close()
		compare(b, members[0].site, agents, l, raw)
	}
}

// compare has the agents send, and reports the rate beside that of JetStream alone.
func compare(b *testing.B, s *site, agents []*agent, l load, raw time.Duration) {
	b.Helper()
	taken := l.each(func(i int) {
		for _, body := range l.bodies[i] {
			for wait := time.Second; ; wait *= 2 { // as agents do where they are told to wait
				status, answer, err := agents[i].sendPacked(body)
				if err == nil && status == http.StatusOK {
					break
				}
				if wait > 32*time.Second {
					b.Errorf("%d %s %v", status, answer, err)
					return
				}
				time.Sleep(wait)
			}
		}
	})
	start := time.Now()
	rises(b, "every finding in the store", int64(l.total), func() int64 { return s.counts(b).Revisions })
	stored := taken + time.Since(start)
	rate := func(d time.Duration) float64 { return float64(l.total) / d.Seconds() }
	b.ReportMetric(rate(taken), "taken/s")
	b.ReportMetric(rate(raw), "raw/s")
	b.ReportMetric(100*rate(taken)/rate(raw), "%-of-raw")
	b.ReportMetric(rate(stored), "stored/s")
	b.ReportMetric(float64(l.bytes/l.total), "B/finding")
	b.ReportMetric(0, "ns/op")
}

// publishRaw publishes the entries to an embedded server set up as the
// collector's own, by as many senders and as many at a time.
func publishRaw(b *testing.B, l load) time.Duration {
	b.Helper()
	srv, err := natsserver.NewServer(&natsserver.Options{DontListen: true, JetStream: true, StoreDir: b.TempDir(), SyncAlways: true, MaxPayload: 8 << 20, NoSigs: true})
	if err != nil {
		b.Fatal(err)
	}
	go srv.Start()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(patience) {
		b.Fatal("the server did not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	return publish(b, l, conn, 1)
}

// publish has as many senders as there are agents publish to a stream of its own,
// a batch at a time each.
func publish(b *testing.B, l load, conn *nats.Conn, replicas int) time.Duration {
	b.Helper()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(8192))
	if err != nil {
		b.Fatal(err)
	}
	_, err = js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name: "RAW", Subjects: []string{"raw"}, Storage: jetstream.FileStorage, Duplicates: 10 * time.Minute, Replicas: replicas,
	})
	if err != nil {
		b.Fatal(err)
	}
	return l.each(func(i int) {
		for _, batch := range l.lines[i] {
			if err := publishBatch(b.Context(), js, batch); err != nil {
				b.Error(err)
			}
		}
	})
}

func publishBatch(ctx context.Context, js jetstream.JetStream, batch []rawMessage) error {
	var acks []jetstream.PubAckFuture
	for _, m := range batch {
		ack, err := js.PublishAsync("raw", m.data, jetstream.WithMsgID(m.id))
		if err != nil {
			return err
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

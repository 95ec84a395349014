package export

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// startKafka runs a fake cluster, which speaks Kafka's real protocol.
func startKafka(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(3, "findings")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func brokers(c *kfake.Cluster) string {
	text := "brokers: ["
	for i, a := range c.ListenAddrs() {
		if i > 0 {
			text += ", "
		}
		text += "\"" + a + "\""
	}
	return text + "]\ntopic: findings\n"
}

// consume reads n records.
func consume(t *testing.T, c *kfake.Cluster, n int, options ...kgo.Opt) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("findings"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var list []*kgo.Record
	for len(list) < n {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d records of %d", len(list), n)
		}
		list = append(list, fetches.Records()...)
	}
	return list
}

func TestKafkaKeepsAFindingsRevisionsInOrder(t *testing.T) {
	for _, compression := range []string{"zstd", "lz4", "snappy", "gzip", "none"} {
		t.Run(compression, func(t *testing.T) {
			c := startKafka(t)
			e := open(t, "kafka", "json", brokers(c)+"plaintext: true\ncompression: "+compression)
			var batch []Item
			for i := range 20 {
				f := vpn()
				f.ID, f.Revision = fmt.Sprintf("id-%d", i%2), uint64(i/2)
				batch = append(batch, itemOf(t, f))
			}
			if err := e.Export(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			next := map[string]int{}
			for _, r := range consume(t, c, len(batch)) {
				key := string(r.Key)
				if want := fmt.Sprintf("%s.%d", key, next[key]); len(r.Headers) != 2 || string(r.Headers[1].Value) != want {
					t.Errorf("record %s, want %s", r.Headers[1].Value, want)
				}
				next[key]++
			}
			if diff := cmp.Diff(map[string]int{"node-1/id-0": 10, "node-1/id-1": 10}, next); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKafkaProducesIdempotently(t *testing.T) {
	c := startKafka(t)
	e := open(t, "kafka", "json", brokers(c)+"plaintext: true")
	var producer, acks atomic.Int64
	producer.Store(-1)
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		request := r.(*kmsg.ProduceRequest)
		var batch kmsg.RecordBatch
		if err := batch.ReadFrom(request.Topics[0].Partitions[0].Records); err == nil {
			producer.Store(batch.ProducerID)
		}
		acks.Store(int64(request.Acks))
		return nil, nil, false
	})
	if err := e.Export(t.Context(), items(t)); err != nil {
		t.Fatal(err)
	}
	if producer.Load() < 0 || acks.Load() != -1 {
		t.Errorf("producer id %d, acks %d; want one, and every replica's", producer.Load(), acks.Load())
	}
}

func TestKafkaOverTLSWithSASL(t *testing.T) {
	p := newPKI(t)
	for mechanism, method := range map[string]string{"plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			c := startKafka(t, kfake.TLS(p.server(t, true)), kfake.EnableSASL(), kfake.Superuser(method, "alice", "s3cret"))
			text := brokers(c) + fmt.Sprintf("tls: {ca: %s, certificate: %s, key: %s}\nsasl: %s\nuser: alice\npassword_file: ", p.file("ca.crt"), p.file("client.crt"), p.file("client.key"), mechanism)
			if err := open(t, "kafka", "ecs", text+secret(t, "s3cret")).Export(t.Context(), items(t)); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			var refused *Refused
			if err := open(t, "kafka", "ecs", text+secret(t, "wrong")).Export(ctx, items(t)); err == nil || errors.As(err, &refused) {
				t.Errorf("error %v with a wrong password", err)
			}
		})
	}
}

func TestKafkaParksWhatIsTooLong(t *testing.T) {
	c := startKafka(t)
	e := open(t, "kafka", "json", brokers(c)+"plaintext: true\ncompression: none\nmax_batch: 2000")
	small, large := itemOf(t, aboutAgent()), itemOf(t, vpn())
	err := e.Export(t.Context(), []Item{small, large})
	var refused *Refused
	if !errors.As(err, &refused) || len(refused.Items) != 1 || refused.Items[0].Index != 1 {
		t.Fatalf("error %v", err)
	}
	if got := consume(t, c, 1); string(got[0].Key) != "node-1/"+aboutAgent().ID {
		t.Errorf("record %s", got[0].Key)
	}
}

// TestKafkaGivesUpWithItsAttempt must not hold the exporter when no broker is there.
func TestKafkaGivesUpWithItsAttempt(t *testing.T) {
	c := startKafka(t)
	text := brokers(c)
	c.Close()
	e := open(t, "kafka", "json", text+"plaintext: true")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- e.Export(ctx, items(t)) }()
	select {
	case err := <-done:
		var refused *Refused
		if err == nil || errors.As(err, &refused) {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the attempt does not end")
	}
}

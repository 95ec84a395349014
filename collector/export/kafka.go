package export

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// kafkaSettings are the settings of type "kafka".
type kafkaSettings struct {
	// Brokers to begin with, HOST:PORT.
	Brokers []string `yaml:"brokers"`
	Topic   string   `yaml:"topic"`
	// Plaintext leaves TLS off. Findings, and SASL PLAIN's password, then travel in
	// the clear.
	Plaintext bool        `yaml:"plaintext"`
	TLS       tlsSettings `yaml:"tls"`
	// SASL is "plain", "scram-sha-256", "scram-sha-512", or empty.
	SASL         string `yaml:"sasl"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// Compression is "zstd", "lz4", "snappy", "gzip" or "none".
	Compression string `yaml:"compression"`
	// MaxBatch is how many bytes one request to a partition carries at most; the
	// topic's max.message.bytes must allow it.
	MaxBatch int32 `yaml:"max_batch"`
}

func readKafkaSettings(s Settings) (kafkaSettings, error) {
	cfg := kafkaSettings{Topic: "sallyport.findings", Compression: "zstd", MaxBatch: 1_000_000}
	if err := s.read(&cfg); err != nil {
		return cfg, err
	}
	return cfg, cfg.validate()
}

func (c kafkaSettings) validate() error {
	switch {
	case len(c.Brokers) == 0:
		return errors.New("settings.brokers is missing; give [HOST:PORT, ...]")
	case c.Topic == "":
		return errors.New("settings.topic is empty")
	case c.SASL != "" && c.User == "":
		return errors.New("settings.sasl needs user and password_file")
	case c.MaxBatch < 1000:
		return fmt.Errorf("settings.max_batch is %d; give at least 1000", c.MaxBatch)
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return fmt.Errorf("settings.brokers: %q is not HOST:PORT", b)
		}
	}
	if _, err := codec(c.Compression); err != nil {
		return err
	}
	if c.SASL == "" {
		return c.TLS.validate()
	}
	if _, err := c.mechanism(); err != nil {
		return err
	}
	return errors.Join(secretFile("settings.password_file", c.PasswordFile), c.TLS.validate())
}

func codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "zstd":
		return kgo.ZstdCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "none":
		return kgo.NoCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("settings.compression %q is unknown; give zstd, lz4, snappy, gzip or none", name)
}

// mechanism reads the password for each new connection.
func (c kafkaSettings) mechanism() (sasl.Mechanism, error) {
	scramAuth := func(context.Context) (scram.Auth, error) {
		password, err := readSecret(c.PasswordFile)
		return scram.Auth{User: c.User, Pass: password}, err
	}
	switch c.SASL {
	case "plain":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := readSecret(c.PasswordFile)
			return plain.Auth{User: c.User, Pass: password}, err
		}), nil
	case "scram-sha-256":
		return scram.Sha256(scramAuth), nil
	case "scram-sha-512":
		return scram.Sha512(scramAuth), nil
	}
	return nil, fmt.Errorf("settings.sasl %q is unknown; give plain, scram-sha-256 or scram-sha-512", c.SASL)
}

func checkKafka(s Settings) error {
	_, err := readKafkaSettings(s)
	return err
}

// kafka writes one record a revision. Its key is the agent and the finding's id: the revisions
// of a finding stay in order, and a compacted topic keeps the last.
type kafka struct {
	topic  string
	format Format
	client *kgo.Client
}

func openKafka(o opening) (Exporter, error) {
	cfg, err := readKafkaSettings(o.settings)
	if err != nil {
		return nil, err
	}
	compression, err := codec(cfg.Compression)
	if err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...), kgo.ClientID("sallyport-collector"),
		kgo.RequiredAcks(kgo.AllISRAcks()), // what an idempotent producer needs; it is one by default
		kgo.ProducerBatchCompression(compression), kgo.ProducerBatchMaxBytes(cfg.MaxBatch),
		kgo.UnknownTopicRetries(1),               // the runner tries again, and says why
		kgo.AllowIdempotentProduceCancellation(), // an attempt ends with its context; a repeat is harmless
		kgo.DialTimeout(10 * time.Second),
	}
	if !cfg.Plaintext {
		c, err := cfg.TLS.config()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.DialTLSConfig(c))
	}
	if cfg.SASL != "" {
		m, err := cfg.mechanism()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.SASL(m))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("make Kafka client: %w", err)
	}
	return &kafka{cfg.Topic, o.format, client}, nil
}

func (k *kafka) Close() error {
	k.client.Close()
	return nil
}

// Export returns when every in-sync replica has the records.
func (k *kafka) Export(ctx context.Context, items []Item) error {
	lines, refused := encode(k.format, items)
	records := make([]*kgo.Record, len(lines))
	at := make(map[*kgo.Record]int, len(lines))
	for i, l := range lines {
		f := &l.item.Finding
		records[i] = &kgo.Record{
			Topic: k.topic, Key: []byte(subject(f)), Value: l.text, Timestamp: f.Created,
			Headers: []kgo.RecordHeader{
				{Key: "content-type", Value: []byte(k.format.ContentType())},
				{Key: "message-id", Value: []byte(revision(f))},
			},
		}
		at[records[i]] = l.index
	}
	for _, r := range k.client.ProduceSync(ctx, records...) {
		switch {
		case r.Err == nil:
		case errors.Is(r.Err, kerr.MessageTooLarge), errors.Is(r.Err, kerr.InvalidRecord):
			refused = append(refused, RefusedItem{at[r.Record], "broker answered " + r.Err.Error()})
		default:
			return fmt.Errorf("produce records: %w", r.Err)
		}
	}
	if len(refused) > 0 {
		return &Refused{refused}
	}
	return nil
}
